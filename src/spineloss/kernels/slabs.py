"""Sums over the voxels of a large batch, slab by slab: no volume is kept, and the gradient makes them again.

On a GPU, and wherever else the C library is not, a batch takes the memory of its gradient and of one slab.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from spineloss.kernels import native
from spineloss.kernels.plain_gradient import plain_gradient

SLABS = 8  # of a batch: many take little memory, few start few operations
LEAST = 1 << 20  # logits of a slab

Constant = torch.Tensor | None
Sums = Callable[..., torch.Tensor]


def summed(sums: Sums, logits: torch.Tensor, *constants: Constant) -> torch.Tensor:
    """`sums(logits, *constants)`, by slabs where a batch has several and can be cut.

    Args:
        sums: of plain operations, adding up the voxels of each sample: (N, ...).
        logits: (N, C, *spatial).
        constants: volumes (N, 1 or C, *spatial), labels (N, *spatial), or none.

    >>> logits = torch.zeros(1, 1, 3 << 20)
    >>> summed(lambda part: part.exp().sum(2), logits).item() == 3 << 20
    True
    """
    given = [tensor for tensor in constants if tensor is not None]
    if _can_be_cut(logits, given) and logits.numel() > LEAST:
        return _Summed.apply(sums, logits, *constants)
    return sums(logits, *constants)


def _can_be_cut(logits: torch.Tensor, constants: list[torch.Tensor]) -> bool:
    space = logits.shape[2:]
    return (
        not native.is_traced()
        and all(tensor.shape[-len(space) :] == space and not tensor.requires_grad for tensor in constants)
        and all(native.is_plain(tensor) for tensor in (logits, *constants))
    )


class _Summed(torch.autograd.Function):
    """The sums of the slabs, added; their gradient slab by slab."""

    @staticmethod
    def forward(ctx: Any, sums: Sums, logits: torch.Tensor, *constants: Constant) -> torch.Tensor:
        ctx.save_for_backward(logits, *constants)
        ctx.sums = sums
        samples: list[list[torch.Tensor]] = [[] for _ in logits]
        for slab in _slabs(logits):
            samples[slab.sample].append(sums(*slab.of(logits, *constants)))
        return torch.cat([torch.stack(parts).sum(0) for parts in samples])

    @staticmethod
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, *constants = ctx.saved_tensors
        none = [None for _ in constants]
        whole = plain_gradient(ctx.sums, logits, *constants, weights=weights)
        if whole is not None:
            return None, whole, *none
        gradient = torch.empty_like(logits)
        for slab in _slabs(logits):
            part, *others = slab.of(logits, *constants)
            with torch.enable_grad():
                own = part.detach().requires_grad_()
                made = ctx.sums(own, *others)
            slab.of(gradient)[0].copy_(*torch.autograd.grad(made, own, weights[slab.sample, None]))
        return None, gradient, *none


class _Slab(NamedTuple):
    """Planes of a sample that lie side by side along the first axis of space."""

    sample: int
    planes: slice
    axes: int

    def of(self, *volumes: Constant) -> list[Any]:
        """The slab's part of volumes (N, C, *spatial) and labels (N, *spatial), in their memory."""
        return [None if volume is None else self._part(volume) for volume in volumes]

    def _part(self, volume: torch.Tensor) -> torch.Tensor:
        own = volume[self.sample, None]
        return own[:, :, self.planes] if volume.ndim == self.axes else own[:, self.planes]


def _slabs(logits: torch.Tensor) -> Iterator[_Slab]:
    planes = logits.shape[2]
    size = max(LEAST, logits.numel() // SLABS)
    thickness = max(1, size * planes // logits[0].numel())
    for sample in range(len(logits)):
        for first in range(0, planes, thickness):
            yield _Slab(sample, slice(first, first + thickness), logits.ndim)
