"""Counts: true and false positives and negatives, soft or hard; the one statistic of every region loss."""

from dataclasses import dataclass
from typing import Literal

import torch

Over = Literal["sample", "batch"]


@dataclass(frozen=True)
class Counts:
    """TP, FP, FN, TN in voxels, each (N, C) per sample or (1, C) over the batch; they add."""

    tp: torch.Tensor
    fp: torch.Tensor
    fn: torch.Tensor
    tn: torch.Tensor

    @classmethod
    def of(
        cls,
        probabilities: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor | None = None,
        over: Over = "sample",
    ) -> "Counts":
        """Count soft or hard predictions.

        TP = sum(P Y), FP = sum(P (1 - Y)), FN = sum((1 - P) Y), TN = sum((1 - P) (1 - Y))

        Args:
            probabilities: (N, C, *spatial) in [0, 1].
            target: (N, C, *spatial) in [0, 1].
            mask: broadcastable to them; 1 counts a voxel, 0 ignores it.
            over: `sample` keeps the samples apart, `batch` adds them first.

        >>> p, y = torch.tensor([[[0.5, 1.0, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
        >>> counts = Counts.of(p, y)
        >>> counts.tp.item(), counts.fp.item(), counts.fn.item(), counts.tn.item()
        (1.5, 0.0, 0.5, 1.0)
        """
        if mask is None:
            predicted = probabilities.flatten(2).sum(2)
            voxels = torch.full_like(predicted, probabilities[0, 0].numel())
        else:
            probabilities, target = probabilities * mask, target * mask
            predicted = probabilities.flatten(2).sum(2)
            voxels = mask.expand_as(probabilities).flatten(2).sum(2, dtype=predicted.dtype)
        # An inner product needs no product volume in memory.
        tp = torch.einsum("ncv,ncv->nc", probabilities.flatten(2), target.flatten(2))
        true = target.flatten(2).sum(2)
        counts = cls(tp, predicted - tp, true - tp, voxels - predicted - true + tp)
        return counts if over == "sample" else counts.over_batch()

    def over_batch(self) -> "Counts":
        """The samples added: (1, C)."""
        return Counts(*(count.sum(0, keepdim=True) for count in (self.tp, self.fp, self.fn, self.tn)))

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)
