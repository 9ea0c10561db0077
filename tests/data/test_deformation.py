import numpy as np
import pytest
import torch
import torchio

from spineloss.data.deformation import (
    CONTROL_POINTS,
    Affine,
    deformed,
    draw_affine,
    draw_elastic,
    draw_rotation,
    draw_scaling,
)
from spineloss.seeding import generator

SPACING = (4.0, 1.0, 0.9)


@pytest.fixture
def pair():
    mask = torch.zeros(2, 16, 48, 48, dtype=torch.uint8)
    mask[0, 4:12, 12:36, 16:32] = 1
    return mask[:1].float() * 3 - 1, mask


def by_torchio(transform: torchio.Transform, image: torch.Tensor, mask: torch.Tensor):
    """TorchIO's axes are (C, X, Y, Z)."""
    geometry = np.diag([*SPACING[::-1], 1.0])
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=image.permute(0, 3, 2, 1), affine=geometry),
        mask=torchio.LabelMap(tensor=mask.permute(0, 3, 2, 1), affine=geometry),
    )
    moved = transform(subject)
    return moved.image.data.permute(0, 3, 2, 1), moved.mask.data.permute(0, 3, 2, 1).to(mask.dtype)


@pytest.mark.parametrize("number", range(4))
def test_an_affine_is_torchios_to_the_last_digit(number):
    affine = draw_affine(generator(number), 1.0)
    image, mask = torch.randn(2, 12, 20, 24), (torch.rand(2, 12, 20, 24) > 0.5).byte()
    extent = np.multiply(image.shape[1:], SPACING)
    reference = torchio.Affine(
        scales=affine.scales[::-1],
        degrees=affine.degrees[::-1],
        translation=tuple(np.multiply(affine.translation, extent))[::-1],
    )
    found, expected = deformed(image, mask, SPACING, [affine]), by_torchio(reference, image, mask)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_an_elastic_deformation_is_torchios():
    shape = (32, 40, 48)
    ramps = torch.stack(
        torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    ).float()  # where a value came from
    mask = (torch.rand(1, *shape) > 0.5).byte()
    elastic = draw_elastic(generator(1), 1.0)
    # TorchIO counts control points from the other end along x and y, and from an eighth of a voxel further out.
    points = elastic[::-1, ::-1] * np.multiply(shape, SPACING)[::-1]
    reference = torchio.ElasticDeformation(points, np.abs(points).max(axis=(0, 1, 2)))
    found, expected = deformed(ramps, mask, SPACING, elastic=elastic), by_torchio(reference, ramps, mask)
    inside = (slice(None), slice(4, -4), slice(4, -4), slice(4, -4))  # whatever comes from beyond the borders
    assert (expected[0] - ramps)[inside].abs().amax(dim=(1, 2, 3)).min() > 0.5  # voxels
    assert torch.allclose(found[0][inside], expected[0][inside], atol=0.05)
    assert (found[1] != expected[1]).float().mean() < 0.02 < (found[1] != mask).float().mean()


def test_the_borders_of_an_elastic_deformation_stay():
    elastic = draw_elastic(generator(1), 1.0)
    assert elastic.shape == (CONTROL_POINTS,) * 3 + (3,)
    inner = elastic[2:-2, 2:-2, 2:-2]
    assert np.abs(elastic).sum() == np.abs(inner).sum() > 0


def test_nothing_drawn_changes_nothing(pair):
    image, mask = deformed(*pair, SPACING)
    assert image is pair[0] and mask is pair[1]


def test_image_and_mask_move_together(pair):
    image, mask = deformed(*pair, SPACING, [draw_affine(generator(1), 1.0)], draw_elastic(generator(1), 1.0))
    assert mask.dtype == torch.uint8 and set(mask.unique().tolist()) == {0, 1}
    assert not torch.equal(mask, pair[1])
    assert ((image[0] > 0.5) == mask[0].bool()).float().mean() > 0.98
    assert not mask[1].any()


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_numbers_of_classes_stay_numbers_of_classes(pair, kind):
    classes = pair[1][:1].to(kind) * 5
    classes[:, :, :20] = 2
    _, moved = deformed(
        pair[0], classes, SPACING, [draw_affine(generator(1), 1.0)], draw_elastic(generator(1), 1.0)
    )
    assert moved.dtype == kind and set(moved.unique().tolist()) == {0, 2, 5}


def test_a_translation_goes_along_its_own_axis(pair):
    _, mask = deformed(*pair, SPACING, [Affine(translation=(0, 0.125, 0))])  # 6 of 48 rows
    moved = mask[0].nonzero().float().mean(0) - pair[1][0].nonzero().float().mean(0)
    assert moved[1].abs() == pytest.approx(6, abs=0.1)
    assert moved[[0, 2]].abs().max() < 0.1


def test_a_scaling_goes_along_its_own_axis(pair):
    _, mask = deformed(*pair, SPACING, [Affine(scales=(0.5, 1, 1))])
    extent = np.ptp(mask[0].nonzero().numpy(), axis=0) + 1
    assert extent.tolist() == [4, 24, 16]


def test_an_affine_turns_then_shifts_then_scales():
    """A place 3 columns from the middle is turned to 3 rows from it, shifted by 2 and taken twice as far."""
    image = torch.zeros(1, 9, 33, 33)
    image[0, 4, 16, 19] = 1
    turned = Affine(scales=(1, 2, 1), degrees=(90, 0, 0), translation=(0, 2 / 33, 0))
    moved, _ = deformed(image, image, (1, 1, 1), [turned])
    row = (moved[0, 4].sum(1) * torch.arange(33)).sum() / moved[0, 4].sum() - 16
    assert row.item() == pytest.approx(10, abs=0.1)


def test_affines_are_applied_in_turn(pair):
    # Half the size and then 12 rows on: the shift is not halved.
    _, mask = deformed(*pair, SPACING, [Affine(scales=(0.5, 0.5, 0.5)), Affine(translation=(0, 0.25, 0))])
    moved = mask[0].nonzero().float().mean(0) - pair[1][0].nonzero().float().mean(0)
    assert moved[1].abs() == pytest.approx(12, abs=0.5)


def test_a_stack_of_slices_turns_and_scales_within_them():
    assert draw_rotation(generator(1), 1.0, (16, 64, 64)).degrees[1:] == (0, 0)
    assert all(draw_rotation(generator(1), 1.0, (32, 64, 64)).degrees)
    assert draw_scaling(generator(1), 1.0, (16, 64, 64)).scales[0] == 1
    assert len(set(draw_scaling(generator(1), 1.0, (32, 64, 64)).scales)) == 1


@pytest.mark.parametrize(
    "draw",
    [
        draw_affine,
        draw_elastic,
        lambda random, probability: draw_rotation(random, probability, (16, 64, 64)),
        lambda random, probability: draw_scaling(random, probability, (16, 64, 64)),
    ],
)
def test_probabilities_are_kept(draw):
    drawn = sum(draw(generator(case), 0.3) is not None for case in range(1000))
    assert 250 < drawn < 350
