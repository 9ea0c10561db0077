"""Evidence: what is known at one training step, with everything that follows from it computed once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.nn import functional

from spineloss.counts import Counts, Over
from spineloss.distance import signed_distance_maps


@dataclass(frozen=True)
class Evidence:
    """Logits and target of a step; float32 at least, whatever the precision of the logits.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: (N, C, *spatial) in [0, 1], any type.
        mask: broadcastable to the target; 1 counts a voxel, 0 ignores it. All count by default.
        spacing: (N, D) or (D,) mm; 1 voxel by default.
        target_map: (N, C, *spatial) signed distance map of the target; made when asked for by default.
    """

    logits: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None = None
    spacing: torch.Tensor | Sequence[float] | None = None
    target_map: torch.Tensor | None = None
    _counts: dict[str, Counts] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # Sums over a volume overflow in half precision.
        wide = torch.promote_types(self.logits.dtype, torch.float32)
        object.__setattr__(self, "logits", self.logits.to(wide))
        object.__setattr__(self, "target", self.target.to(wide))
        if self.mask is not None:
            object.__setattr__(self, "mask", self.mask.to(wide))

    @cached_property
    def probabilities(self) -> torch.Tensor:
        """sigmoid(logits)."""
        return self.logits.sigmoid()

    @cached_property
    def cross_entropy(self) -> torch.Tensor:
        """-y log p - (1 - y) log(1 - p) of each voxel, from the logits and so without overflow."""
        return functional.binary_cross_entropy_with_logits(self.logits, self.target, reduction="none")

    @cached_property
    def distances(self) -> torch.Tensor:
        """Signed distance map of the target, as given or made now."""
        if self.target_map is None:
            return signed_distance_maps(self.target, self.spacing).to(self.logits.dtype)
        return self.target_map.to(self.logits.dtype)

    def counts(self, over: Over) -> Counts:
        """Soft counts, per sample or over the batch."""
        if over not in self._counts:
            self._counts[over] = Counts.of(self.probabilities, self.target, self.mask, over)
        return self._counts[over]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the counted voxels of each sample and channel, then over samples and channels."""
        if self.mask is None:
            return values.mean()
        mask = self.mask.expand_as(values)
        sums, voxels = (values * mask).flatten(2).sum(2), mask.flatten(2).sum(2)
        return (sums / voxels.clamp(min=1)).mean()
