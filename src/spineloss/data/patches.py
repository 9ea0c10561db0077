"""Patches of cases: where one lies is drawn by its key, a share of them around foreground; what is outside is 0."""

from collections.abc import Sequence

import numpy as np
import torch

from spineloss.data.preprocessing import Grid

AROUND_FOREGROUND = 1 / 3  # share of the patches, as in nnU-Net
MOST_PLACES = 10_000  # remembered of each structure


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


def draw_start(random: np.random.Generator, shape: Sequence[int], patch: Grid, places: torch.Tensor) -> Grid:
    """The first voxel of a patch: anywhere in the case, or around a voxel of a structure.

    Each structure that the case holds is as likely as any other, however small. A patch lies in the case as far as
    it can; along an axis that it is longer than, it has the case in its middle.

    Args:
        random: all is drawn from it.
        shape: (Z, Y, X) voxels of the case.
        patch: (Z, Y, X) voxels.
        places: of `places_of`.

    Returns:
        (z, y, x), negative where the patch begins before the case.
    """
    around, anywhere = random.random(), random.random(3)
    structure, place = random.random(2)
    if around >= AROUND_FOREGROUND or not len(places):
        starts = [int(share * (n - size + 1)) for share, n, size in zip(anywhere, shape, patch, strict=True)]
    else:
        numbers = places[:, 0].unique()
        voxels = places[places[:, 0] == numbers[int(structure * len(numbers))], 1:]
        chosen = voxels[int(place * len(voxels))].tolist()
        starts = [at - size // 2 for at, size in zip(chosen, patch, strict=True)]
    return tuple(
        min(max(start, 0), n - size) if n >= size else -((size - n) // 2)
        for start, n, size in zip(starts, shape, patch, strict=True)
    )


def cut(volume: torch.Tensor, start: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """A copy of the box of `size` voxels from `start` of a (C, Z, Y, X) volume, 0 where it leaves the volume."""
    box = volume.new_zeros(len(volume), *size)
    bounds = [
        (first, max(first, 0), min(first + count, n))
        for first, count, n in zip(start, size, volume.shape[1:], strict=True)
    ]
    there = tuple(slice(low - first, high - first) for first, low, high in bounds)
    box[(slice(None), *there)] = volume[(slice(None), *(slice(low, high) for _, low, high in bounds))]
    return box
