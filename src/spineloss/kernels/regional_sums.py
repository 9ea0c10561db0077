"""Sums over parts of a volume, such as the regions of a target's components, by plain operations."""

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
    foreground = volumes[ALWAYS.index("true")] > 0.5
    places = Places(2 * regions.int() - 2 + foreground, 2 * int(regions.max()))
    found = {}
    for name, volume in zip([*ALWAYS, *columns], volumes, strict=True):
        if every_class and name != "counted":
            volume = volume.sum(1, keepdim=True).expand(regions.shape)
        found[name] = places.add(volume).unflatten(2, (-1, 2))
    return Sums(*(found[name] for name in ALWAYS), {column: found[column] for column in columns})


class Places:
    """Which of some sums of its sample and class each voxel adds to.

    Args:
        numbers: (N, C, *spatial) int32 from 0: of the sum.
        count: how many sums there are.
    """

    def __init__(self, numbers: torch.Tensor, count: int) -> None:
        samples, classes, *grid = numbers.shape
        # Blocks of voxels are added apart, then in double precision: a large sum loses what is small.
        blocks = torch.arange(math.prod(grid), dtype=torch.int32, device=numbers.device) // BLOCK
        self._shape = (int(blocks[-1]) + 1, samples, classes, count)
        own = torch.arange(samples * classes, dtype=torch.int32, device=numbers.device) * count
        first = own.view(samples, classes, 1)
        self._places = (numbers.flatten(2) + first).add_(blocks * (samples * classes * count)).flatten()

    def add(self, volume: torch.Tensor) -> torch.Tensor:
        """The sums (N, C, count) of (N, C, *spatial)."""
        zeros = volume.new_zeros(math.prod(self._shape))
        blocks = zeros.index_add(0, self._places, volume.flatten()).view(self._shape)
        return blocks.double().sum(0).to(volume.dtype)
