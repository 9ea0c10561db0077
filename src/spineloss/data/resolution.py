"""What cases are resampled to: one grid for all, one spacing for all, or nothing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from spineloss.data.guards import memory
from spineloss.data.preprocessing import Grid
from spineloss.errors import UserError

Spacing = tuple[float, float, float]
VOXEL = 4  # bytes of one, as a float


@dataclass(frozen=True)
class Resolution:
    """The grid (Z, Y, X) of every case, or its spacing (z, y, x) in mm; with neither, it keeps its own voxels."""

    grid: Grid | None = None
    spacing: Spacing | None = None

    def grid_of(self, shape: Grid, spacing: Spacing) -> Grid:
        """The grid that a case of a shape and spacing is brought to: the same field of view in other voxels.

        Raises:
            UserError: it is larger than this machine's memory, as where a spacing is in metres.

        >>> Resolution(spacing=(4.0, 1.0, 1.0)).grid_of((10, 200, 200), (8.0, 0.5, 0.5))
        (20, 100, 100)
        """
        grid = self._grid_of(shape, spacing)
        if math.prod(grid) * VOXEL > memory():
            raise UserError(
                f"A grid of {list(grid)} voxels is larger than this machine's memory: make `grid` smaller, or "
                "`spacing`, which is in mm, larger."
            )
        return grid

    def _grid_of(self, shape: Grid, spacing: Spacing) -> Grid:
        if self.grid is not None:
            return self.grid
        if self.spacing is None:
            return shape
        return tuple(
            max(1, round(size * step / wanted))
            for size, step, wanted in zip(shape, spacing, self.spacing, strict=True)
        )


def resolve(
    grid: Grid | None, spacing: Literal["median", "native"] | Spacing | None, spacings: Sequence[Spacing]
) -> Resolution:
    """What a grid or a spacing of a study file means for cases of some spacings.

    >>> resolve(None, "median", [(4.0, 1.0, 1.0), (5.0, 1.0, 1.0), (8.0, 0.5, 0.5)])
    Resolution(grid=None, spacing=(5.0, 1.0, 1.0))
    """
    if spacing == "native":
        return Resolution()
    return Resolution(grid, median_spacing(spacings) if spacing == "median" else spacing)


def median_spacing(spacings: Iterable[Spacing]) -> Spacing:
    """The median of each axis.

    >>> median_spacing([(4.0, 1.0, 1.0), (5.0, 1.0, 1.0), (8.0, 0.5, 0.5)])
    (5.0, 1.0, 1.0)
    """
    return tuple(median(axis) for axis in zip(*spacings, strict=True))


def are_alike(spacings: Iterable[Spacing]) -> bool:
    """Whether the spacings differ by 1 % at most."""
    return all(math.isclose(min(axis), max(axis), rel_tol=0.01) for axis in zip(*spacings, strict=True))
