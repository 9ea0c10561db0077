"""Skeletons of masks: thinned to curves, layer by layer, without a change of topology."""

from itertools import product

import numpy as np
import torch

TUBE = 2  # voxels that a tube is wider than its skeleton, on each side


def tubed_skeletons(masks: torch.Tensor) -> torch.Tensor:
    """The skeleton of each mask, two voxels thicker on each side, but nowhere outside the mask.

    Args:
        masks: (N, C, *spatial) booleans.

    Returns:
        (N, C, *spatial) booleans, on the masks' device; made on the CPU.

    References:
        Kirchhoff et al., Skeleton recall loss for connectivity conserving and resource efficient segmentation of
        thin tubular structures, ECCV 2024.
    """
    found = [_tube(mask.numpy()) for mask in masks.flatten(0, 1).cpu()]
    return torch.from_numpy(np.stack(found)).view(masks.shape).to(masks.device) if found else masks


def skeleton_of(mask: np.ndarray) -> np.ndarray:
    """A mask thinned to curves that keep its topology: as many parts, tunnels and cavities.

    A voxel goes when it is on the border in the direction whose turn it is, no end of a curve, and simple: without
    it nothing is joined or parted. Those that go at once are no neighbours of one another, so that one's going
    does not change whether another is simple.

    Args:
        mask: (*spatial) booleans, 2D or 3D; parts touch by corners, the background by faces.

    References:
        Lee et al., Building skeleton models via 3-D medial surface/axis thinning algorithms, CVGIP 56, 1994;
        Bertrand and Aktouf, A three-dimensional thinning algorithm using subfields, SPIE 2356, 1995.

    >>> skeleton_of(np.ones((3, 7), bool)).astype(int).tolist()
    [[0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]]
    """
    if mask.ndim > 2 and 1 in mask.shape:  # a volume of one plane is an image
        axis = mask.shape.index(1)
        return np.expand_dims(skeleton_of(mask.squeeze(axis)), axis)
    padded = np.pad(mask, 1)
    inside = padded.ravel()
    neighbourhood = _Neighbourhood(padded)
    subfields = sum(2**axis * (places % 2) for axis, places in enumerate(np.indices(padded.shape))).ravel()
    voxels = np.flatnonzero(inside)
    before = len(voxels) + 1
    while len(voxels) < before:
        before = len(voxels)
        for face in neighbourhood.faces:
            border = voxels[~inside[voxels + face]]
            border = border[~neighbourhood.is_end(inside, border) & neighbourhood.is_simple(inside, border)]
            for subfield in range(2**mask.ndim):
                turn = border[subfields[border] == subfield]
                inside[turn[neighbourhood.is_simple(inside, turn)]] = False
            voxels = voxels[inside[voxels]]
    return padded[(slice(1, -1),) * mask.ndim]


class _Neighbourhood:
    """The neighbours of a voxel, as steps in memory, and which of them are neighbours of one another."""

    def __init__(self, volume: np.ndarray) -> None:
        moves = np.array([move for move in product((-1, 0, 1), repeat=volume.ndim) if any(move)])
        self.steps = moves @ (np.array(volume.strides) // volume.itemsize)
        lengths = np.abs(moves).sum(1)
        self.face = lengths == 1
        self.near = lengths <= 2  # where the background is looked for
        apart = np.abs(moves[:, None] - moves)
        self.touching = (apart.max(2) <= 1).astype(np.float32)
        self.by_face = ((apart.sum(2) <= 1) & self.near & self.near[:, None]).astype(np.float32)

    @property
    def faces(self) -> np.ndarray:
        """Steps to the neighbours across a face, two of each axis."""
        return self.steps[self.face]

    def is_end(self, inside: np.ndarray, voxels: np.ndarray) -> np.ndarray:
        """Which voxels have one neighbour inside or none: ends of a curve."""
        return inside[voxels[:, None] + self.steps].sum(1) <= 1

    def is_simple(self, inside: np.ndarray, voxels: np.ndarray) -> np.ndarray:
        """Which voxels join nothing and part nothing: one part of the mask touches them, one of the background."""
        around = inside[voxels[:, None] + self.steps]
        simple = _is_one(around, around, self.touching)
        outside = ~around[simple] & self.near
        simple[simple] = _is_one(outside, outside & self.face, self.by_face)
        return simple


def _is_one(present: np.ndarray, wanted: np.ndarray, adjacent: np.ndarray) -> np.ndarray:
    """Whether the wanted neighbours of each row, at least one, are joined by neighbours that are present."""
    reached = np.zeros(present.shape, bool)
    rows = np.arange(len(present))
    if not len(rows):
        return np.zeros(0, bool)
    reached[rows, wanted.argmax(1)] = wanted.any(1)
    while True:
        further = present & (reached.astype(np.float32) @ adjacent > 0)
        if (further == reached).all():
            return wanted.any(1) & ~(wanted & ~reached).any(1)
        reached = further


def _tube(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        return mask.copy()
    box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(mask))
    tube = np.pad(skeleton_of(mask[box]), 1)
    for _ in range(TUBE):
        wider = tube.copy()
        for axis in range(tube.ndim):
            for shift in (-1, 1):
                # What is carried over an edge lands in the padding's other side, and there is no voxel there.
                wider |= np.roll(tube, shift, axis)
        tube = wider
    found = np.zeros_like(mask)
    found[box] = tube[(slice(1, -1),) * mask.ndim] & mask[box]
    return found
