"""Losses over the components of the target, by the formula: each component's voxels cut out and scored alone."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from losses.reference import REFERENCE, sigmoid, softmax
from spineloss.errors import UserError
from spineloss.kernels.target_maps import target_map
from spineloss.losses import LOSSES
from spineloss.text import loss

SPACING = (3.0, 0.7, 1.1)
PARTS = ("component", "blob")


def labels():
    """(2, *spatial) of three classes: of each sample two parts of class 1, one of class 2 or none."""
    found = np.zeros((2, 4, 6, 9), int)
    found[:, 0:2, 1:3, 0:2] = 1
    found[:, 2:4, 3:6, 6:9] = 1
    found[0, 0, 4:, 0:3] = 2
    return found


def parts_of(truth, part):
    """The voxels of each component of (*spatial) booleans."""
    numbers, count = ndimage.label(truth, np.ones((3, 3, 3)))
    if not count:
        return [np.ones(truth.shape, bool)]
    if part == "blob":
        return [(numbers == k) | ~truth for k in range(1, count + 1)]
    distances = np.stack([ndimage.distance_transform_edt(numbers != k, SPACING) for k in range(1, count + 1)])
    near = np.sort(distances, 0)
    assert count == 1 or (near[1] - near[0] > 1e-6).all()  # no tie, which either may have
    return [distances.argmin(0) == k for k in range(count)]


def expected(name, p, y, part, exclusive):
    surprise = -np.log((p * y).sum(1)) if exclusive else -np.log(np.where(y == 1, p, 1 - p))
    by_class = []
    for n, c in np.ndindex(y.shape[:2]):
        wrong = surprise[n] if exclusive else surprise[n, c]
        values = []
        for kept in parts_of(y[n, c] == 1, part):
            if name == "cross_entropy":
                values.append(wrong[kept].mean())
            elif name == "focal":
                values.append(np.mean(0.25 * (1 - np.exp(-wrong[kept])) ** 1.45 * wrong[kept]))
            else:
                values.append(REFERENCE[name](p[n, c][kept][None, None], y[n, c][kept][None, None]))
        by_class.append(np.mean(values))
    return np.mean(by_class)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["dice", "tversky", "tversky_focal", "squared_dice", "cross_entropy", "focal"])
def test_equals_the_formula(name, part, activation):
    truth = torch.nn.functional.one_hot(torch.from_numpy(labels())).movedim(-1, 1)
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, truth.shape))
    p = (softmax if activation == "softmax" else sigmoid)(logits.numpy())
    wanted = expected(name, p, truth.numpy(), part, activation == "softmax")
    module = loss(f"{name}(over={part})", activation=activation)
    assert module(logits, truth.double(), spacing=SPACING).item() == pytest.approx(wanted, rel=1e-4)
    maps = {"components": target_map("components", truth, SPACING)}
    given = module(logits, truth.double(), target_maps=maps)
    assert given.item() == pytest.approx(wanted, rel=1e-4)
    assert module.per_sample(logits, truth, spacing=SPACING).mean().item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
def test_of_one_component_it_is_the_loss_itself(name, part):
    target = torch.zeros(1, 1, 6, 7, 8)
    target[..., 2:4, 3:5, 3:6] = 1
    logits = torch.randn(target.shape)
    torch.testing.assert_close(loss(f"{name}(over={part})")(logits, target), loss(name)(logits, target))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", [name for name, each in LOSSES.items() if "over" in each.__dataclass_fields__])
def test_of_one_component_every_loss_is_itself_or_says_no(name, part, activation):
    numbers = torch.zeros(2, 6, 7, 8, dtype=torch.long)
    numbers[:, 1:4, 2:5, 2:6], numbers[:, 5, 5:, 1:3] = 1, 2
    logits = torch.randn(2, 3, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    whole = loss(name, activation=activation)
    try:
        found = loss(f"{name}(over={part})", activation=activation)(logits, numbers)
    except UserError:
        assert name in ("generalised_dice", "boundary_dou", "asymmetric_focal", "top_k", "lovasz", "lovasz_hinge")
    else:
        torch.testing.assert_close(found, whole(logits, numbers))


def test_a_small_component_weighs_as_much_as_a_large_one():
    target = torch.zeros(1, 1, 1, 20, 40)
    target[..., 2:18, 2:18] = 1
    target[..., 10, 35] = 1
    found = 24 * target - 12
    found[..., 10, 35] = -12.0  # the small one is missed
    assert loss("dice")(found, target).item() == pytest.approx(1 / 513, rel=0.01)
    for part in PARTS:
        assert loss(f"dice(over={part})")(found, target).item() == pytest.approx(1 / 2, rel=0.01)


def test_false_positives_are_of_the_nearest_component_or_of_each_blob():
    target = torch.zeros(1, 1, 1, 1, 12)
    target[..., [0, 11]] = 1
    found = 24 * target - 12
    found[..., 2:4] = 12.0  # two voxels too many, near the first
    assert loss("dice(over=component)")(found, target).item() == pytest.approx((2 / 4 + 0) / 2, abs=1e-3)
    assert loss("dice(over=blob)")(found, target).item() == pytest.approx((2 / 4 + 2 / 4) / 2, abs=1e-3)
