"""Sums over the voxels by the C library: the twin of `plain_sums`."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.passes import Pass
from spineloss.kernels.plain_gradient import plain_gradient
from spineloss.kernels.plain_sums import ALWAYS, Activation, plain_sums

# Where the library's fixed columns are that a loss may ask for: it always has room for the cross-entropy.
FIXED = {Column("deviation", 2.0): ALWAYS.index("squared_error"), CROSS_ENTROPY: len(ALWAYS)}


def compiled_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    columns: Sequence[Column] = (),
) -> torch.Tensor:
    """What `plain_sums` returns, for tensors that `passes.takes` and at most `passes.MOST_ASKED` columns."""
    return _Compiled.apply(logits, target, mask, activation, ignore, tuple(columns))


class _Compiled(torch.autograd.Function):
    """The library's sums; their gradient by another pass, or by plain operations if it is to be differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None,
        activation: Activation,
        ignore: float | None,
        columns: tuple[Column, ...],
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, target, mask)
        ctx.settings = {"activation": activation, "ignore": ignore, "columns": columns}
        plan = _plan(columns, activation)
        made = _pass(logits, target, mask, plan, activation, ignore).sums("spineloss_sums", plan.width)
        return made[..., plan.places]

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved, settings = ctx.saved_tensors, ctx.settings  # read once: activation checkpointing gives them once
        gradient = plain_gradient(partial(plain_sums, **settings), *saved, weights=weights)
        if gradient is None:
            plan = _plan(settings["columns"], settings["activation"])
            every = weights.new_zeros(*weights.shape[:2], plan.width).index_add(2, plan.places, weights)
            volumes = _pass(*saved, plan, settings["activation"], settings["ignore"])
            gradient = volumes.gradient("spineloss_gradient", every)
        return gradient, None, None, None, None, None


class _Plan(NamedTuple):
    """What the library is asked for, and where the columns of `plain_sums` are among its own."""

    asked: list[Column]
    places: torch.Tensor
    width: int


def _plan(columns: Sequence[Column], activation: Activation) -> _Plan:
    same = [column.under(activation) for column in columns]
    asked = list(dict.fromkeys(column for column in same if column not in FIXED))
    first = len(ALWAYS) + 1
    found = [FIXED[column] if column in FIXED else first + asked.index(column) for column in same]
    places = torch.tensor([*range(len(ALWAYS)), *found], device="cpu")
    return _Plan(asked, places, first + len(asked))


def _pass(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    plan: _Plan,
    activation: Activation,
    ignore: float | None,
) -> Pass:
    entropy = FIXED[CROSS_ENTROPY] in plan.places
    return Pass(logits, target, mask, activation=activation, ignore=ignore, columns=plan.asked, entropy=entropy)
