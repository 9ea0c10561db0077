"""Exact Euclidean distance transforms and signed distance maps, with anisotropic spacing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from spineloss.kernels import native
from spineloss.kernels.native import in_threads, is_traced, memory, readable

Unit = Literal["mm", "voxel"]


def distance_map(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Distance of each voxel to the nearest voxel of the mask, 0 on the mask.

    Args:
        mask: (*spatial) booleans, 2D or 3D.
        spacing: of each axis, mm; 1 voxel by default.

    Returns:
        (*spatial) float32; zeros of an empty mask, from which no distance is defined.

    >>> distance_map(np.array([[True, False, False]]), (1.0, 2.0)).tolist()
    [[0.0, 2.0, 4.0]]
    """
    return np.maximum(signed_distance_map(mask, spacing), 0)


def signed_distance_map(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Distance to the mask outside of it, minus the distance to its complement inside.

    phi(q) = d(q, mask) - d(q, complement)

    Args:
        mask: (*spatial) booleans, 2D or 3D.
        spacing: of each axis, mm; 1 voxel by default.

    Returns:
        (*spatial) float32, positive outside, negative inside; zeros of an empty or a full mask, which has no
        boundary.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.

    >>> signed_distance_map(np.array([[True, True, False]]), (1.0, 2.0)).tolist()
    [[-4.0, -2.0, 2.0]]
    """
    steps = (1.0,) * mask.ndim if spacing is None else tuple(float(step) for step in spacing)
    masks = torch.from_numpy(np.ascontiguousarray(mask, dtype=bool))[None, None]
    return signed_distance_maps(masks, steps)[0, 0].numpy()


def signed_distance_maps(
    masks: torch.Tensor,
    spacing: torch.Tensor | Sequence[float] | None = None,
    counted: torch.Tensor | None = None,
) -> torch.Tensor:
    """The signed distance map of each sample and channel, without gradient.

    Args:
        masks: (N, C, *spatial), 2D or 3D; a voxel above 0.5 is foreground.
        spacing: (N, D) or (D,) mm; 1 voxel by default.
        counted: (N, 1 or C, *spatial) booleans; a voxel that does not count is on neither side, and 0 in the map.

    Returns:
        (N, C, *spatial) float32, on the masks' device and made there.
    """
    hard = masks.detach() > 0.5
    if counted is not None:
        sides = (hard & counted, ~hard & counted)
        outside, inside = (signed_distance_maps(side, spacing).clamp(min=0) for side in sides)
        return torch.where(counted, outside - inside, 0.0)
    rows = rows_of(spacing, hard)
    if not hard.numel():
        return torch.zeros(hard.shape, dtype=torch.float32, device=hard.device)
    if is_traced() or native.library() is None or not readable(hard) or hard.ndim > 5:
        return torch.stack([_plain(sample, row) for sample, row in zip(hard, rows, strict=True)])
    each_channel = [row for row in rows for _ in range(hard.shape[1])]
    return _by_library(hard.flatten(0, 1), each_channel).view(hard.shape)


def rows_of(spacing: torch.Tensor | Sequence[float] | None, volumes: torch.Tensor) -> list[list[float]]:
    """The spacing of each sample of (N, C, *spatial) volumes: 1 by default."""
    axes = volumes.ndim - 2
    steps = torch.as_tensor([1.0] * axes if spacing is None else spacing, dtype=torch.float64, device="cpu")
    return steps.expand(len(volumes), axes).tolist()


LANES = 16  # of the library's widest vectors


def _by_library(masks: torch.Tensor, spacings: Sequence[Sequence[float]]) -> torch.Tensor:
    """Signed distance maps of (N, *spatial) booleans."""
    masks = masks.contiguous()
    found = memory(*masks.shape)
    flat = (1,) * (4 - masks.ndim)  # an image is a volume of one plane
    masks, spacings = masks.view(len(masks), *flat, *masks.shape[1:]), [(*flat, *spacing) for spacing in spacings]
    _fill(masks, spacings, found.view(masks.shape))
    return found


def _fill(masks: torch.Tensor, spacings: Sequence[Sequence[float]], out: torch.Tensor) -> None:
    depth, height, width = masks.shape[1:]
    padded = -(-width // LANES) * LANES
    field = memory(len(masks), depth, height, padded)

    def scratch() -> torch.Tensor:
        return memory(3 * max(depth, height) * LANES)

    def planes(volume: int, first: int, last: int) -> None:
        mask, to, line = masks[volume, first:last], field[volume, first:last], scratch()
        _, y, x = spacings[volume]
        native.library().spineloss_distance_planes(
            mask.data_ptr(), last - first, height, width, padded, y, x, line.data_ptr(), to.data_ptr()
        )

    def across_planes(volume: int, first: int, last: int) -> None:
        line, z = scratch(), spacings[volume][0]
        sizes = (depth, height, width, padded, first, last)
        native.library().spineloss_distance_depth(
            field[volume].data_ptr(), *sizes, z, line.data_ptr(), out[volume].data_ptr()
        )

    in_threads(planes, *parts_of(len(masks), depth))
    in_threads(across_planes, *parts_of(len(masks), height))


def parts_of(volumes: int, length: int) -> tuple[Sequence[int], ...]:
    """Volume, first and last of parts of each volume, enough for every thread."""
    size = -(-length // min(length, torch.get_num_threads()))
    rows = [
        (volume, first, min(first + size, length)) for volume in range(volumes) for first in range(0, length, size)
    ]
    return tuple(zip(*rows, strict=True))


def _plain(masks: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Signed distance maps of (C, *spatial) booleans by plain operations, where the masks are.

    Squared distances are exact axis by axis: d'(i) = min_j d(j) + (spacing (i - j))^2 (Saito and Toriwaki, Pattern
    Recognition 27, 1994).
    """
    sides = torch.stack([~masks, masks])
    squared = torch.where(sides, torch.inf, 0.0)
    for axis, step in enumerate(spacing, start=2):
        squared = _nearest_along(squared, axis, step)
    outside, inside = squared.sqrt()
    return torch.where(torch.isinf(outside + inside), 0.0, outside - inside)


CHECKED_EVERY = 16  # shifts between looks at whether more could still matter: a look waits for the device


def _nearest_along(squared: torch.Tensor, axis: int, step: float) -> torch.Tensor:
    length = squared.shape[axis]
    nearest = squared.clone()
    for shift in range(1, length):
        cost = (shift * step) ** 2
        if shift % CHECKED_EVERY == 0 and cost >= nearest.max():
            break
        rest = length - shift
        for start, other in ((shift, 0), (0, shift)):
            here = nearest.narrow(axis, start, rest)
            torch.minimum(here, squared.narrow(axis, other, rest) + cost, out=here)
    return nearest
