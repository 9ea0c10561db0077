"""Sums over the voxels by plain operations of PyTorch: on any device, in any precision, under any transform.

They are what the compiled pass is tested against, and what second derivatives are taken of.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch.nn import functional

Activation = Literal["sigmoid", "softmax"]
COLUMNS = ("counted", "outside", "overlap", "predicted", "true", "squared_error")  # before the entropies


def plain_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    gammas: Sequence[float] = (),
) -> torch.Tensor:
    """The sums of each sample and class, with P the activation of the logits and Y the target.

    counted         1
    outside         1 where Y is not in [0, 1], or the label is no class
    overlap         min(P, Y)
    predicted       P
    true            Y
    squared_error   (P - Y)^2
    entropies       sigmoid: (1 - exp(-b))^gamma b, with b = -Y log P - (1 - Y) log(1 - P)
                    softmax: -Y (1 - P)^gamma log P

    Args:
        logits: (N, C, *spatial); in half precision they are summed in float32.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel, its logits may be NaN there.
        activation: `sigmoid` or `softmax`.
        ignore: a label that is ignored.
        gammas: exponents of the entropies; 0 is cross-entropy.

    Returns:
        (N, C, 6 + gammas), float32 at least.
    """
    wide = wide_type(logits)
    logits = logits.to(wide)
    truth = volumes_of(target, logits)
    counted = counted_voxels(target, mask, ignore, logits.ndim)
    if counted is not None:
        logits, seen = torch.where(counted, logits, 0.0), torch.where(counted, truth, 0.0)
    else:
        seen = truth
    log_probabilities = functional.log_softmax(logits, 1) if activation == "softmax" else None
    probabilities = logits.sigmoid() if log_probabilities is None else log_probabilities.exp()
    summed = [
        torch.ones_like(seen),
        outside_of(target, truth).to(wide),
        torch.minimum(probabilities, seen),
        probabilities,
        seen,
        (probabilities - seen).square(),
    ]
    if gammas and log_probabilities is None:
        entropy = functional.binary_cross_entropy_with_logits(logits, seen, reduction="none")
        summed += [_focused(entropy, gamma) for gamma in gammas]
    elif gammas:
        summed += [seen * _focused(-log_probabilities, gamma) for gamma in gammas]
    if counted is not None:
        summed = [torch.where(counted, volume, 0.0) for volume in summed]
    return torch.stack([volume.flatten(2).sum(2) for volume in summed], dim=2)


def wide_type(logits: torch.Tensor) -> torch.dtype:
    """The type to sum in, float32 at least: sums over a volume overflow in half precision."""
    return torch.promote_types(logits.dtype, torch.float32)


def volumes_of(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The target as (N, C, *spatial) in the type of the logits; labels become one volume per class."""
    if target.ndim == logits.ndim:
        return target.to(logits.dtype)
    classes = torch.arange(logits.shape[1], device=target.device)
    return (target[:, None] == classes.view(-1, *[1] * (target.ndim - 1))).to(logits.dtype)


def counted_voxels(
    target: torch.Tensor, mask: torch.Tensor | None, ignore: float | None, axes: int
) -> torch.Tensor | None:
    """Which voxels count, (N, 1 or C, *spatial), or none where all do."""
    counted = None if mask is None else mask != 0
    if ignore is None or target.ndim == axes or not _holds(target.dtype, ignore):
        return counted
    labelled = (target != ignore)[:, None]
    return labelled if counted is None else counted & labelled


def _holds(kind: torch.dtype, label: float) -> bool:
    """Whether a label can be of this type: PyTorch would compare 255 to the bits of an int8 and find -1."""
    if kind.is_floating_point or kind == torch.bool:
        return True
    return torch.iinfo(kind).min <= label <= torch.iinfo(kind).max


def probabilities_of(logits: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation of the logits, float32 at least."""
    logits = logits.to(wide_type(logits))
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def outside_of(target: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Where a target is neither in [0, 1] nor a class, (N, C, *spatial) booleans; `truth` is its `volumes_of`."""
    if target.ndim == truth.ndim:
        return ~((truth >= 0) & (truth <= 1))  # NaN is neither
    return (truth.sum(1, keepdim=True) == 0).expand(truth.shape)


def _focused(entropy: torch.Tensor, gamma: float) -> torch.Tensor:
    if gamma == 0:
        return entropy
    # Below this floor the slope of a power under 1 would be infinite, times an entropy of zero.
    return (-torch.expm1(-entropy)).clamp(min=1e-12) ** gamma * entropy
