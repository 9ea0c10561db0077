"""Sums over the regions that the components of a target divide a volume into, by plain operations."""

import math
from collections.abc import Sequence

import torch

from spineloss.kernels.columns import Column
from spineloss.kernels.plain_sums import ALWAYS, Activation, summed_volumes
from spineloss.kernels.voxel_sums import Sums

BLOCK = 1 << 14  # voxels


def regional_sums(
    logits: torch.Tensor,
    target: torch.Tensor,
    regions: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    activation: Activation = "sigmoid",
    ignore: float | None = None,
    columns: Sequence[Column] = (),
    every_class: bool = False,
) -> Sums:
    """What `sums_of` sums, for each region of each sample and class, its background and its foreground apart.

    Args:
        logits: (N, C, *spatial).
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        regions: (N, C, *spatial) integers from 1: which region of its class each voxel is in.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel.
        activation: `sigmoid` or `softmax`.
        ignore: a label that is ignored.
        columns: what else is to be summed.
        every_class: whether a voxel adds what all classes have there, but for `counted`, to each class's region.

    Returns:
        Sums, each (N, C, R, 2): of R regions, absent ones too, the background and the foreground.
    """
    columns = tuple(dict.fromkeys(columns))
    volumes = summed_volumes(logits, target, mask, activation=activation, ignore=ignore, columns=columns)
    place = _Place(regions, volumes[ALWAYS.index("true")] > 0.5)
    found = {}
    for name, volume in zip([*ALWAYS, *columns], volumes, strict=True):
        if every_class and name != "counted":
            volume = volume.sum(1, keepdim=True).expand(regions.shape)
        found[name] = place.add(volume)
    return Sums(*(found[name] for name in ALWAYS), {column: found[column] for column in columns})


class _Place:
    """Where each voxel adds to: its block of memory, sample, class, region and side.

    Blocks are added in double precision: one float32 would lose what it is too large for.
    """

    def __init__(self, regions: torch.Tensor, foreground: torch.Tensor) -> None:
        count = int(regions.max())
        samples, classes, *grid = regions.shape
        places = 2 * regions.flatten(2).int() - 2
        places += foreground.flatten(2)
        blocks = torch.arange(math.prod(grid), dtype=torch.int32, device=places.device) // BLOCK
        self.shape = (int(blocks[-1]) + 1, samples, classes, count, 2)
        places += blocks * (samples * classes * count * 2)
        own = torch.arange(samples * classes, dtype=torch.int32, device=places.device) * (count * 2)
        places += own.view(samples, classes, 1)
        self.places = places.flatten()

    def add(self, volume: torch.Tensor) -> torch.Tensor:
        """(N, C, R, 2) sums of (N, C, *spatial)."""
        zeros = volume.new_zeros(math.prod(self.shape))
        blocks = zeros.index_add(0, self.places, volume.flatten()).view(self.shape)
        return blocks.double().sum(0).to(volume.dtype)
