"""The cross-entropy of each voxel: what voxels are ranked by."""

import torch
from torch.nn import functional

from spineloss.kernels.passes import Pass, takes
from spineloss.kernels.plain_sums import Activation, counted_voxels, volumes_of, wide_type


def surprises(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: int | None = None,
) -> torch.Tensor:
    """The cross-entropy of each voxel, -1 where it does not count; without a gradient.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        activation: `sigmoid` or `softmax`.
        ignore: a label that is ignored.

    Returns:
        (N, C, *spatial); of exclusive classes (N, 1, *spatial); float32 at least.
    """
    if takes(logits, target, mask):
        volumes = Pass(logits, target, mask, activation=activation, ignore=ignore, entropy=True)
        found = volumes.each_voxel("spineloss_surprises", logits.shape[1] if activation == "sigmoid" else 1)
        return found.unflatten(2, logits.shape[2:])
    return _plain(logits.detach(), target, mask, activation, ignore)


def _plain(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    activation: Activation,
    ignore: int | None,
) -> torch.Tensor:
    logits = logits.to(wide_type(logits))
    truth = volumes_of(target, logits)
    counted = counted_voxels(target, mask, ignore, logits.ndim)
    if counted is not None:
        logits, truth = torch.where(counted, logits, 0.0), torch.where(counted, truth, 0.0)
    if activation == "sigmoid":
        found = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    else:
        found = -(truth * logits.log_softmax(1)).sum(1, keepdim=True)
    found = found.clamp(min=0)
    return found if counted is None else torch.where(counted, found, -1.0)
