import numpy as np
import pytest
import torch

from spineloss.data import augmentation
from spineloss.seeding import generator

SPACING = (4.0, 1.0, 1.0)


@pytest.fixture
def pair():
    mask = torch.zeros(2, 16, 48, 48, dtype=torch.uint8)
    mask[0, 4:12, 12:36, 16:32] = 1
    return mask[:1].float() * 3 - 1, mask


def test_nothing_drawn_changes_nothing(pair):
    image, mask = augmentation.apply(*pair, SPACING, None, None)
    assert image is pair[0] and mask is pair[1]


def test_affine_moves_image_and_mask_together(pair):
    affine = augmentation.draw_affine(generator(1), 1.0)
    image, mask = augmentation.apply(*pair, SPACING, affine, None)
    assert mask.dtype == torch.uint8 and set(mask.unique().tolist()) == {0, 1}
    assert not torch.equal(mask, pair[1])
    agree = ((image[0] > 0.5) == mask[0].bool()).float().mean()
    assert agree > 0.98
    assert not mask[1].any()


def test_translation_goes_along_its_own_axis(pair):
    affine = augmentation.Affine((1, 1, 1), (0, 0, 0), (0, 0.125, 0))  # 6 of 48 rows
    _, mask = augmentation.apply(*pair, SPACING, affine, None)
    moved = mask[0].nonzero().float().mean(0) - pair[1][0].nonzero().float().mean(0)
    assert moved[1].abs() == pytest.approx(6, abs=0.1)
    assert moved[[0, 2]].abs().max() < 0.1


def test_scaling_goes_along_its_own_axis(pair):
    affine = augmentation.Affine((0.5, 1, 1), (0, 0, 0), (0, 0, 0))
    _, mask = augmentation.apply(*pair, SPACING, affine, None)
    extent = np.ptp(mask[0].nonzero().numpy(), axis=0) + 1
    assert extent.tolist() == [4, 24, 16]


def test_noise_has_its_standard_deviation_and_spares_the_mask(pair):
    image, mask = augmentation.apply(*pair, SPACING, None, augmentation.Noise(0.2, 3))
    assert (image - pair[0]).std() == pytest.approx(0.2, rel=0.02)
    assert torch.equal(mask, pair[1])


def test_the_same_key_draws_the_same():
    first, again, other = (augmentation.draw_affine(generator(1, case), 1.0) for case in ("a", "a", "b"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("draw", [augmentation.draw_affine, augmentation.draw_noise])
def test_probabilities_are_kept(draw):
    drawn = sum(draw(generator(case), 0.3) is not None for case in range(1000))
    assert 250 < drawn < 350


def test_mixup_is_a_permutation_and_a_share():
    mixup = augmentation.draw_mixup(generator(1), 1.0, 0.2, 4)
    assert sorted(mixup.partner) == [0, 1, 2, 3]
    assert 0 <= mixup.share <= 1
    assert augmentation.draw_mixup(generator(1), 0.0, 0.2, 4) is None
