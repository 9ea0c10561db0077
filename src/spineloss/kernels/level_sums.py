"""How far predicted signed distance maps are from the target's, summed over the voxels in one pass."""

from functools import partial
from typing import Any

import torch

from spineloss.kernels.passes import Pass, takes
from spineloss.kernels.plain_gradient import plain_gradient
from spineloss.kernels.plain_sums import Activation, probabilities_of
from spineloss.kernels.slabs import summed


def level_sum(
    logits: torch.Tensor,
    maps: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
) -> torch.Tensor:
    """sum(|S - T| + 1/3 - S T / (S T + S^2 + T^2)) of each sample and class: (N, C), with S = 1 - 2 P.

    Args:
        logits: (N, C, *spatial), any floating type; P is their activation.
        maps: T, (N, C, *spatial), signed distances from -1 to 1; constant.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        activation: `sigmoid` or `softmax`.

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.
    """
    if takes(logits, maps, mask):
        return _Compiled.apply(logits, maps, mask, activation)
    return summed(partial(_plain, activation=activation), logits, maps, mask)


def _plain(
    logits: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor | None, activation: Activation
) -> torch.Tensor:
    found = 1 - 2 * probabilities_of(logits, activation)
    true = maps.to(found.dtype)
    if mask is not None:
        true = torch.where(mask != 0, true, 1.0)
    product = found * true
    squares = product + found.square() + true.square()
    squares = squares + (squares == 0)  # both maps are 0 there, and so is the product
    values = (found - true).abs() + 1 / 3 - product / squares
    if mask is not None:
        values = torch.where(mask != 0, values, 0.0)
    return values.flatten(2).sum(2)


class _Compiled(torch.autograd.Function):
    """The library's sum; its gradient by another pass, or by plain operations if it is derived again."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor | None, activation: Activation
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, maps, mask)
        ctx.activation = activation
        return Pass(logits, maps, mask, activation=activation).sums("spineloss_level_sums", 1).squeeze(2)

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved, activation = ctx.saved_tensors, ctx.activation
        gradient = plain_gradient(partial(_plain, activation=activation), *saved, weights=slopes)
        if gradient is None:
            volumes = Pass(*saved, activation=activation)
            gradient = volumes.gradient("spineloss_level_gradient", slopes.unsqueeze(2))
        return gradient, None, None, None
