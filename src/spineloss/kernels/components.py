"""Connected components of masks, and the component that is nearest to each voxel."""

from collections.abc import Sequence
from itertools import product

import torch

from spineloss.kernels import native
from spineloss.kernels.distance_transform import LANES, parts_of, rows_of
from spineloss.kernels.native import in_threads, is_traced, memory, readable


def components_of(masks: torch.Tensor) -> torch.Tensor:
    """The connected components of each mask, numbered from 1 in the order of their first voxels; 0 is outside.

    Voxels that touch by a corner are connected.

    Args:
        masks: (N, C, *spatial) booleans.

    Returns:
        (N, C, *spatial) int32, on the masks' device and made there.

    >>> components_of(torch.tensor([[[[1, 0, 0, 1], [0, 1, 0, 1]]]], dtype=torch.bool))[0, 0].tolist()
    [[1, 0, 0, 2], [0, 1, 0, 2]]
    """
    found = [_numbered(mask) for mask in masks.flatten(0, 1)]
    return torch.stack(found).view(masks.shape) if found else masks.int()


def nearest_components(masks: torch.Tensor, spacing: torch.Tensor | Sequence[float] | None = None) -> torch.Tensor:
    """Of each voxel the number of the nearest component: the Voronoi regions of a mask's components.

    Args:
        masks: (N, C, *spatial) booleans, 2D or 3D.
        spacing: (N, D) or (D,) mm; 1 voxel by default.

    Returns:
        (N, C, *spatial) int32 from 1, on the masks' device and made there; all 1 where there is no foreground.

    References:
        Jaus et al., Every component counts: rethinking the measure of success for medical semantic segmentation in
        multi-instance segmentation tasks, AAAI 2025.

    >>> nearest_components(torch.tensor([[[[1, 0, 0, 0, 1, 1]]]], dtype=torch.bool))[0, 0].tolist()
    [[1, 1, 1, 2, 2, 2]]
    """
    return nearest_numbers(components_of(masks), spacing).clamp_(min=1)


def nearest_numbers(numbers: torch.Tensor, spacing: torch.Tensor | Sequence[float] | None = None) -> torch.Tensor:
    """Of each voxel the number of the nearest one that has a number, by exact Euclidean distances.

    Args:
        numbers: (N, C, *spatial) int32 of at least 0, 2D or 3D; 0 is none.
        spacing: (N, D) or (D,) mm; 1 voxel by default.

    Returns:
        (N, C, *spatial) int32; 0 where there is no number in the whole volume.
    """
    rows = rows_of(spacing, numbers)
    if not numbers.numel():
        return numbers
    if is_traced() or native.library() is None or not readable(numbers) or numbers.ndim > 5:
        return torch.stack([_plain(sample, row) for sample, row in zip(numbers, rows, strict=True)])
    each_channel = [row for row in rows for _ in range(numbers.shape[1])]
    return _by_library(numbers.flatten(0, 1), each_channel).view(numbers.shape)


def _numbered(mask: torch.Tensor) -> torch.Tensor:
    """Components of (*spatial) booleans: runs of each row, joined where those of neighbouring rows touch."""
    padded = torch.nn.functional.pad(mask, [1, 1] * mask.ndim)
    edges = padded.flatten()[1:].int() - padded.flatten()[:-1].int()
    starts, ends = (edges == 1).nonzero()[:, 0] + 1, (edges == -1).nonzero()[:, 0]  # both inside
    one, other = [], []
    for step in _rows_before(padded):
        first = torch.searchsorted(ends, starts + step - 1)
        touching = torch.searchsorted(starts, ends + step + 1, right=True) - first
        runs = torch.arange(len(starts), device=mask.device).repeat_interleave(touching)
        nth = torch.arange(len(runs), device=mask.device) - (touching.cumsum(0) - touching)[runs]
        one.append(runs)
        other.append(first[runs] + nth)
    roots = _joined(torch.cat(one), torch.cat(other), len(starts)) if one else starts
    numbers = torch.unique(roots, return_inverse=True)[1].int() + 1
    found = torch.zeros(mask.shape, dtype=torch.int32, device=mask.device)
    return found.masked_scatter(mask, numbers.repeat_interleave(ends - starts + 1))


def _rows_before(volume: torch.Tensor) -> list[int]:
    """The steps in memory to half of a row's neighbours: it is the other half's own neighbour."""
    *strides, _ = volume.stride()
    moves = product((-1, 0, 1), repeat=len(strides))
    steps = [sum(move * stride for move, stride in zip(each, strides, strict=True)) for each in moves]
    return [step for step in steps if step < 0]


def _joined(one: torch.Tensor, other: torch.Tensor, count: int) -> torch.Tensor:
    """The least run of each run's component, given all pairs that touch (Shiloach and Vishkin, 1982)."""
    roots = torch.arange(count, device=one.device)
    while len(one):
        # Each root joins the least root that its component touches, then that one's root, and so on.
        lower, higher = torch.minimum(one, other), torch.maximum(one, other)
        roots = roots.scatter_reduce(0, higher, lower, "amin")
        while not torch.equal(further := roots[roots], roots):
            roots = further
        one, other = roots[one], roots[other]
        apart = one != other
        one, other = one[apart], other[apart]
    return roots


def _by_library(numbers: torch.Tensor, spacings: Sequence[Sequence[float]]) -> torch.Tensor:
    """Nearest numbers of (N, *spatial)."""
    flat = (1,) * (4 - numbers.ndim)  # an image is a volume of one plane
    numbers = numbers.contiguous()
    volumes = numbers.view(len(numbers), *flat, *numbers.shape[1:])
    found = torch.empty_like(volumes)
    depth, height, width = volumes.shape[1:]
    padded = -(-width // LANES) * LANES
    squares = memory(len(volumes), depth, height, padded)
    nearest = memory(*squares.shape, dtype=torch.int32)
    steps = [(*flat, *spacing) for spacing in spacings]

    def scratch() -> torch.Tensor:
        return memory(4 * max(depth, height) * LANES)

    def planes(volume: int, first: int, last: int) -> None:
        line, (_, y, x) = scratch(), steps[volume]
        sizes = (last - first, height, width, padded)
        here, *fields = (each[volume, first:last].data_ptr() for each in (volumes, squares, nearest))
        native.library().spineloss_nearest_planes(here, *sizes, y, x, line.data_ptr(), *fields)

    def across_planes(volume: int, first: int, last: int) -> None:
        line, z = scratch(), steps[volume][0]
        sizes = (depth, height, width, padded, first, last)
        *fields, out = (each[volume].data_ptr() for each in (squares, nearest, found))
        native.library().spineloss_nearest_depth(*fields, *sizes, z, line.data_ptr(), out)

    in_threads(planes, *parts_of(len(volumes), depth))
    in_threads(across_planes, *parts_of(len(volumes), height))
    return found.view(numbers.shape)


def _plain(numbers: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Nearest numbers of (C, *spatial) by plain operations, where they are; ties as the library has them."""
    squared = torch.where(numbers > 0, 0.0, torch.inf)
    for axis, step in reversed(list(enumerate(spacing, start=1))):  # as the library: rows first
        before, own = squared, numbers
        squared, numbers = before.clone(), own.clone()
        length = before.shape[axis]
        for shift in range(1, length):
            rest = length - shift
            for start, other in ((shift, 0), (0, shift)):
                here = squared.narrow(axis, start, rest)
                from_there = before.narrow(axis, other, rest) + (shift * step) ** 2
                nearer = from_there <= here if start else from_there < here
                here.copy_(torch.where(nearer, from_there, here))
                number = numbers.narrow(axis, start, rest)
                number.copy_(torch.where(nearer, own.narrow(axis, other, rest), number))
    return numbers
