import numpy as np
import pytest
import torch
from scipy import ndimage

from spineloss.distance import distance_map, signed_distance_map, signed_distance_maps

RANDOM = np.random.default_rng(0)
MASKS = {
    "random": RANDOM.random((9, 14, 11)) < 0.3,
    "sparse": RANDOM.random((9, 14, 11)) < 0.005,
    "single voxel": np.pad(np.ones((1, 1, 1), bool), ((4, 4), (7, 6), (5, 5))),
    "touching the border": np.pad(np.ones((5, 14, 4), bool), ((0, 4), (0, 0), (7, 0))),
    "2D": RANDOM.random((14, 11)) < 0.2,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 0.9, 0.9), (0.7, 3.0, 1.3)])
def test_exact_as_scipy(mask, spacing):
    spacing = spacing[: mask.ndim]
    outside = ndimage.distance_transform_edt(~mask, spacing)
    inside = ndimage.distance_transform_edt(mask, spacing)
    np.testing.assert_allclose(distance_map(mask, spacing), outside, rtol=1e-5)
    np.testing.assert_allclose(signed_distance_map(mask, spacing), outside - inside, rtol=1e-5)


@pytest.mark.parametrize("value", [False, True])
def test_no_boundary_is_zero(value):
    assert not signed_distance_map(np.full((4, 5, 6), value)).any()
    assert not distance_map(np.full((4, 5, 6), value)).any()


def test_each_sample_and_channel_apart_with_its_own_spacing():
    masks = torch.from_numpy(RANDOM.random((2, 2, 5, 8, 7)) < 0.2)
    spacing = torch.tensor([[1.0, 1.0, 1.0], [4.0, 0.9, 0.9]])
    maps = signed_distance_maps(masks, spacing)
    for sample in range(2):
        for channel in range(2):
            alone = signed_distance_map(masks[sample, channel].numpy(), spacing[sample].tolist())
            np.testing.assert_array_equal(maps[sample, channel].numpy(), alone)
