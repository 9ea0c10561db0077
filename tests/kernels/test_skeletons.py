from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage

from spineloss.kernels.skeletons import skeleton_of, tubed_skeletons
from spineloss.kernels.target_maps import target_map


def blobs(seed, shape):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5) > 0.03


def parts(mask):
    """How many parts, touching by corners."""
    return ndimage.label(mask, np.ones((3,) * mask.ndim))[1]


def holes(mask):
    """How many parts of the background, touching by faces."""
    return ndimage.label(~np.pad(mask, 1))[1]


def euler(mask):
    """Vertices minus edges plus faces minus cubes of the voxels taken as closed cubes."""
    total = 0
    for cell in product((0, 1), repeat=mask.ndim):
        cells = np.pad(mask, 1)
        for axis in (axis for axis, full in enumerate(cell) if not full):
            cells = np.delete(cells, 0, axis) | np.delete(cells, -1, axis)
        total += (-1) ** sum(cell) * cells.sum()
    return total


def simple(mask, place):
    """Whether the topology stays without one voxel."""
    without = mask.copy()
    without[place] = False
    return (parts(mask), holes(mask), euler(mask)) == (parts(without), holes(without), euler(without))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(30, 40), (8, 20, 18), (1, 20, 18)])
def test_the_topology_stays(seed, shape):
    mask = blobs(seed, shape)
    skeleton = skeleton_of(mask)
    assert not (skeleton & ~mask).any() and skeleton.sum() < mask.sum() / 3
    assert (parts(skeleton), holes(skeleton), euler(skeleton)) == (parts(mask), holes(mask), euler(mask))


@pytest.mark.parametrize("shape", [(20, 24), (6, 12, 11)])
def test_what_is_left_is_a_curve(shape):
    """No voxel but an end, or one with a single neighbour, could go."""
    skeleton = skeleton_of(blobs(5, shape))
    neighbours = ndimage.convolve(skeleton.astype(int), np.ones((3,) * len(shape)), mode="constant") - 1
    for place in zip(*np.nonzero(skeleton & (neighbours > 1)), strict=True):
        assert not simple(skeleton, place)


def test_a_thick_bar_becomes_its_axis():
    bar = np.zeros((9, 9, 40), bool)
    bar[2:7, 2:7, 2:38] = True
    skeleton = skeleton_of(bar)
    assert skeleton[4, 4, 6:34].all() and skeleton.sum() <= 36
    ring = np.hypot(*(np.indices((30, 30)) - 14.5)) // 1
    around = skeleton_of((ring > 7) & (ring < 13))
    assert holes(around) == 2 and parts(around) == 1


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything(value):
    mask = np.full((5, 6, 7), value)
    assert parts(skeleton_of(mask)) == value
    assert tubed_skeletons(torch.from_numpy(mask)[None, None]).any() == value


def test_a_tube_is_two_voxels_thicker_and_inside():
    bar = np.zeros((1, 15, 40), bool)
    bar[:, 2:13, 2:38] = True
    skeleton = skeleton_of(bar)
    expected = ndimage.binary_dilation(skeleton, iterations=2) & bar
    np.testing.assert_array_equal(tubed_skeletons(torch.from_numpy(bar)[None, None])[0, 0], expected)


def test_the_background_of_exclusive_classes_has_none():
    masks = torch.ones(1, 2, 3, 9, 9)
    found = target_map("skeleton", masks, exclusive=True)
    assert not found[:, 0].any() and found[:, 1].any()
