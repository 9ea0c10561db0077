"""Where patches lie, and what is in them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from spineloss.data.patches import AROUND_FOREGROUND, cut, draw_start, places_of
from spineloss.data.preprocessing import Grid
from spineloss.seeding import generator

SHAPE = (20, 60, 70)
PATCH: Grid = (16, 24, 32)


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
        assert torch.equal(cut(volume, start, (4, 5, 4)), wanted)
    box = cut(volume, (0, 0, 0), (4, 5, 6))
    box.zero_()
    assert volume.all()
