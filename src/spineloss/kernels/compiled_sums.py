"""Sums over the voxels by the C library: the twin of `plain_sums`."""

from collections.abc import Sequence
from typing import Any

import torch

from spineloss.kernels.passes import Pass
from spineloss.kernels.plain_sums import COLUMNS, Activation, plain_sums


def compiled_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    gammas: Sequence[float] = (),
) -> torch.Tensor:
    """What `plain_sums` returns, for tensors that `passes.takes` and at most `passes.MOST_GAMMAS` gammas."""
    return _Compiled.apply(logits, target, mask, activation, ignore, tuple(gammas))


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
        gammas: tuple[float, ...],
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, target, mask)
        ctx.settings = {"activation": activation, "ignore": ignore, "gammas": gammas}
        columns = _columns(gammas)
        return _pass(logits, target, mask, **ctx.settings).sums("spineloss_sums", _width(gammas))[..., columns]

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, gammas = ctx.saved_tensors[0], ctx.settings["gammas"]
        if torch.is_grad_enabled():
            sums = plain_sums(*ctx.saved_tensors, **ctx.settings)
            (gradient,) = torch.autograd.grad(sums, logits, weights, create_graph=True)
        else:
            every = weights.new_zeros(*weights.shape[:2], _width(gammas)).index_add(2, _columns(gammas), weights)
            gradient = _pass(*ctx.saved_tensors, **ctx.settings).gradient("spineloss_gradient", every)
        return gradient, None, None, None, None, None


def _pass(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    activation: Activation,
    ignore: float | None,
    gammas: tuple[float, ...],
) -> Pass:
    settings = {"activation": activation, "ignore": ignore, "entropy": 0.0 in gammas}
    return Pass(logits, target, mask, gammas=_focal(gammas), **settings)


def _focal(gammas: tuple[float, ...]) -> list[float]:
    return sorted({gamma for gamma in gammas if gamma != 0})


def _width(gammas: tuple[float, ...]) -> int:
    """How many columns the library sums: always the cross-entropy, and each focal entropy once."""
    return len(COLUMNS) + 1 + len(_focal(gammas))


def _columns(gammas: tuple[float, ...]) -> torch.Tensor:
    """Where those of `plain_sums` are among them."""
    entropies = [0.0, *_focal(gammas)]
    return torch.tensor([*range(len(COLUMNS)), *(len(COLUMNS) + entropies.index(gamma) for gamma in gammas)])
