import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from spineloss.kernels.level_sets import heaviside
from spineloss.kernels.target_maps import target_map

SPACING = (3.0, 0.7, 1.1)


def drawn():
    masks = torch.zeros(2, 2, 6, 8, 7)
    masks[:, :, 1:5, 2:6, 1:5] = 1
    masks[1, :, 2:] = 0
    return masks


def test_each_side_is_divided_by_its_farthest_distance():
    masks = drawn()
    found = target_map("normalised", masks, SPACING)
    for sample, mask in zip(found.flatten(0, 1), masks.flatten(0, 1), strict=True):
        inside, outside = (distance_transform_edt(side, sampling=SPACING) for side in (mask == 1, mask == 0))
        np.testing.assert_allclose(sample, outside / outside.max() - inside / inside.max(), rtol=1e-6)
    assert torch.equal(found < 0, masks == 1) and found.min() == -1 and found.max() == 1


def test_an_empty_mask_is_all_outside_and_a_full_one_all_inside():
    masks = drawn()
    masks[0, 0], masks[0, 1] = 0, 1
    found = target_map("normalised", masks, SPACING)
    assert (found[0, 0] == 1).all() and (found[0, 1] == -1).all()
    assert torch.equal(found[1], target_map("normalised", drawn(), SPACING)[1])


def test_what_does_not_count_is_0_and_neither_the_farthest():
    masks = drawn()[:1]
    counted = torch.ones(1, 1, 6, 8, 7, dtype=torch.bool)
    counted[..., 6:] = False  # the farthest column
    found = target_map("normalised", masks, SPACING, counted)
    assert (found[..., 6:] == 0).all()
    assert torch.equal(found[..., :6], target_map("normalised", masks[..., :6], SPACING))


def test_a_smooth_heaviside_function_by_hand():
    probabilities = torch.tensor([0.0, 0.499, 0.5, 0.501, 1.0])
    expected = [0, 1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-3)), 1]
    np.testing.assert_allclose(heaviside(probabilities), expected, atol=1e-4)
