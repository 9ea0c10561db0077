"""From a volume to the network grid: intensities (Sec. 6.3 of the thesis), images, masks, probabilities back."""

import math

import numpy as np
import torch
from torch.nn import functional

Grid = tuple[int, int, int]
IGNORED = 255  # in a target: nobody annotated the voxel


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
    scaled -= scaled.mean()
    scaled /= spread if spread > 0 else 1.0
    return scaled.astype(np.float32)


def rescale(image: np.ndarray) -> np.ndarray:
    """Clip to the [0.5, 99.5] percentiles and rescale to [0, 1]: (Z, Y, X) float64."""
    low, high = np.percentile(image, [0.5, 99.5])
    if high <= low:
        low, high = float(image.min()), float(image.max())
    scaled = np.clip(image, low, high).astype(np.float64, copy=False)
    scaled -= low
    scaled /= max(high - low, np.finfo(np.float64).tiny)
    return scaled


def resize_image(image: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Trilinear interpolation of (C, Z, Y, X) values to (C, *grid); voxel centres stay aligned.

    On its own grid the image is given back as it is.
    """
    if tuple(image.shape[1:]) == grid:
        return image
    return functional.interpolate(image[None], size=grid, mode="trilinear", align_corners=False)[0]


def resize_mask(mask: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Resample channels of 0 and 1, each alone, so that each keeps its physical volume.

    The occupancy of each grid voxel is averaged (where the grid is coarser) or interpolated (where it is
    finer), and the fullest voxels are kept, as many as hold the volume. A fixed threshold would shrink thin
    parts or, set near zero, grow the mask by a fifth.

    A grid voxel that is mostly `IGNORED` is so. The others are filled by what is annotated of them, and a channel
    keeps its share of the annotated volume.

    Args:
        mask: (C, Z, Y, X) booleans, or 0, 1 and `IGNORED`.
        grid: (Z, Y, X) voxels.

    Returns:
        (C, *grid) uint8, within half a voxel of the original volume; a channel that is not empty keeps a voxel.
    """
    known = _Annotated(mask[0] != IGNORED, grid)
    resized = torch.zeros(len(mask), *grid, dtype=torch.uint8)
    for channel, own in zip(resized, mask == 1, strict=True):
        channel.view(-1)[_fullest(known.occupancy(own), known.places(own))] = 1
    return torch.where(known.counted, resized, IGNORED)


def resize_labels(labels: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Resample a map of exclusive labels so that each keeps its physical volume, and none overlaps another.

    As `resize_mask`, label by label, the smallest first: a label takes its fullest voxels of those that are left,
    so that a small one is not lost beside a large one. What is `IGNORED` is treated as there.

    Args:
        labels: (1, Z, Y, X) uint8, 0 for the background.
        grid: (Z, Y, X) voxels.

    Returns:
        (1, *grid) uint8; the background is what no label takes.
    """
    known = _Annotated(labels[0] != IGNORED, grid)
    present, counts = labels[(labels != 0) & (labels != IGNORED)].unique(return_counts=True)
    resized = torch.zeros(1, *grid, dtype=torch.uint8)
    free = torch.ones(math.prod(grid))
    for label in present[counts.argsort(stable=True)]:
        own = labels[0] == label
        chosen = _fullest(known.occupancy(own) * free, known.places(own))
        resized.view(-1)[chosen] = label
        free[chosen] = 0
    return torch.where(known.counted, resized, IGNORED)


class _Annotated:
    """Which voxels of a grid are annotated, and how masks fill those.

    Args:
        known: (Z, Y, X) booleans; what is annotated.
        grid: (Z, Y, X) voxels.
    """

    def __init__(self, known: torch.Tensor, grid: Grid) -> None:
        self.grid = grid
        self.share = None if known.all() else _occupancy(known, grid)
        self.counted = torch.ones(grid, dtype=torch.bool) if self.share is None else self.share >= 0.5
        self.ratio = int(self.counted.sum()) / max(int(known.sum()), 1)

    def occupancy(self, mask: torch.Tensor) -> torch.Tensor:
        """The share that a (Z, Y, X) mask fills of what is annotated of each voxel of the grid; flat."""
        found = _occupancy(mask, self.grid)
        return (found if self.share is None else torch.where(self.counted, found / self.share, 0)).flatten()

    def places(self, mask: torch.Tensor) -> int:
        """How many voxels of the grid hold the volume of a mask; at least one if it is not empty."""
        voxels = int(mask.sum())
        return max(round(voxels * self.ratio), int(voxels > 0))


def _occupancy(mask: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The share of each voxel of the grid that a (Z, Y, X) mask fills."""
    coarse = tuple(min(size, wanted) for size, wanted in zip(mask.shape, grid, strict=True))
    occupancy = functional.adaptive_avg_pool3d(mask[None, None].float(), coarse)
    return functional.interpolate(occupancy, size=grid, mode="trilinear", align_corners=False)[0, 0]


def _fullest(occupancy: torch.Tensor, count: int) -> torch.Tensor:
    """The places of the fullest voxels of a flat volume; none is empty."""
    (filled,) = occupancy.nonzero(as_tuple=True)
    # A stable sort decides ties the same way on every machine.
    return filled[occupancy[filled].argsort(descending=True, stable=True)[:count]]
