"""Patches of cases: where one lies is drawn, for a share of them around foreground; outside the case is 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spineloss.data.preprocessing import Grid

AROUND_FOREGROUND = 1 / 3  # share of the patches, as in nnU-Net
MOST_PLACES = 10_000  # remembered of each structure


@dataclass(frozen=True)
class Window:
    """A box of voxels: its first one (z, y, x), which may lie before the case, and its size (Z, Y, X)."""

    start: tuple[int, int, int]
    size: Grid

    def wider(self, margin: Sequence[int]) -> "Window":
        """With so many more voxels on both sides along each axis."""
        return Window(
            tuple(first - more for first, more in zip(self.start, margin, strict=True)),
            tuple(size + 2 * more for size, more in zip(self.size, margin, strict=True)),
        )

    def cut(self, volume: torch.Tensor) -> torch.Tensor:
        """A copy of what it holds of a (C, Z, Y, X) volume, 0 where it leaves the volume."""
        box = volume.new_zeros(len(volume), *self.size)
        bounds = [
            (first, max(first, 0), min(first + count, n))
            for first, count, n in zip(self.start, self.size, volume.shape[1:], strict=True)
        ]
        there = tuple(slice(low - first, high - first) for first, low, high in bounds)
        box[(slice(None), *there)] = volume[(slice(None), *(slice(low, high) for _, low, high in bounds))]
        return box


def places_of(masks: torch.Tensor) -> torch.Tensor:
    """Voxels of each structure that a patch can lie around, evenly spread over it.

    Args:
        masks: (structures, Z, Y, X) booleans.

    Returns:
        (n, 4) int32: the number of the structure, and z, y, x.
    """
    found = []
    for number, mask in enumerate(masks):
        voxels = mask.nonzero()
        if len(voxels) > MOST_PLACES:
            voxels = voxels[torch.arange(MOST_PLACES) * len(voxels) // MOST_PLACES]
        found.append(torch.cat([torch.full((len(voxels), 1), number), voxels], dim=1))
    return torch.cat(found).int()


def draw_window(
    random: np.random.Generator, shape: Sequence[int], patch: Grid, places: torch.Tensor, around: float
) -> Window:
    """A patch anywhere in the case, or around a voxel of a structure.

    Each structure that the case holds is as likely as any other, however small. A patch lies in the case as far as
    it can; along an axis that it is longer than, it has the case in its middle.

    Args:
        random: all is drawn from it.
        shape: (Z, Y, X) voxels of the case.
        patch: (Z, Y, X) voxels.
        places: of `places_of`.
        around: the share of patches around a structure.
    """
    chance, anywhere = random.random(), random.random(3)
    structure, place = random.random(2)
    if chance >= around or not len(places):
        starts = [int(share * (n - size + 1)) for share, n, size in zip(anywhere, shape, patch, strict=True)]
    else:
        numbers = places[:, 0].unique()
        voxels = places[places[:, 0] == numbers[int(structure * len(numbers))], 1:]
        chosen = voxels[int(place * len(voxels))].tolist()
        starts = [at - size // 2 for at, size in zip(chosen, patch, strict=True)]
    starts = [
        min(max(start, 0), n - size) if n >= size else -((size - n) // 2)
        for start, n, size in zip(starts, shape, patch, strict=True)
    ]
    return Window(tuple(starts), patch)
