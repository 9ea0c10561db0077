"""Sums over the voxels of each sample and class, from one pass: all that region and distribution losses read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import distributed

from spineloss.kernels.native import Chunk, chunks_of, in_threads, library, takes
from spineloss.kernels.plain_sums import COLUMNS, Activation, plain_sums

Over = Literal["sample", "batch", "world"]
MOST_GAMMAS = 8  # of one pass of the library


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
        from torch.distributed.nn.functional import all_reduce

        local = torch.stack([count.sum(0, keepdim=True) for count in self._all()])
        alone = not (distributed.is_available() and distributed.is_initialized())
        return Counts(*(local if alone else all_reduce(local)))

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
        entropies: by gamma. Sigmoid: sum((1 - exp(-b))^gamma b), b the voxel's binary cross-entropy. Softmax:
            sum(-Y (1 - P)^gamma log P).
    """

    counted: torch.Tensor
    outside: torch.Tensor
    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    squared_error: torch.Tensor
    entropies: Mapping[float, torch.Tensor]

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
    gammas: Sequence[float] = (),
) -> Sums:
    """Sum over the voxels of each sample and class.

    Args:
        logits: (N, C, *spatial); in half precision they are summed in float32.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        activation: what makes P of the logits: `sigmoid`, every channel alone, or `softmax`, exclusive classes.
        ignore: a label that is ignored.
        gammas: exponents of the entropies wanted; 0 is cross-entropy.

    Returns:
        The sums, float32 at least, differentiable in the logits, twice too.
    """
    gammas = tuple(sorted(set(gammas)))
    plain = (
        mask is not None or activation == "softmax" or target.shape != logits.shape or len(gammas) > MOST_GAMMAS
    )
    if plain or not takes(logits, target):
        sums = plain_sums(logits, target, mask, activation=activation, ignore=ignore, gammas=gammas).unbind(2)
    else:
        sums = _compiled(logits, target, gammas)
    return Sums(*sums[: len(COLUMNS)], dict(zip(gammas, sums[len(COLUMNS) :], strict=True)))


def _compiled(logits: torch.Tensor, target: torch.Tensor, gammas: tuple[float, ...]) -> list[torch.Tensor]:
    columns = _Compiled.apply(logits, target, gammas).unbind(2)
    overlap, predicted, true, *entropies = (columns[column] for column in _columns(gammas))
    counted = torch.full_like(true, target[0, 0].numel())
    lowest, highest = target.aminmax()
    outside = counted * ~((lowest >= 0) & (highest <= 1))
    return [counted, outside, overlap, predicted, true, torch.full_like(true, torch.nan), *entropies]


def _columns(gammas: tuple[float, ...]) -> list[int]:
    """Which of the library's sums are asked for; they are overlap, predicted, true, entropy, focal entropies."""
    focal = sum(gamma != 0 for gamma in gammas)
    return [*range(4 if 0.0 in gammas else 3), *range(4, 4 + focal)]


class _Compiled(torch.autograd.Function):
    """The library's sums; their gradient by another pass of it, or by plain operations if it is derived again."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, target: torch.Tensor, gammas: tuple[float, ...]) -> torch.Tensor:
        ctx.save_for_backward(logits, target)
        ctx.gammas = gammas
        # Overlap alone is as quickly found again as fetched from memory.
        ctx.tails = _room(logits) if gammas and ctx.needs_input_grad[0] else None
        return _compiled_sums(logits, target, gammas, ctx.tails)

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, target = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient must be differentiable itself
            sums = plain_sums(logits, target, gammas=ctx.gammas)[..., [2, 3, 4, *range(6, 6 + len(ctx.gammas))]]
            weights = weights[..., _columns(ctx.gammas)]
            (gradient,) = torch.autograd.grad(sums, logits, weights, create_graph=True)
        else:
            tails, ctx.tails = ctx.tails, None  # the gradient takes their room, so they serve once
            gradient = _compiled_gradient(logits, target, ctx.gammas, tails, weights)
        return gradient, None, None


def _room(logits: torch.Tensor) -> torch.Tensor:
    """For one float a voxel."""
    return torch.empty_like(logits, dtype=torch.float32, memory_format=torch.contiguous_format)


def _compiled_sums(
    logits: torch.Tensor, target: torch.Tensor, gammas: tuple[float, ...], tails: torch.Tensor | None
) -> torch.Tensor:
    """Sums of the library, (N, C, 4 + focal gammas); into `tails` what spares their gradient exponentials."""
    volumes = _Volumes(logits, target, gammas, tails)
    partial = torch.empty(len(volumes.chunks), 4 + len(volumes.focal), dtype=torch.float64)

    def add(number: int, chunk: Chunk) -> None:
        library().spineloss_sums(*volumes.arguments(chunk), partial[number].data_ptr())

    in_threads(add, range(len(volumes.chunks)), volumes.chunks)
    # Added in the order of the chunks: the same digits on any number of threads.
    return partial.view(*logits.shape[:2], -1, partial.shape[1]).sum(2).float()


def _compiled_gradient(
    logits: torch.Tensor,
    target: torch.Tensor,
    gammas: tuple[float, ...],
    tails: torch.Tensor | None,
    weights: torch.Tensor,
) -> torch.Tensor:
    volumes = _Volumes(logits, target, gammas, tails)
    rows = weights.float().flatten(0, 1).contiguous()
    gradient = _room(logits) if tails is None else tails

    def slope(chunk: Chunk) -> None:
        weights = rows[chunk.row].data_ptr()
        library().spineloss_gradient(*volumes.arguments(chunk), weights, chunk.of(gradient))

    in_threads(slope, volumes.chunks)
    return gradient.to(logits.dtype)


class _Volumes:
    """A batch as the library takes it: float logits, float or byte targets, the gammas, and the tails if any."""

    def __init__(
        self, logits: torch.Tensor, target: torch.Tensor, gammas: tuple[float, ...], tails: torch.Tensor | None
    ) -> None:
        bytewise = target.dtype in (torch.bool, torch.uint8)
        self.logits = logits.detach().float().contiguous()
        self.target = (target if bytewise else target.float()).contiguous()
        self.tails = tails
        self.entropy = 0.0 in gammas
        self.focal = torch.tensor([gamma for gamma in gammas if gamma != 0], dtype=torch.float32)
        self.chunks = chunks_of(logits)

    def arguments(self, chunk: Chunk) -> tuple[int | None, ...]:
        """What both functions of the library are called with first."""
        return (
            chunk.of(self.logits),
            chunk.of(self.target),
            self.target.dtype == torch.float32,
            None if self.tails is None else chunk.of(self.tails),
            chunk.voxels,
            self.entropy,
            self.focal.data_ptr(),
            len(self.focal),
        )
