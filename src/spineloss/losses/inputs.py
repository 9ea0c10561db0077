"""Inputs: what is known at one training step, with everything that follows from it computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from spineloss.kernels.counts import Counts, Over
from spineloss.kernels.distance_transform import Unit, signed_distance_maps
from spineloss.kernels.voxel_sums import Sums, sums_of
from spineloss.kernels.weighted_sums import distance_sum, weighed_error_sum


@dataclass(frozen=True)
class Inputs:
    """Logits and target of a step.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: (N, C, *spatial) in [0, 1], any type.
        mask: broadcastable to the target; 1 counts a voxel, 0 ignores it. All count by default.
        spacing: (N, D) or (D,) mm; 1 voxel by default.
        target_maps: (N, C, *spatial) signed distance maps of the target, by unit; made when asked for by default.
        class_weights: (C,) weights of the channels in every average; equal by default.
        gammas: focusing exponents of the entropies that will be asked for, so that one pass sums them all.
    """

    logits: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None = None
    spacing: torch.Tensor | Sequence[float] | None = None
    target_maps: Mapping[Unit, torch.Tensor] = field(default_factory=dict)
    class_weights: torch.Tensor | Sequence[float] | None = None
    gammas: tuple[float, ...] = ()

    @cached_property
    def sums(self) -> Sums:
        """Of overlap and entropies, from one pass over the voxels."""
        return sums_of(self.logits, self.target, self.mask, self.gammas)

    def counts(self, over: Over) -> Counts:
        """Soft counts: per sample (N, C), over the batch (1, C), or over every process's batch (1, C)."""
        counts = self.sums.counts
        if over == "sample":
            return counts
        return counts.over_batch() if over == "batch" else counts.over_world()

    def entropy(self, gamma: float) -> torch.Tensor:
        """Mean over the voxels of (1 - exp(-c))^gamma c, c the cross-entropy of a voxel: (N, C)."""
        known = gamma in self.gammas
        sums = self.sums if known else sums_of(self.logits, self.target, self.mask, (gamma,))
        return sums.entropy[gamma] / sums.voxels.clamp(min=1)

    @property
    def wide(self) -> torch.dtype:
        """The type that the loss is computed in: float32 at least."""
        return torch.promote_types(self.logits.dtype, torch.float32)

    def spacing_in(self, unit: Unit) -> torch.Tensor | Sequence[float] | None:
        """The spacing that distances of this unit are measured with."""
        return self.spacing if unit == "mm" else None

    def distances(self, unit: Unit) -> torch.Tensor:
        """Signed distance map of the target, as given or made now."""
        given = self.target_maps.get(unit)
        return signed_distance_maps(self.target, self.spacing_in(unit)) if given is None else given

    def mean_distance(self, unit: Unit) -> torch.Tensor:
        """Mean over the voxels of the probability times the target's signed distance: (N, C)."""
        distances = self.distances(unit)
        if self.mask is not None:
            distances = distances * self.mask
        return distance_sum(self.logits, distances) / self.voxels

    def least_mean_distance(self, unit: Unit) -> torch.Tensor:
        """The mean distance where just the voxels of negative distance are predicted: (N, C)."""
        inside = self.distances(unit).clamp(max=0)
        if self.mask is not None:
            inside = inside * self.mask
        return inside.flatten(2).sum(2) / self.voxels

    def mean_weighed_error(self, unit: Unit, power: float) -> torch.Tensor:
        """Mean over the voxels of the squared error times both boundaries' distances to a power: (N, C)."""
        # A logit above 0 is a probability above 1/2.
        predicted = signed_distance_maps(self.logits > 0, self.spacing_in(unit))
        logits, target = self.logits, self.target
        if self.mask is not None:
            # Where nothing counts, P = Y = 0.
            logits, target = torch.where(self.mask > 0, logits, -torch.inf), target * self.mask
        return weighed_error_sum(logits, target, self.distances(unit), predicted, power) / self.voxels

    @property
    def voxels(self) -> torch.Tensor | int:
        """How many voxels of each sample and channel count: (N, C), or the number that all have."""
        if self.mask is None:
            return self.target[0, 0].numel()
        return self.mask.expand(self.target.shape).flatten(2).sum(2).clamp(min=1)

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over samples of the weighted mean over channels of (N, C) values: a scalar."""
        if self.class_weights is None:
            return values.mean()
        weights = torch.as_tensor(self.class_weights, dtype=values.dtype, device=values.device)
        return (values * weights).sum(1).mean() / weights.sum()
