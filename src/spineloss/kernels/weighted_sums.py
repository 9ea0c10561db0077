"""Sums over the voxels weighted by a map: all that distance losses read, from one pass."""

from collections.abc import Sequence
from typing import Any

import torch

from spineloss.kernels.native import Chunk, chunks_of, in_threads, library, takes
from spineloss.kernels.plain_sums import Activation, probabilities_of, volumes_of


def weighted_sum(
    logits: torch.Tensor, weights: torch.Tensor, *, activation: Activation = "sigmoid"
) -> torch.Tensor:
    """sum(P W) of each sample and class: (N, C), with P the activation of the logits.

    Args:
        logits: (N, C, *spatial), any floating type.
        weights: W, (N, C, *spatial); constant.
        activation: `sigmoid` or `softmax`.
    """
    if activation == "sigmoid" and takes(logits, weights):
        return _Compiled.apply(logits, None, weights)
    return _plain(logits, None, weights, activation)


def weighted_error_sum(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, *, activation: Activation = "sigmoid"
) -> torch.Tensor:
    """sum((P - Y)^2 W) of each sample and class: (N, C), with P the activation of the logits and Y the target.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial).
        weights: W, (N, C, *spatial); constant.
        activation: `sigmoid` or `softmax`.
    """
    if activation == "sigmoid" and target.shape == logits.shape and takes(logits, target, weights):
        return _Compiled.apply(logits, target, weights)
    return _plain(logits, target, weights, activation)


def _plain(
    logits: torch.Tensor, target: torch.Tensor | None, weights: torch.Tensor, activation: Activation
) -> torch.Tensor:
    values = probabilities_of(logits, activation)
    if target is not None:
        values = (values - volumes_of(target, values)).square()
    return (values * weights.to(values.dtype)).flatten(2).sum(2)


class _Compiled(torch.autograd.Function):
    """The sum by the compiled pass; its gradient by another, or by plain operations if it is derived again."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, target: torch.Tensor | None, weights: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, target, weights)
        volumes = _floats([logits, target, weights])
        chunks = chunks_of(logits)
        partial = torch.empty(len(chunks), dtype=torch.float64)

        def add(number: int, chunk: Chunk) -> None:
            to = partial[number].data_ptr()
            library().spineloss_field_sum(*_pointers(volumes, chunk), 1.0, chunk.voxels, to)

        in_threads(add, range(len(chunks)), chunks)
        # Added in the order of the chunks: the same digits on any number of threads.
        return partial.view(*logits.shape[:2], -1).sum(2).float()

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits = ctx.saved_tensors[0]
        if torch.is_grad_enabled():  # the gradient must be differentiable itself
            sums = _plain(*ctx.saved_tensors, "sigmoid")
            (gradient,) = torch.autograd.grad(sums, logits, slopes, create_graph=True)
            return gradient, None, None
        volumes, rows = _floats(ctx.saved_tensors), slopes.flatten().tolist()
        gradient = torch.empty(logits.shape)

        def slope(chunk: Chunk) -> None:
            pointers, to = _pointers(volumes, chunk), chunk.of(gradient)
            library().spineloss_field_slope(*pointers, 1.0, chunk.voxels, rows[chunk.row], to)

        in_threads(slope, chunks_of(logits))
        return gradient.to(logits.dtype), None, None


def _floats(volumes: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Logits, target and weights; the library adds a second map of weights, which is zero, to an error's."""
    made = [None if volume is None else volume.detach().float().contiguous() for volume in volumes]
    return [*made, None if made[1] is None else torch.zeros_like(made[2])]


def _pointers(volumes: Sequence[torch.Tensor | None], chunk: Chunk) -> list[int | None]:
    return [None if volume is None else chunk.of(volume) for volume in volumes]
