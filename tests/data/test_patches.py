"""Where patches lie, and what is in them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from spineloss.data.augmentation import Augment, augmented
from spineloss.data.patches import AROUND_FOREGROUND, Window, draw_window, places_of
from spineloss.data.preprocessing import Grid
from spineloss.seeding import generator

SHAPE = (20, 60, 70)
PATCH: Grid = (16, 24, 32)


def draw_start(random, shape, patch, places, around=AROUND_FOREGROUND):
    window = draw_window(random, shape, patch, places, around)
    assert window.size == patch
    return window.start


@pytest.fixture(scope="module")
def masks():
    """A single voxel, nothing, and a quarter of the volume."""
    masks = torch.zeros(3, *SHAPE, dtype=torch.bool)
    masks[0, 10, 50, 10] = True
    masks[2, :, :30, 35:] = True
    return masks


def test_places_are_voxels_of_their_structure_spread_over_it(masks):
    places = places_of(masks).long()
    numbers, counts = places[:, 0].unique(return_counts=True)
    assert (numbers.tolist(), counts.tolist()) == ([0, 2], [1, 10_000])
    assert all(masks[tuple(place)] for place in places[::100])
    middle = places[1:, 1:].double().mean(0)
    assert np.allclose(middle, center_of_mass(masks[2].numpy()), atol=0.5)


def test_starts_depend_on_their_key_alone(masks):
    places = places_of(masks)
    first, again, other = (draw_start(generator(21, 0, e, "a"), SHAPE, PATCH, places) for e in (1, 1, 2))
    assert first == again != other


def test_a_share_of_the_patches_lies_around_structures_each_alike(masks):
    places = places_of(masks)
    starts = [draw_start(generator(number), SHAPE, PATCH, places) for number in range(3000)]
    for start in starts:
        assert all(0 <= at <= n - size for at, n, size in zip(start, SHAPE, PATCH, strict=True))
    # The single voxel at its middle, as far as the patch may go.
    share = sum(start == (2, 36, 0) for start in starts) / len(starts)
    assert share == pytest.approx(AROUND_FOREGROUND / 2, abs=0.02)


def test_without_foreground_every_place_is_as_likely():
    starts = np.array([draw_start(generator(n), SHAPE, PATCH, torch.zeros(0, 4).int()) for n in range(4000)])
    for axis, (n, size) in enumerate(zip(SHAPE, PATCH, strict=True)):
        values, counts = np.unique(starts[:, axis], return_counts=True)
        assert values.tolist() == list(range(n - size + 1))
        assert counts.min() > 0.6 * counts.mean()


def test_a_longer_patch_has_the_case_in_its_middle(masks):
    assert draw_start(generator(1), SHAPE, (24, 60, 80), places_of(masks)) == (-2, 0, -5)


def test_a_cut_is_the_box_and_zero_around():
    volume = torch.arange(1, 1 + 4 * 5 * 6).view(1, 4, 5, 6)
    padded = torch.nn.functional.pad(volume, (3, 3, 3, 3, 3, 3))
    for start in [(0, 0, 0), (-2, 1, 3), (1, -3, 2), (2, 2, -1)]:
        wanted = padded[:, start[0] + 3 :, start[1] + 3 :, start[2] + 3 :][:, :4, :5, :4]
        assert torch.equal(Window(start, (4, 5, 4)).cut(volume), wanted)
    box = Window((0, 0, 0), (4, 5, 6)).cut(volume)
    box.zero_()
    assert volume.all()


@pytest.mark.parametrize(
    "change", [{"affine": 1.0}, {"rotation": 1.0, "scaling": 1.0}, {"elastic": 1.0, "affine": 1.0}]
)
def test_what_is_moved_into_a_patch_comes_from_the_case(change):
    """A case without a boundary in reach: no voxel of the moved patch is padding, and ramps stay ramps."""
    z, y, x = torch.meshgrid(*(torch.arange(200.0, 200 + n) for n in (80, 160, 160)), indexing="ij")
    image, target = torch.stack([z, y, x]), torch.ones(1, 80, 160, 160, dtype=torch.uint8)
    window = Window((32, 64, 56), (16, 32, 48))
    augment = Augment(**{"affine": 0.0, "noise": 0.0, "mixup": 0.0, "mixup_alpha": 0.2} | change)
    for number in range(5):
        moved, mask = augmented(image, target, (2.0, 1.0, 1.0), augment, (21, number), window)
        assert moved.shape == (3, 16, 32, 48) and mask.shape == (1, 16, 32, 48)
        assert mask.all() and moved.min() > 200
        if "elastic" not in change:
            steps = torch.stack([moved.diff(dim=axis).flatten(1)[:, :100].std(1) for axis in (1, 2, 3)])
            assert steps.max() < 1e-3


def test_a_still_patch_is_the_box_itself():
    image, target = torch.rand(1, 20, 40, 40), (torch.rand(1, 20, 40, 40) > 0.5).byte()
    window = Window((-2, 8, 24), (24, 16, 16))
    found = augmented(image, target, (1.0, 1.0, 1.0), Augment(0, 0, 0, 0.2), (1,), window)
    assert torch.equal(found[0], window.cut(image)) and torch.equal(found[1], window.cut(target))
