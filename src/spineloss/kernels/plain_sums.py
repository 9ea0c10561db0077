"""Sums over the voxels by plain operations of PyTorch: on any device, in any precision, under any transform.

They are what the compiled pass is tested against, and what second derivatives are taken of.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch.nn import functional

from spineloss.kernels.columns import Column

Activation = Literal["sigmoid", "softmax"]
ALWAYS = ("counted", "outside", "overlap", "predicted", "true", "squared_error")  # before the columns asked for
SMALLEST = 1e-20  # what a power is taken of at least: of 0, its slope may be infinite


def plain_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    columns: Sequence[Column] = (),
) -> torch.Tensor:
    """The sums of each sample and class, with P the activation of the logits and Y the target.

    counted         1
    outside         1 where Y is not in [0, 1], or the label is no class
    overlap         min(P, Y)
    predicted       P
    true            Y
    squared_error   (P - Y)^2
    columns         as `Column` says

    Args:
        logits: (N, C, *spatial); in half precision they are summed in float32.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel, its logits may be NaN there.
        activation: `sigmoid` or `softmax`.
        ignore: a label that is ignored.
        columns: what else is summed.

    Returns:
        (N, C, 6 + columns), float32 at least.
    """
    volumes = summed_volumes(logits, target, mask, activation=activation, ignore=ignore, columns=columns)
    return torch.stack([volume.flatten(2).sum(2) for volume in volumes], dim=2)


def summed_volumes(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    activation: Activation,
    ignore: float | None,
    columns: Sequence[Column],
) -> list[torch.Tensor]:
    """What each voxel adds to each of the sums, (N, C, *spatial): 0 where it is ignored."""
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
        seen.new_ones(()).expand_as(seen),
        outside_of(target, truth).to(wide).expand_as(seen),
        torch.minimum(probabilities, seen),
        probabilities,
        seen,
        (probabilities - seen).square(),
    ]
    summed += [
        _of_exclusive(column.under(activation), log_probabilities, seen)
        if log_probabilities is not None
        else _of_independent(column, logits, seen)
        for column in columns
    ]
    return summed if counted is None else [torch.where(counted, volume, 0.0) for volume in summed]


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
    if ignore is None or target.ndim == axes or not can_be(target.dtype, ignore):
        return counted
    labelled = (target != ignore)[:, None]
    return labelled if counted is None else counted & labelled


def can_be(kind: torch.dtype, label: float) -> bool:
    """Whether a label can be of this type: PyTorch would compare 255 to the bits of an int8 and find -1."""
    if kind.is_floating_point or kind == torch.bool:
        return True
    return torch.iinfo(kind).min <= label <= torch.iinfo(kind).max


def probabilities_of(logits: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation of the logits, float32 at least."""
    logits = logits.to(wide_type(logits))
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def outside_of(target: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Where a target is neither in [0, 1] nor a class, (N, C or 1, *spatial); `truth` is its `volumes_of`."""
    if target.ndim == truth.ndim:
        return ~((truth >= 0) & (truth <= 1))  # NaN is neither
    return truth.sum(1, keepdim=True) == 0


def _of_independent(column: Column, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What each voxel adds to a column where every channel is alone."""

    def entropy(target: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")

    match column.kind:
        case "foreground":
            return truth * _focused(entropy(torch.ones_like(truth)), column.exponent)
        case "background":
            return (1 - truth) * _focused(entropy(torch.zeros_like(truth)), column.exponent)
        case "deviation" | "missed":
            return _deviation(column, logits.sigmoid(), truth)
        case "uniform":
            return entropy(torch.full_like(truth, 0.5))
        case "entropy_power":
            # The slope of the usual form is 0 where a prediction is sure; that of a small power is not.
            halves = truth * functional.softplus(-logits) + (1 - truth) * functional.softplus(logits)
            return _of_entropy(column, halves)
    return _of_entropy(column, entropy(truth))


def _of_exclusive(column: Column, log_probabilities: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What each voxel adds to a column of each class where classes are exclusive."""
    if column.kind in ("deviation", "missed"):
        return _deviation(column, log_probabilities.exp(), truth)
    if column.kind == "uniform":
        return -log_probabilities / log_probabilities.shape[1]
    return truth * _of_entropy(column, -log_probabilities)


def _deviation(column: Column, probabilities: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    if column.kind == "missed":
        return (truth - probabilities).clamp(min=SMALLEST) ** column.exponent
    return (probabilities - truth).abs().clamp(min=SMALLEST) ** column.exponent


def _of_entropy(column: Column, entropy: torch.Tensor) -> torch.Tensor:
    """A function of a voxel's cross-entropy."""
    if column.kind == "box_cox":
        return -torch.expm1(-column.exponent * entropy) / column.exponent
    if column.kind == "entropy_power":
        return entropy.clamp(min=SMALLEST) ** column.exponent
    return _focused(entropy, column.exponent)


def _focused(entropy: torch.Tensor, gamma: float) -> torch.Tensor:
    if gamma == 0:
        return entropy
    # Below this floor the slope of a power under 1 would be infinite, times an entropy of zero.
    return (-torch.expm1(-entropy)).clamp(min=1e-12) ** gamma * entropy
