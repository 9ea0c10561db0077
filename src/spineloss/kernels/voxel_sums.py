"""Sums over the voxels of each sample and class, from one pass: all that region and distribution losses read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Literal

import torch

from spineloss.kernels.columns import Column
from spineloss.kernels.compiled_sums import compiled_sums
from spineloss.kernels.passes import MOST_ASKED, takes
from spineloss.kernels.plain_sums import ALWAYS, Activation, plain_sums
from spineloss.kernels.slabs import summed
from spineloss.kernels.world_sum import world_sum

Over = Literal["sample", "batch", "world", "component", "blob"]


@dataclass(frozen=True)
class Counts:
    """TP, FP, FN, TN in voxels, soft or hard, each (N, C) per sample or (1, C) over the batch; they add."""

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
        local = torch.stack([count.sum(0, keepdim=True) for count in self._all()])
        return Counts(*world_sum(local))

    def _all(self) -> tuple[torch.Tensor, ...]:
        return self.tp, self.fp, self.fn, self.tn

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self._all(), other._all(), strict=True)))


@dataclass(frozen=True)
class Sums:
    """Sums over the voxels that count, each (N, C), with P the prediction and Y the target.

    Args:
        counted: how many there are.
        outside: how many have a target that is neither in [0, 1] nor a class.
        overlap: sum(min(P, Y)). Of a hard target that is sum(P Y); of a soft one it is the form by which P = Y is
            perfect (Wang et al., Dice semimetric losses, MICCAI 2023).
        predicted: sum(P).
        true: sum(Y).
        squared_error: sum((P - Y)^2).
        columns: what was asked for.
    """

    counted: torch.Tensor
    outside: torch.Tensor
    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    squared_error: torch.Tensor
    columns: Mapping[Column, torch.Tensor]

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Sums":
        """The same with every sum changed alike."""
        sums = {item.name: getattr(self, item.name) for item in fields(self)}
        columns = {column: change(asked) for column, asked in sums.pop("columns").items()}
        return Sums(**{name: change(of_all) for name, of_all in sums.items()}, columns=columns)

    @property
    def counts(self) -> Counts:
        """TP, FP, FN, TN of each sample and class.

        >>> logits, target = torch.tensor([[[0.0, 99.0, -99.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
        >>> counts = sums_of(logits, target).counts
        >>> counts.tp.item(), counts.fp.item(), counts.fn.item(), counts.tn.item()
        (1.5, 0.0, 0.5, 1.0)
        """
        tp = self.overlap
        return Counts(tp, self.predicted - tp, self.true - tp, self.counted - self.predicted - self.true + tp)


def sums_of(
    logits: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    columns: Sequence[Column] = (),
) -> Sums:
    """Sum over the voxels of each sample and class.

    Args:
        logits: (N, C, *spatial); in half precision they are summed in float32.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        activation: what makes P of the logits: `sigmoid`, every channel alone, or `softmax`, exclusive classes.
        ignore: a label that is ignored.
        columns: what else is to be summed.

    Returns:
        The sums, float32 at least, differentiable in the logits, twice too.
    """
    columns = tuple(dict.fromkeys(columns))
    samples, classes = logits.shape[:2]
    if mask is not None and mask.shape[1] > 1 and mask.shape == target.shape and activation == "sigmoid":
        # Channels of a sigmoid are alone, so those with masks of their own are samples.
        logits, target, mask = (volume.flatten(0, 1).unsqueeze(1) for volume in (logits, target, mask))
    settings = {"activation": activation, "ignore": ignore, "columns": columns}
    if takes(logits, target, mask) and len(columns) <= MOST_ASKED:
        made = compiled_sums(logits, target, mask, **settings)
    else:
        made = summed(partial(plain_sums, **settings), logits, target, mask)
    sums = made.reshape(samples, classes, -1).unbind(2)
    return Sums(*sums[: len(ALWAYS)], dict(zip(columns, sums[len(ALWAYS) :], strict=True)))
