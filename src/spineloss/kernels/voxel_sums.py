"""Sums over the voxels of each sample and channel, from one pass: all that region and distribution losses read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from spineloss.kernels.counts import Counts
from spineloss.kernels.native import Chunk, chunks_of, in_threads, library, takes

MOST_GAMMAS = 8  # of one pass of the library


@dataclass(frozen=True)
class Sums:
    """Sums over voxels, each (N, C).

    Args:
        overlap: sum(min(P, Y)). Of a hard target that is sum(P Y); of a soft one it is the form by which P = Y is
            perfect (Wang et al., Dice semimetric losses, MICCAI 2023).
        predicted: sum(P).
        true: sum(Y).
        voxels: how many were counted.
        entropy: sum((1 - exp(-c))^gamma c) for each gamma asked for, c the voxel's cross-entropy.
    """

    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    voxels: torch.Tensor
    entropy: Mapping[float, torch.Tensor]

    @property
    def counts(self) -> Counts:
        """TP, FP, FN, TN of each sample and channel.

        >>> logits, target = torch.tensor([[[0.0, 99.0, -99.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
        >>> counts = sums_of(logits, target).counts
        >>> counts.tp.item(), counts.fp.item(), counts.fn.item(), counts.tn.item()
        (1.5, 0.0, 0.5, 1.0)
        """
        tp = self.overlap
        return Counts(tp, self.predicted - tp, self.true - tp, self.voxels - self.predicted - self.true + tp)


def sums_of(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None, gammas: Sequence[float] = ()
) -> Sums:
    """Sum over the voxels of each sample and channel, with P = sigmoid(logits) and Y the target.

    Args:
        logits: (N, C, *spatial); in half precision they are summed in float32.
        target: (N, C, *spatial) in [0, 1], any type.
        mask: broadcastable to them; 1 counts a voxel, 0 ignores it.
        gammas: focusing exponents of the entropies wanted; 0 is cross-entropy.

    Returns:
        The sums, float32 at least, differentiable in the logits, twice too.
    """
    gammas = tuple(sorted(set(gammas)))
    if mask is None and len(gammas) <= MOST_GAMMAS and takes(logits, target):
        columns = _Compiled.apply(logits, target, gammas).unbind(2)
        overlap, predicted, true, *entropies = (columns[column] for column in _columns(gammas))
    else:
        overlap, predicted, true, *entropies = _eager(logits, target, mask, gammas).unbind(2)
    if mask is None:
        voxels = torch.full_like(true, target[0, 0].numel())
    else:
        voxels = mask.expand(target.shape).flatten(2).sum(2, dtype=true.dtype)
    return Sums(overlap, predicted, true, voxels, dict(zip(gammas, entropies, strict=True)))


def _eager(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, gammas: tuple[float, ...]
) -> torch.Tensor:
    """(N, C, 3 + gammas), by plain operations."""
    wide = torch.promote_types(logits.dtype, torch.float32)  # sums over a volume overflow in half precision
    logits, target = logits.to(wide), target.to(wide)
    probabilities = logits.sigmoid()
    volumes = [torch.minimum(probabilities, target), probabilities, target]
    if gammas:
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        volumes += [_focused(entropy, gamma) for gamma in gammas]
    if mask is not None:
        volumes = [volume * mask.to(wide) for volume in volumes]
    return torch.stack([volume.flatten(2).sum(2) for volume in volumes], dim=2)


def _focused(entropy: torch.Tensor, gamma: float) -> torch.Tensor:
    if gamma == 0:
        return entropy
    # Below this floor the slope of a power under 1 would be infinite, times an entropy of zero.
    return (-torch.expm1(-entropy)).clamp(min=1e-12) ** gamma * entropy


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
            sums = _eager(logits, target, None, ctx.gammas)
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
