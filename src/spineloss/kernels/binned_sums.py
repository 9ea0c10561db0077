"""Voxels and errors by the bin that the probability is in: all that a calibration error reads, from one pass."""

from functools import partial
from typing import Any

import torch

from spineloss.kernels.passes import Pass, takes
from spineloss.kernels.plain_gradient import plain_gradient
from spineloss.kernels.plain_sums import Activation, counted_voxels, probabilities_of, volumes_of
from spineloss.kernels.regional_sums import Places


def binned_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    bins: int,
    activation: Activation = "sigmoid",
    ignore: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How many voxels of each sample and class have P in each bin, and their sum of P - Y, P being the activation.

    The gradient of the errors does not see that a voxel can change its bin.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        bins: from 0 to 1, of equal width.
        activation: `sigmoid` or `softmax`.
        ignore: a label that is ignored.

    Returns:
        Voxels and errors, (N, C, bins) each, float32 at least.

    >>> voxels, errors = binned_sums(torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), bins=2)
    >>> voxels.tolist(), errors.tolist()
    ([[[0.0, 4.0]]], [[[0.0, 1.0]]])
    """
    if takes(logits, target, mask):
        return _Compiled.apply(logits, target, mask, activation, ignore, bins)
    return _plain(logits, target, mask, activation=activation, ignore=ignore, bins=bins)


def _plain(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    activation: Activation,
    ignore: int | None,
    bins: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    counted = counted_voxels(target, mask, ignore, logits.ndim)
    probabilities = probabilities_of(logits if counted is None else torch.where(counted, logits, 0.0), activation)
    voxels, errors = torch.ones_like(probabilities), probabilities - volumes_of(target, probabilities)
    if counted is not None:
        voxels, errors = voxels * counted, torch.where(counted, errors, 0.0)
    # NaN has no bin: it is given one, and goes through its error.
    places = Places((probabilities.detach() * bins).int().clamp_(0, bins - 1), bins)
    return places.add(voxels), places.add(errors)


class _Compiled(torch.autograd.Function):
    """The library's sums; the errors' gradient by another pass, or by plain operations if it is derived again."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None,
        activation: Activation,
        ignore: int | None,
        bins: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(logits, target, mask)
        ctx.settings = {"activation": activation, "ignore": ignore, "bins": bins}
        volumes = Pass(logits, target, mask, **ctx.settings)
        # What does not count is in a bin of its own, the last.
        made = volumes.sums("spineloss_binned_sums", 2 * (bins + 1)).unflatten(2, (-1, 2))[:, :, :-1]
        voxels, errors = made.unbind(3)
        ctx.mark_non_differentiable(voxels)
        return voxels, errors

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor, slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved, settings = ctx.saved_tensors, ctx.settings
        gradient = plain_gradient(partial(_errors, **settings), *saved, weights=slopes)
        if gradient is None:
            of_bins = torch.nn.functional.pad(slopes, (0, 1))
            gradient = Pass(*saved, **settings).gradient("spineloss_binned_gradient", of_bins)
        return gradient, None, None, None, None, None


def _errors(*tensors: Any, **settings: Any) -> torch.Tensor:
    return _plain(*tensors, **settings)[1]
