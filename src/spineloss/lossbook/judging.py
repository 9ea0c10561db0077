"""What a check of the linter is, and how it looks at a loss: its value, its slope, what is to hold of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import nn

PRINTED_VOXELS = 64
CONFIDENT = 12.0  # logit of a sure prediction


class Outcome(StrEnum):
    """What a check says: `note` is a property that differs by design, to be known rather than mended."""

    PASS = "pass"
    NOTE = "note"
    FAIL = "fail"
    SKIPPED = "skipped"


class Input(NamedTuple):
    """What a loss is called with, both (N, C, *spatial)."""

    logits: torch.Tensor
    target: torch.Tensor

    def __str__(self) -> str:
        if self.logits.numel() > PRINTED_VOXELS:
            return (
                f"logits of shape {tuple(self.logits.shape)}, {self.logits.dtype}, from {self.logits.min():g} to "
                f"{self.logits.max():g}; target with {self.target.count_nonzero()} voxels of foreground"
            )
        logits, target = (
            f"torch.tensor({volume.double().round(decimals=3).tolist()}, dtype={volume.dtype})" for volume in self
        )
        return f"logits = {logits}\ntarget = {target}"


Judge = Callable[[nn.Module, Input], None]


@dataclass(frozen=True)
class Check:
    """A named property, and the shapes that it is tried on, in growing order."""

    name: str
    meaning: str
    shapes: Sequence[tuple[int, ...]]
    judge: Judge


class Flaw(Exception):
    """Keeps a check from passing."""

    def __init__(self, outcome: Outcome, detail: str, given: Input | None = None) -> None:
        super().__init__(detail)
        self.outcome, self.detail, self.given = outcome, detail, given


@contextmanager
def may_raise(given: Input) -> Iterator[None]:
    """An error of the loss is a failure of the check; one of the linter itself stays an error."""
    try:
        yield
    except Exception as error:
        sentence = next(iter(str(error).strip().splitlines()), "")
        raise Flaw(Outcome.FAIL, f"raises {type(error).__name__}: {sentence}", given) from error


def value_of(loss: nn.Module, given: Input) -> torch.Tensor:
    with may_raise(given):
        value = loss(given.logits, given.target)
    tensor = isinstance(value, torch.Tensor)
    what = f"a tensor of shape {tuple(value.shape)}" if tensor else f"a {type(value).__name__}"
    expect(tensor and value.numel() == 1, f"returns {what}, not a scalar", given)
    return value.reshape(())


class Slope(NamedTuple):
    """The logits as a leaf, the value at them and its gradient."""

    logits: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor


def slope_of(loss: nn.Module, given: Input, *, again: bool = False) -> Slope:
    """`again` keeps the graph, to differentiate once more."""
    logits = given.logits.detach().requires_grad_()
    value = value_of(loss, Input(logits, given.target))
    with may_raise(given):
        (gradient,) = torch.autograd.grad(value, logits, create_graph=again)
    return Slope(logits, value.detach(), gradient)


def gradient_of(loss: nn.Module, given: Input) -> torch.Tensor:
    return slope_of(loss, given).gradient


def expect(holds: bool | torch.Tensor, detail: str, given: Input, outcome: Outcome = Outcome.FAIL) -> None:
    if not holds:
        raise Flaw(outcome, detail, given)


def expect_finite(loss: nn.Module, given: Input) -> None:
    _, value, gradient = slope_of(loss, given)
    expect(value.isfinite(), f"the value is {value:g}", given)
    expect(gradient.isfinite().all(), f"the gradient is not finite, the value is {value:g}", given)


def same(one: torch.Tensor, other: torch.Tensor, relative: float = 1e-4) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=relative, atol=1e-6)


def expect_same_value(loss: nn.Module, changed: Input, expected: torch.Tensor, what: str) -> None:
    value = value_of(loss, changed)
    expect(same(value, expected), f"{what}: {value:.6g} instead of {expected:.6g}", changed)


def right_logits(target: torch.Tensor, confidence: float = CONFIDENT) -> torch.Tensor:
    """The logits of the perfect prediction; of the wholly wrong one where the confidence is negative."""
    return confidence * (2 * target - 1)


def both_sides(loss: nn.Module, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The values of the perfect and the wholly wrong prediction."""
    right, wrong = (Input(right_logits(target, side), target) for side in (CONFIDENT, -CONFIDENT))
    return value_of(loss, right), value_of(loss, wrong)


def collector(checks: list[Check]) -> Callable[[Sequence[tuple[int, ...]]], Callable[[Judge], Judge]]:
    """A decorator that adds a function to a list of checks: its name is the check's, its docstring the meaning."""

    def check(shapes: Sequence[tuple[int, ...]]) -> Callable[[Judge], Judge]:
        def add(judge: Judge) -> Judge:
            checks.append(Check(judge.__name__.replace("_", " "), judge.__doc__ or "", shapes, judge))
            return judge

        return add

    return check
