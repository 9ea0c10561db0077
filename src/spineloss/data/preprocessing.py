"""From a volume to the network grid: intensities (Sec. 6.3 of the thesis), images, masks, probabilities back."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

Grid = tuple[int, int, int]


def normalise(image: np.ndarray) -> np.ndarray:
    """Clip to the [0.5, 99.5] percentiles, rescale to [0, 1], then z-normalise.

    z = (x - mean) / std, over the whole volume (Eq. 6.1). A constant volume becomes zero.

    Args:
        image: (Z, Y, X) intensities.

    Returns:
        (Z, Y, X) float32 of mean 0 and standard deviation 1.
    """
    scaled = rescale(image)
    spread = scaled.std()
    return ((scaled - scaled.mean()) / (spread if spread > 0 else 1.0)).astype(np.float32)


def rescale(image: np.ndarray) -> np.ndarray:
    """Clip to the [0.5, 99.5] percentiles and rescale to [0, 1]: (Z, Y, X) float64."""
    low, high = np.percentile(image, [0.5, 99.5])
    if high <= low:
        low, high = float(image.min()), float(image.max())
    return (np.clip(image, low, high).astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)


def channels_of(label_map: np.ndarray, labels: Sequence[int], target: str) -> np.ndarray:
    """Boolean target channels: one for all labels (`merged`) or one a label (`per-label`).

    Args:
        label_map: (Z, Y, X) integers.
        labels: the chosen labels.
        target: `merged` or `per-label`.

    Returns:
        (C, Z, Y, X) booleans.

    >>> channels_of(np.array([[[0, 1, 2]]]), [1, 2], "merged").astype(int).tolist()
    [[[[0, 1, 1]]]]
    """
    if target == "merged":
        return np.isin(label_map, labels)[None]
    return np.stack([label_map == label for label in labels])


def resize_image(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Trilinear interpolation of (C, Z, Y, X) values to (C, *grid); voxel centres stay aligned."""
    return functional.interpolate(image[None], size=grid, mode="trilinear", align_corners=False)[0]


def resize_mask(mask: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Interpolate boolean channels so that each keeps its physical volume.

    The occupancy of each grid voxel is averaged (where the grid is coarser) or interpolated (where it is
    finer), and the fullest voxels are kept, as many as hold the volume. A fixed threshold would shrink thin
    parts or, set near zero, grow the mask by a fifth.

    Args:
        mask: (C, Z, Y, X) booleans.
        grid: (Z, Y, X) voxels.

    Returns:
        (C, *grid) uint8, within half a voxel of the original volume; a channel that is not empty keeps a voxel.
    """
    coarse = tuple(min(size, wanted) for size, wanted in zip(mask.shape[1:], grid, strict=True))
    occupancy = functional.adaptive_avg_pool3d(mask[None].float(), coarse)
    occupancy = functional.interpolate(occupancy, size=grid, mode="trilinear", align_corners=False)[0]
    ratio = math.prod(grid) / math.prod(mask.shape[1:])
    resized = torch.zeros(mask.shape[0], math.prod(grid), dtype=torch.uint8)
    for channel, (values, voxels) in enumerate(zip(occupancy.flatten(1), mask.flatten(1).sum(1), strict=True)):
        kept = max(round(int(voxels) * ratio), int(voxels > 0))
        # A stable sort decides ties the same way on every machine.
        resized[channel, values.argsort(descending=True, stable=True)[:kept]] = 1
    return resized.view(-1, *grid)
