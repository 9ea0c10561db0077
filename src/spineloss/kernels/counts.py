"""Counts: true and false positives and negatives, soft or hard; the one statistic of every region loss."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import distributed

Over = Literal["sample", "batch", "world"]


@dataclass(frozen=True)
class Counts:
    """TP, FP, FN, TN in voxels, each (N, C) per sample or (1, C) over the batch; they add."""

    tp: torch.Tensor
    fp: torch.Tensor
    fn: torch.Tensor
    tn: torch.Tensor

    def over_batch(self) -> "Counts":
        """The samples added: (1, C)."""
        return Counts(*(count.sum(0, keepdim=True) for count in self._all()))

    def over_world(self) -> "Counts":
        """The samples of every process's batch added: (1, C).

        Gradients flow through: with gradients averaged over the processes, as DistributedDataParallel does, a step
        is that of the whole batch in one process.
        """
        from torch.distributed.nn.functional import all_reduce

        local = torch.stack([count.sum(0, keepdim=True) for count in self._all()])
        alone = not (distributed.is_available() and distributed.is_initialized())
        return Counts(*(local if alone else all_reduce(local)))

    def _all(self) -> tuple[torch.Tensor, ...]:
        return self.tp, self.fp, self.fn, self.tn

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self._all(), other._all(), strict=True)))
