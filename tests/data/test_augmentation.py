from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from spineloss.data import augmentation, deformation, intensity
from spineloss.data.augmentation import Augment, augmented
from spineloss.seeding import generator

SPACING = (4.0, 1.0, 1.0)
KEY = (21, 0, 3, "case")
OFF = Augment(affine=0.0, noise=0.0, mixup=0.0, mixup_alpha=0.2)
OPTIONS = [each.name for each in fields(Augment) if each.default == 0.0]


@pytest.fixture
def pair():
    mask = torch.zeros(2, 16, 48, 48, dtype=torch.uint8)
    mask[0, 3:12, 10:36, 20:32] = 1
    image = torch.randn(2, 16, 48, 48, generator=torch.Generator().manual_seed(1)) + 3 * mask[:1]
    return image, mask


def test_nothing_drawn_changes_nothing(pair):
    image, mask = augmented(*pair, SPACING, OFF, KEY)
    assert image is pair[0] and mask is pair[1]


def test_the_first_two_share_a_stream_as_in_the_first_studies(pair):
    random = generator(*KEY)
    affine = deformation.draw_affine(random, 1.0)
    noise = intensity.draw_noise(random, 1.0)
    moved, mask = deformation.deformed(*pair, SPACING, [affine])
    found = augmented(*pair, SPACING, replace(OFF, affine=1.0, noise=1.0), KEY)
    assert np.array_equal(found[0], intensity.noisy(moved.numpy(), noise)) and torch.equal(found[1], mask)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_changes_the_image_and_the_same_key_changes_it_alike(pair, name):
    before = [each.clone() for each in pair]
    only = replace(OFF, **{name: 1.0})
    image, mask = augmented(*pair, SPACING, only, KEY)
    again, _ = augmented(*pair, SPACING, only, KEY)
    assert not torch.equal(image, pair[0]) and torch.equal(image, again)
    assert torch.equal(mask, pair[1]) == (name in intensity.CHANGES)
    assert all(torch.equal(now, then) for now, then in zip(pair, before, strict=True))
    assert image.shape == pair[0].shape and image.is_contiguous() and image.dtype == torch.float32


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_is_not_drawn_leaves_the_others_as_they_are(pair, name):
    base = replace(OFF, affine=1.0, noise=1.0, mirror=0.5, gamma=1.0)
    rare = replace(base, **{name: max(getattr(base, name), 1e-12)})
    assert torch.equal(augmented(*pair, SPACING, rare, KEY)[0], augmented(*pair, SPACING, base, KEY)[0])


def test_mirroring_flips_image_and_mask_along_each_axis(pair):
    image, mask = augmented(*pair, SPACING, replace(OFF, mirror=1.0), KEY)
    assert torch.equal(image, pair[0].flip(1, 2, 3)) and torch.equal(mask, pair[1].flip(1, 2, 3))


def test_each_channel_draws_for_itself(pair):
    factors = set()
    for number in range(20):
        image, _ = augmented(*pair, SPACING, replace(OFF, brightness=0.5), (*KEY, number))
        factors.add(
            tuple(round((after / before).mean().item(), 4) for after, before in zip(image, pair[0], strict=True))
        )
    assert any(a == 1 != b for a, b in factors) and any(a != 1 != b != a for a, b in factors)


def test_mixup_is_a_permutation_and_a_share():
    mixup = augmentation.draw_mixup(generator(1), 1.0, 0.2, 4)
    assert sorted(mixup.partner) == [0, 1, 2, 3]
    assert 0 <= mixup.share <= 1
    assert augmentation.draw_mixup(generator(1), 0.0, 0.2, 4) is None
