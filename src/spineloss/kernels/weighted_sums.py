"""Sums over voxels weighed by distance maps: all that boundary and Hausdorff losses read, from one pass."""

from collections.abc import Sequence
from typing import Any

import torch

from spineloss.kernels.native import Chunk, chunks_of, in_threads, library, takes


def distance_sum(logits: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """sum(P d) of each sample and channel: (N, C), with P = sigmoid(logits) and d the distances."""
    if takes(logits, distances):
        return _Compiled.apply(logits, None, distances, None, 0.0)
    return _eager(logits, None, distances, None, 0.0)


def weighed_error_sum(
    logits: torch.Tensor, target: torch.Tensor, distances: torch.Tensor, others: torch.Tensor, power: float
) -> torch.Tensor:
    """sum((P - Y)^2 (|d|^power + |e|^power)) of each sample and channel: (N, C).

    Args:
        logits: (N, C, *spatial), any floating type; P = sigmoid(logits).
        target: Y, (N, C, *spatial) in [0, 1].
        distances: d, like the target; constant.
        others: e, likewise.
        power: 0 or more.
    """
    if takes(logits, target, distances, others):
        return _Compiled.apply(logits, target, distances, others, power)
    return _eager(logits, target, distances, others, power)


def _eager(
    logits: torch.Tensor,
    target: torch.Tensor | None,
    distances: torch.Tensor,
    others: torch.Tensor | None,
    power: float,
) -> torch.Tensor:
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    distances = distances.to(probabilities.dtype)
    if target is None or others is None:
        return (probabilities * distances).flatten(2).sum(2)
    weights = distances.abs() ** power + others.to(probabilities.dtype).abs() ** power
    return ((probabilities - target.to(probabilities.dtype)).square() * weights).flatten(2).sum(2)


class _Compiled(torch.autograd.Function):
    """The sum by the compiled pass; its gradient by another, or by plain operations if it is derived again."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        target: torch.Tensor | None,
        distances: torch.Tensor,
        others: torch.Tensor | None,
        power: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, target, distances, others)
        ctx.power = power
        volumes = _floats([logits, target, distances, others])
        chunks = chunks_of(logits)
        partial = torch.empty(len(chunks), dtype=torch.float64)

        def add(number: int, chunk: Chunk) -> None:
            to = partial[number].data_ptr()
            library().spineloss_field_sum(*_pointers(volumes, chunk), power, chunk.voxels, to)

        in_threads(add, range(len(chunks)), chunks)
        # Added in the order of the chunks: the same digits on any number of threads.
        return partial.view(*logits.shape[:2], -1).sum(2).float()

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits = ctx.saved_tensors[0]
        if torch.is_grad_enabled():  # the gradient must be differentiable itself
            sums = _eager(*ctx.saved_tensors, ctx.power)
            (gradient,) = torch.autograd.grad(sums, logits, weights, create_graph=True)
            return gradient, None, None, None, None
        volumes, rows = _floats(ctx.saved_tensors), weights.flatten().tolist()
        gradient = torch.empty(logits.shape)

        def slope(chunk: Chunk) -> None:
            pointers, to = _pointers(volumes, chunk), chunk.of(gradient)
            library().spineloss_field_slope(*pointers, ctx.power, chunk.voxels, rows[chunk.row], to)

        in_threads(slope, chunks_of(logits))
        return gradient.to(logits.dtype), None, None, None, None


def _floats(volumes: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    return [None if volume is None else volume.detach().float().contiguous() for volume in volumes]


def _pointers(volumes: Sequence[torch.Tensor | None], chunk: Chunk) -> list[int | None]:
    return [None if volume is None else chunk.of(volume) for volume in volumes]
