"""The checks of the linter: what may hold of a segmentation loss, each a function of the loss and an input.

A check returns where its property holds and raises a `Flaw` where it does not. Its name is the function's, its
meaning the docstring.
"""

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import nn

PRINTED_VOXELS = 64


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


SHAPES = ((1, 1, 2, 2), (1, 1, 2, 2, 2), (1, 1, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4, 5))
BATCHES = ((2, 1, 2, 2), (3, 1, 2, 2), (2, 1, 2, 2, 2), (3, 2, 3, 4, 5))
CHANNELS = ((1, 2, 2, 2), (1, 2, 2, 2, 2), (2, 3, 3, 4, 5))
FLAT = ((1, 1, 2, 2), (2, 2, 3, 4), (2, 2, 6, 7))
# The last holds more voxels than float16 can count.
UP_TO_A_VOLUME = (*SHAPES, (1, 1, 64, 64, 64))

CONFIDENT = 12.0
LARGEST = 60_000.0  # float16 ends at 65,504
VANISHED = 1e-3
CHECKS: list[Check] = []


@contextmanager
def _may_raise(given: Input) -> Iterator[None]:
    """An error of the loss is a failure of the check; one of the linter itself stays an error."""
    try:
        yield
    except Exception as error:
        sentence = next(iter(str(error).strip().splitlines()), "")
        raise Flaw(Outcome.FAIL, f"raises {type(error).__name__}: {sentence}", given) from error


def _value(loss: nn.Module, given: Input) -> torch.Tensor:
    with _may_raise(given):
        value = loss(given.logits, given.target)
    tensor = isinstance(value, torch.Tensor)
    what = f"a tensor of shape {tuple(value.shape)}" if tensor else f"a {type(value).__name__}"
    _expect(tensor and value.numel() == 1, f"returns {what}, not a scalar", given)
    return value.reshape(())


class Slope(NamedTuple):
    """The logits as a leaf, the value at them and its gradient."""

    logits: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor


def _slope(loss: nn.Module, given: Input, *, again: bool = False) -> Slope:
    """`again` keeps the graph, to differentiate once more."""
    logits = given.logits.detach().requires_grad_()
    value = _value(loss, Input(logits, given.target))
    with _may_raise(given):
        (gradient,) = torch.autograd.grad(value, logits, create_graph=again)
    return Slope(logits, value.detach(), gradient)


def _gradient(loss: nn.Module, given: Input) -> torch.Tensor:
    return _slope(loss, given).gradient


def _expect(holds: bool | torch.Tensor, detail: str, given: Input, outcome: Outcome = Outcome.FAIL) -> None:
    if not holds:
        raise Flaw(outcome, detail, given)


def _expect_finite(loss: nn.Module, given: Input) -> None:
    _, value, gradient = _slope(loss, given)
    _expect(value.isfinite(), f"the value is {value:g}", given)
    _expect(gradient.isfinite().all(), f"the gradient is not finite, the value is {value:g}", given)


def _same(one: torch.Tensor, other: torch.Tensor, relative: float = 1e-4) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=relative, atol=1e-6)


def _expect_same_value(loss: nn.Module, changed: Input, expected: torch.Tensor, what: str) -> None:
    value = _value(loss, changed)
    _expect(_same(value, expected), f"{what}: {value:.6g} instead of {expected:.6g}", changed)


def _right(target: torch.Tensor, confidence: float = CONFIDENT) -> torch.Tensor:
    """The logits of the perfect prediction; of the wholly wrong one where the confidence is negative."""
    return confidence * (2 * target - 1)


def _both_sides(loss: nn.Module, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The values of the perfect and the wholly wrong prediction."""
    right, wrong = (Input(_right(target, side), target) for side in (CONFIDENT, -CONFIDENT))
    return _value(loss, right), _value(loss, wrong)


def _check(shapes: Sequence[tuple[int, ...]]) -> Callable[[Judge], Judge]:
    """Add a function to the checks: its name is the check's, its docstring the meaning."""

    def add(judge: Judge) -> Judge:
        CHECKS.append(Check(judge.__name__.replace("_", " "), judge.__doc__ or "", shapes, judge))
        return judge

    return add


@_check(SHAPES)
def perfect_beats_wrong(loss: nn.Module, given: Input) -> None:
    """The perfect prediction costs less than the wholly wrong one."""
    perfect, wrong = _both_sides(loss, given.target)
    shown = Input(_right(given.target), given.target)
    _expect(perfect < wrong, f"perfect costs {perfect:.6g}, wrong {wrong:.6g}", shown)


@_check(SHAPES)
def gradient_is_the_slope(loss: nn.Module, given: Input) -> None:
    """The gradient is the slope of the value, by finite differences."""
    given, step = _widened(given), _direction(given)
    expected = (_value(loss, _moved(given, step)) - _value(loss, _moved(given, -step))) / 2
    slope = _gradient(loss, given)
    found = (slope * step).sum()
    close = (found - expected).abs() <= 0.01 * slope.norm() * step.norm()
    _expect(close, f"a step changes the value by {expected:.6g}, the gradient says {found:.6g}", given)


@_check(SHAPES)
def gradient_sign(loss: nn.Module, given: Input) -> None:
    """A step down the gradient raises no logit of the background and lowers none of the foreground."""
    slope = _gradient(loss, given)
    largest = slope.abs().max()
    _expect(largest > 0, "the gradient is zero everywhere", given)
    uphill = (slope * _right(given.target, 1.0)).max() / largest
    _expect(uphill <= 1e-5, f"a voxel is pushed the wrong way, by {uphill:.2g} of the largest gradient", given)


@_check(SHAPES)
def saturation(loss: nn.Module, given: Input) -> None:
    """Confidently wrong voxels (logit 20 on the wrong side) still have a gradient."""
    unsure, sure = (
        _gradient(loss, Input(_right(given.target, side), given.target)).abs().max() for side in (-1.0, -20.0)
    )
    detail = f"at logit 20 on the wrong side the gradient is {sure / unsure:.1g} of that at 1"
    wrong = Input(_right(given.target, -20.0), given.target)
    _expect(sure > VANISHED * unsure, detail, wrong, Outcome.NOTE)


@_check(SHAPES)
def empty_mask(loss: nn.Module, given: Input) -> None:
    """A target without foreground: value and gradient are finite, right costs no more than wrong, it teaches."""
    one_absent = given.target.clone()
    one_absent[:, 0] = 0
    _expect_finite(loss, Input(given.logits, one_absent))
    _judge_uniform(loss, given, torch.zeros_like(given.target))


@_check(SHAPES)
def full_mask(loss: nn.Module, given: Input) -> None:
    """A target without background: value and gradient are finite, right costs no more than wrong, it teaches."""
    _judge_uniform(loss, given, torch.ones_like(given.target))


def _judge_uniform(loss: nn.Module, given: Input, target: torch.Tensor) -> None:
    uniform = Input(given.logits, target)
    for logits in (given.logits, _right(target), _right(target, -CONFIDENT)):
        _expect_finite(loss, Input(logits, target))
    right, wrong = _both_sides(loss, target)
    _expect(right <= wrong + 1e-6, f"right costs {right:.6g}, wrong {wrong:.6g}", uniform)
    usual, here = _gradient(loss, given).abs().max(), _gradient(loss, uniform).abs().max()
    detail = f"the gradient is {here / usual:.1g} of that with both classes: such a mask teaches next to nothing"
    _expect(here > VANISHED * usual, detail, uniform, Outcome.NOTE)


@_check(SHAPES)
def extreme_logits(loss: nn.Module, given: Input) -> None:
    """Value and gradient are finite at logits of +-60,000, right and wrong."""
    _judge_extremes(loss, given)


@_check(UP_TO_A_VOLUME)
def float16(loss: nn.Module, given: Input) -> None:
    """In float16 value and gradient are finite up to +-60,000; up to 64^3 voxels the value is float32's."""
    _judge_half(loss, given, torch.float16)


@_check(UP_TO_A_VOLUME)
def bfloat16(loss: nn.Module, given: Input) -> None:
    """In bfloat16 value and gradient are finite up to +-60,000; up to 64^3 voxels the value is float32's."""
    _judge_half(loss, given, torch.bfloat16)


def _judge_extremes(loss: nn.Module, given: Input) -> None:
    for logits in (_right(given.target, LARGEST), _right(given.target, -LARGEST), LARGEST * given.logits.sign()):
        _expect_finite(loss, Input(logits, given.target))


def _judge_half(loss: nn.Module, given: Input, dtype: torch.dtype) -> None:
    half = Input(given.logits.to(dtype), given.target.to(dtype))
    _expect_finite(loss, half)
    value, expected = _value(loss, half), _value(loss, Input(half.logits.float(), half.target.float()))
    _expect(_same(value, expected, 0.03), f"{value:.6g} instead of float32's {expected:.6g}", half)
    _judge_extremes(loss, half)


@_check(BATCHES)
def per_sample(loss: nn.Module, given: Input) -> None:
    """The loss of a batch is the mean of the losses of its samples."""
    whole = _value(loss, given)
    alone = torch.stack([_value(loss, part) for part in _split(given, 1)]).mean()
    detail = f"the batch costs {whole:.6g}, its samples {alone:.6g} on average"
    _expect(_same(whole, alone), detail, given, Outcome.NOTE)


@_check(BATCHES)
def split_batch(loss: nn.Module, given: Input) -> None:
    """Gradients accumulated over unequal parts of a batch, each by its share, are those of the whole."""
    whole = _gradient(loss, given)
    samples = len(given.logits)
    parts = [_gradient(loss, part) * len(part.logits) / samples for part in _split(given, samples - 1)]
    apart, largest = (torch.cat(parts) - whole).abs().max(), whole.abs().max()
    detail = f"the gradients differ by up to {apart:.2g}, the largest is {largest:.2g}"
    _expect(apart <= 1e-4 * largest, detail, given, Outcome.NOTE)


def _split(given: Input, samples: int) -> list[Input]:
    return [Input(*part) for part in zip(given.logits.split(samples), given.target.split(samples), strict=True)]


@_check(CHANNELS)
def channel_permutation(loss: nn.Module, given: Input) -> None:
    """The order of the channels does not matter."""
    value, turned = _value(loss, given), _value(loss, Input(*(volume.flip(1) for volume in given)))
    _expect(_same(value, turned), f"{value:.6g}, in reverse order {turned:.6g}", given, Outcome.NOTE)


@_check(SHAPES)
def spatial_permutation(loss: nn.Module, given: Input) -> None:
    """The order of the spatial axes and their directions do not matter, nor where the voxels are."""
    axes = tuple(range(2, given.logits.ndim))
    expected = _value(loss, given)
    _expect_same_value(loss, Input(*(volume.flip(axes) for volume in given)), expected, "mirrored")
    turned = Input(*(volume.permute(0, 1, *reversed(axes)).contiguous() for volume in given))
    _expect_same_value(loss, turned, expected, "with the axes reversed")
    order = torch.randperm(given.logits[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    shuffled = _value(loss, Input(*(volume.flatten(2)[..., order].view_as(volume) for volume in given)))
    detail = f"it sees where voxels are: {expected:.6g}, shuffled {shuffled:.6g}"
    _expect(_same(shuffled, expected), detail, given, Outcome.NOTE)


@_check(SHAPES)
def memory_layout(loss: nn.Module, given: Input) -> None:
    """Value and gradient of non-contiguous and channels-last input are those of contiguous input."""
    value, slope = _value(loss, given), _gradient(loss, given)
    channels_last = torch.channels_last if given.logits.ndim == 4 else torch.channels_last_3d
    layouts = {
        "channels-last": Input(*(volume.contiguous(memory_format=channels_last) for volume in given)),
        "transposed in memory": Input(*(volume.mT.contiguous().mT for volume in given)),
        "every second of a row": Input(*(volume.repeat_interleave(2, -1)[..., ::2] for volume in given)),
    }
    for layout, changed in layouts.items():
        _expect_same_value(loss, changed, value, layout)
        _expect(_same(_gradient(loss, changed), slope), f"{layout}: the gradient differs", changed)


@_check(FLAT)
def two_and_three_dimensions(loss: nn.Module, given: Input) -> None:
    """A 2D input costs what it does as a 3D one of a single slice."""
    _expect_same_value(loss, Input(*(volume.unsqueeze(2) for volume in given)), _value(loss, given), "in 3D")


@_check(SHAPES)
def target_types(loss: nn.Module, given: Input) -> None:
    """A target of bool, uint8, int64 or float64 costs what it does in float32."""
    expected = _value(loss, given)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float64):
        _expect_same_value(loss, Input(given.logits, given.target.to(dtype)), expected, str(dtype))


@_check(SHAPES)
def device(loss: nn.Module, given: Input) -> None:
    """Moved to the GPU, value and gradient are those of the CPU."""
    if not torch.cuda.is_available():
        raise Flaw(Outcome.SKIPPED, "there is no GPU here")
    value, slope = _value(loss, given), _gradient(loss, given)
    moved = Input(*(volume.cuda() for volume in given))
    with _may_raise(moved):
        on_gpu = loss.cuda()
    _expect_same_value(on_gpu, moved, value.cuda(), "on the GPU")
    _expect(_same(_gradient(on_gpu, moved).cpu(), slope), "the gradient differs on the GPU", moved)


@_check(SHAPES)
def double_backward(loss: nn.Module, given: Input) -> None:
    """The gradient can be differentiated again, rightly by finite differences."""
    given, step = _widened(given), _direction(given)
    expected = (_gradient(loss, _moved(given, step)) - _gradient(loss, _moved(given, -step))) / 2
    logits, _, slope = _slope(loss, given, again=True)
    found = torch.zeros_like(slope)
    if slope.requires_grad:
        with _may_raise(given):
            (found,) = torch.autograd.grad(slope, logits, step, materialize_grads=True)
    # A loss may compute in float32, whatever it is given: its differences are that much coarser.
    close = (found - expected).norm() <= 0.01 * expected.norm() + 1e-4 * slope.norm() * step.norm()
    _expect(close, f"the second derivative along a step is {found.norm():.3g}, not {expected.norm():.3g}", given)


def _widened(given: Input) -> Input:
    return Input(given.logits.double(), given.target.double())


def _direction(given: Input) -> torch.Tensor:
    """A small step, so small that no logit of an example changes its sign."""
    return 1e-3 * torch.randn(given.logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _moved(given: Input, step: torch.Tensor) -> Input:
    return Input(given.logits + step, given.target)


@_check(SHAPES)
def state(loss: nn.Module, given: Input) -> None:
    """Two calls cost the same and leave their input as it was, and the state_dict makes the same loss again."""
    with _may_raise(given):
        twin = copy.deepcopy(loss)
    kept = Input(*(volume.clone() for volume in given))
    first = _value(loss, given)
    for volume, before in zip(given, kept, strict=True):
        _expect(torch.equal(volume, before), "the call writes into its input", kept)
    _expect_same_value(loss, given, first, "the second call")
    with _may_raise(given):
        twin.load_state_dict(loss.state_dict())
    _expect_same_value(twin, given, _value(loss, given), "from its state_dict")


@_check(SHAPES[:1])
def copies(loss: nn.Module, given: Input) -> None:
    """deepcopy and pickling make the same loss again."""
    expected = _value(loss, given)
    with _may_raise(given):
        # Bytes of its own making: nothing that came from a file is unpickled.
        twins = {"a deepcopy": copy.deepcopy(loss), "a pickle": pickle.loads(pickle.dumps(loss))}
    for what, twin in twins.items():
        _expect_same_value(twin, given, expected, what)
