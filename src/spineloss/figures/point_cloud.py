"""A mask's surface as points in space, coloured by how far they are from another mask's surface."""

from collections.abc import Sequence

import numpy as np

from spineloss.kernels.distance_transform import distance_map
from spineloss.metrics import border

FAR = 5.0  # mm: from there on the colour stays
# Okabe and Ito's blue, yellow and vermilion, which the colour-blind tell apart.
DISTANCES, COLOURS = (0.0, 0.4 * FAR, FAR), ((86, 180, 233), (240, 228, 66), (213, 94, 0))


def point_cloud(mask: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """A point for each voxel of a mask's surface, blue on the other mask's surface, vermilion `FAR` mm from it.

    Args:
        mask: (Z, Y, X) booleans, whose surface is shown.
        other: (Z, Y, X) booleans, to whose surface distances are taken.
        spacing: (z, y, x) mm.

    Returns:
        (points, 6): x, y, z in mm, then red, green, blue from 0 to 255. No point where a mask is empty: then
        there is no distance. y runs up against the rows, and z against the slices, so that it stands as the
        slices do.

    >>> near, far = np.zeros((2, 1, 9, 1), dtype=bool)
    >>> near[:, 8], far[:, 0] = True, True
    >>> point_cloud(far, near, (1.0, 0.5, 1.0)).tolist()
    [[0.0, 4.0, 0.0, 222.0, 139.0, 22.0]]
    """
    if not other.any():
        return np.empty((0, 6))
    surface = border(mask)[::-1, ::-1]
    places = np.argwhere(surface) * np.asarray(spacing)
    distances = distance_map(border(other), spacing)[::-1, ::-1][surface]
    colours = [np.interp(distances, DISTANCES, channel) for channel in zip(*COLOURS, strict=True)]
    return np.column_stack([places[:, ::-1], np.round(np.stack(colours, axis=1))])
