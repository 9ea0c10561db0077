"""Sums over the voxels weighted by a map: all that distance losses read, from one pass."""

from functools import partial
from typing import Any

import torch

from spineloss.kernels.passes import Pass, takes
from spineloss.kernels.plain_gradient import plain_gradient
from spineloss.kernels.plain_sums import Activation, probabilities_of, volumes_of
from spineloss.kernels.slabs import summed


def weighted_sum(
    logits: torch.Tensor, weights: torch.Tensor, *, activation: Activation = "sigmoid"
) -> torch.Tensor:
    """sum(P W) of each sample and class: (N, C), with P the activation of the logits.

    Args:
        logits: (N, C, *spatial), any floating type.
        weights: W, (N, C, *spatial); constant. Where it is 0, the logits do not matter.
        activation: `sigmoid` or `softmax`.
    """
    return _sum(logits, None, weights, activation)


def weighted_error_sum(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, *, activation: Activation = "sigmoid"
) -> torch.Tensor:
    """sum((P - Y)^2 W) of each sample and class: (N, C), with P the activation of the logits and Y the target.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial).
        weights: W, (N, C, *spatial); constant. Where it is 0, neither logits nor target matter.
        activation: `sigmoid` or `softmax`.
    """
    return _sum(logits, target, weights, activation)


def _sum(
    logits: torch.Tensor, target: torch.Tensor | None, weights: torch.Tensor, activation: Activation
) -> torch.Tensor:
    if takes(logits, target, weights=weights):
        return _Compiled.apply(logits, target, weights, activation)
    return summed(partial(_plain, activation=activation), logits, target, weights)


def _plain(
    logits: torch.Tensor, target: torch.Tensor | None, weights: torch.Tensor, activation: Activation
) -> torch.Tensor:
    counted = (weights != 0).any(1, keepdim=True)
    values = probabilities_of(torch.where(counted, logits, 0.0), activation)
    if target is not None:
        values = (values - volumes_of(target, values)).square()
    values = torch.where(weights != 0, values, 0.0)
    return (values * weights.to(values.dtype)).flatten(2).sum(2)


class _Compiled(torch.autograd.Function):
    """The library's sum; its gradient by another pass, or by plain operations if it is to be differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        target: torch.Tensor | None,
        weights: torch.Tensor,
        activation: Activation,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, target, weights)
        ctx.activation = activation
        volumes = Pass(logits, target, weights=weights, activation=activation)
        return volumes.sums("spineloss_weighted_sums", 1).squeeze(2)

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, target, weights = ctx.saved_tensors
        sums = partial(_plain, activation=ctx.activation)
        gradient = plain_gradient(sums, logits, target, weights, weights=slopes)
        if gradient is None:
            volumes = Pass(logits, target, weights=weights, activation=ctx.activation)
            gradient = volumes.gradient("spineloss_weighted_gradient", slopes.unsqueeze(2))
        return gradient, None, None, None
