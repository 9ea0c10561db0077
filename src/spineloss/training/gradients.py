"""Gradients of many losses in a network's parameters, from one forward pass and few backward passes.

The gradient in the parameters is linear in the gradient in the logits, the slope. Losses that differ by their
parameters alone have slopes that span few dimensions: of a sample, all of a region loss's lie in the plane of its
overlap's and its volume's. So one backward pass per dimension gives the gradient of every one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from spineloss.training.precision import Precision

ROUNDING = 64  # units in the last place


@dataclass(frozen=True)
class Gradients:
    """Gradients as sums over a basis.

    Args:
        basis: one tensor per parameter, for each basis vector.
        coordinates: (losses, basis vectors).
    """

    basis: Sequence[Sequence[torch.Tensor]]
    coordinates: torch.Tensor

    def of(self, number: int) -> list[torch.Tensor]:
        """The gradient of one of the losses: one tensor per parameter."""
        first, *others = zip(self.coordinates[number].tolist(), self.basis, strict=True)
        total = [first[0] * part for part in first[1]]
        for coordinate, vector in others:
            for part, more in zip(total, vector, strict=True):
                part.add_(more, alpha=coordinate)
        return total


class Forward:
    """One forward pass of a network, to be gone back through for any losses of its logits.

    Args:
        network: from images to logits.
        image: (N, 1, *grid).
        precision: of the forward pass and of the backward passes.
    """

    def __init__(self, network: nn.Module, image: torch.Tensor, precision: Precision) -> None:
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.precision = precision
        with precision.autocast():
            self.output = network(image)
        logits = self.output.detach()
        self.logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()

    def gradients(self, slopes: torch.Tensor) -> Gradients:
        """The gradients in the parameters, of losses whose slopes are given; it can be asked for once.

        Args:
            slopes: (losses, N, C, *grid), the gradient of each loss in `logits`.
        """
        directions, coordinates = span(slopes.flatten(1))
        last = len(directions) - 1
        basis = [self._back(slope, keep=number < last) for number, slope in enumerate(directions)]
        return Gradients(basis, coordinates)

    def _back(self, slope: torch.Tensor, *, keep: bool) -> list[torch.Tensor]:
        scale = self.precision.scale
        found = torch.autograd.grad(
            self.output,
            self.parameters,
            (scale * slope).view_as(self.output).to(self.output.dtype),
            retain_graph=keep,
            materialize_grads=True,
        )
        # In the parameters' own memory layout the optimiser is faster.
        return [
            torch.empty_like(parameter).copy_(gradient).div_(scale)
            for parameter, gradient in zip(self.parameters, found, strict=True)
        ]


def span(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A basis of rows, by Gram-Schmidt with pivots: rows = coordinates @ basis, but for rounding.

    Args:
        rows: (rows, length).

    Returns:
        The basis, (rank, length) with at least one vector, each as long as the longest row; and the coordinates,
        (rows, rank).

    >>> basis, coordinates = span(torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, -1.0, 0.0]]))
    >>> len(basis)
    2
    >>> (coordinates @ basis).round().tolist()
    [[3.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, -1.0, 0.0]]
    """
    rest, basis, coordinates = rows.clone(), [], []
    longest = torch.linalg.vector_norm(rows, dim=1).max()
    for _ in range(len(rows)):
        lengths = torch.linalg.vector_norm(rest, dim=1)
        pivot = int(lengths.argmax())
        if basis and lengths[pivot] <= ROUNDING * torch.finfo(rows.dtype).eps * longest:
            break
        direction = rest[pivot] / lengths[pivot].clamp(min=torch.finfo(rows.dtype).tiny)
        along = rest @ direction
        rest.addr_(along, direction, alpha=-1)
        basis.append(direction)
        coordinates.append(along)
    # As long as the rows, they neither vanish nor overflow in half precision where the rows do not.
    length = longest if longest > 0 else torch.ones_like(longest)
    return length * torch.stack(basis), torch.stack(coordinates, dim=1) / length
