"""How far predicted signed distance maps are from the target's, summed over the voxels in one pass."""

from functools import partial
from typing import Any

import torch

from spineloss.kernels.passes import Pass, takes
from spineloss.kernels.plain_gradient import plain_gradient
from spineloss.kernels.plain_sums import Activation, probabilities_of
from spineloss.kernels.slabs import summed


def level_sum(logits: torch.Tensor, maps: torch.Tensor, *, activation: Activation = "sigmoid") -> torch.Tensor:
    """sum(|S - T| + 1/3 - S T / (S T + S^2 + T^2)) of each sample and class: (N, C), with S = 1 - 2 P.

    Args:
        logits: (N, C, *spatial), any floating type; P is their activation.
        maps: T, (N, C, *spatial), signed distances from -1 to 1; constant. Where it is NaN, none counts.
        activation: `sigmoid` or `softmax`.

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.
    """
    if takes(logits, weights=maps):
        return _Compiled.apply(logits, maps, activation)
    return summed(partial(_plain, activation=activation), logits, maps)


def _plain(logits: torch.Tensor, maps: torch.Tensor, activation: Activation) -> torch.Tensor:
    found = 1 - 2 * probabilities_of(logits, activation)
    counted = ~maps.isnan()
    true = torch.where(counted, maps, 1.0).to(found.dtype)
    product = found * true
    # Of no voxel that counts both are 0.
    squares = (product + found.square() + true.square()).clamp(min=torch.finfo(found.dtype).tiny)
    values = (found - true).abs() + 1 / 3 - product / squares
    return torch.where(counted, values, 0.0).flatten(2).sum(2)


class _Compiled(torch.autograd.Function):
    """The library's sum; its gradient by another pass, or by plain operations if it is derived again."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, maps: torch.Tensor, activation: Activation) -> torch.Tensor:
        ctx.save_for_backward(logits, maps)
        ctx.activation = activation
        return Pass(logits, weights=maps, activation=activation).sums("spineloss_level_sums", 1).squeeze(2)

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, maps = ctx.saved_tensors
        gradient = plain_gradient(partial(_plain, activation=ctx.activation), logits, maps, weights=slopes)
        if gradient is None:
            volumes = Pass(logits, weights=maps, activation=ctx.activation)
            gradient = volumes.gradient("spineloss_level_gradient", slopes.unsqueeze(2))
        return gradient, None, None
