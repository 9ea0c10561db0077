"""Known answers from outside: MONAI where the definitions agree, the thesis's toy tables, hand arithmetic."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai import losses as monai
from monai.losses.unified_focal_loss import AsymmetricFocalLoss, AsymmetricFocalTverskyLoss

from spineloss.errors import UserError
from spineloss.kernels.order import largest
from spineloss.losses import Dice, DiceCrossEntropy, Focal, Hausdorff, IoU, Tversky
from spineloss.text import loss, parse

SHAPES = Path(__file__).parents[3] / "shared" / "reference" / "shapes.csv"


@pytest.fixture
def pair():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 6, 8, 7, generator=random)
    return logits, (torch.rand(logits.shape, generator=random) < 0.3).float()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Dice(), monai.DiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=0)),
        (IoU(), monai.DiceLoss(sigmoid=True, jaccard=True, smooth_nr=0, smooth_dr=0)),
        (Tversky(0.7, 0.3), monai.TverskyLoss(sigmoid=True, alpha=0.7, beta=0.3, smooth_nr=0, smooth_dr=0)),
        (Dice(over="batch"), monai.DiceLoss(sigmoid=True, batch=True, smooth_nr=0, smooth_dr=0)),
        (DiceCrossEntropy(1, 1), monai.DiceCELoss(sigmoid=True, smooth_nr=0, smooth_dr=0)),
        (Focal(alpha=1, gamma=2), monai.FocalLoss(gamma=2)),
        (parse("matthews"), monai.MCCLoss(sigmoid=True, smooth_nr=0, smooth_dr=0)),
    ],
)
def test_equals_monai(pair, ours, theirs):
    assert ours(*pair).item() == pytest.approx(theirs(*pair).item(), rel=1e-5)


def exclusive_pair():
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 5, 6, 7, generator=random), torch.randint(4, (2, 1, 5, 6, 7), generator=random)


EXCLUSIVE = {"softmax": True, "to_onehot_y": True}
EXACT = {"smooth_nr": 0, "smooth_dr": 0}


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ("dice", partial(monai.DiceLoss, **EXACT)),
        ("dice(over=batch)", partial(monai.DiceLoss, batch=True, **EXACT)),
        ("squared_dice", partial(monai.DiceLoss, squared_pred=True, **EXACT)),
        ("squared_dice(over=batch)", partial(monai.DiceLoss, squared_pred=True, batch=True, **EXACT)),
        ("iou", partial(monai.DiceLoss, jaccard=True, **EXACT)),
        ("tversky(alpha=0.2, beta=0.9)", partial(monai.TverskyLoss, alpha=0.2, beta=0.9, **EXACT)),
        ("dice + cross_entropy", partial(monai.DiceCELoss, **EXACT)),
        ("generalised_dice", partial(monai.GeneralizedDiceLoss, **EXACT)),
        ("generalised_dice(over=batch)", partial(monai.GeneralizedDiceLoss, batch=True, **EXACT)),
        ("generalised_dice(weighting=simple)", partial(monai.GeneralizedDiceLoss, w_type="simple", **EXACT)),
        ("generalised_dice(weighting=uniform)", partial(monai.GeneralizedDiceLoss, w_type="uniform", **EXACT)),
    ],
)
def test_exclusive_classes_equal_monai(text, theirs, background):
    logits, labels = exclusive_pair()
    found = loss(text, activation="softmax", background=background)(logits, labels)
    expected = theirs(include_background=background, **EXCLUSIVE)(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_class_that_is_absent_has_the_largest_weight_of_those_present(activation):
    logits, labels = exclusive_pair()
    labels[0][labels[0] == 2] = 1
    theirs = monai.GeneralizedDiceLoss(to_onehot_y=True, **{activation: True}, **EXACT)
    found = loss("generalised_dice", activation=activation)(logits, labels)
    assert found.item() == pytest.approx(theirs(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("delta", [0.3, 0.7])
def test_unified_focal_equals_monai_but_for_its_mean_over_the_classes(delta):
    # MONAI divides the focal term by the two classes too, though each voxel adds to its label alone.
    logits, labels = exclusive_pair()
    logits, labels = logits[:, :2], labels % 2
    focal, tversky = (
        peer(to_onehot_y=True, delta=delta, gamma=0.5)(logits.softmax(1), labels).item()
        for peer in (AsymmetricFocalLoss, AsymmetricFocalTverskyLoss)
    )
    for activation, given in (("softmax", logits), ("sigmoid", logits[:, 1:] - logits[:, :1])):
        term = loss(f"asymmetric_focal(delta={delta}, gamma=0.5)", activation=activation)
        assert term(given, labels).item() == pytest.approx(2 * focal, rel=1e-5)
        found = loss(f"unified_focal(delta={delta}, weight=0.3)", activation=activation)(given, labels)
        assert found.item() == pytest.approx(0.6 * focal + 0.7 * tversky, rel=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("delta", "gamma"), [(0.6, 0.5), (0.3, 0.2)])
def test_the_symmetric_unified_focal_loss_by_its_formula(activation, delta, gamma):
    logits, labels = exclusive_pair()
    logits, labels = logits[:, :2], labels % 2
    p, y = logits.softmax(1).numpy(), np.concatenate([1 - labels.numpy(), labels.numpy()], axis=1)
    weights = np.array([1 - delta, delta]).reshape(1, 2, 1, 1, 1)
    focal = (weights * y * (1 - p) ** gamma * -np.log(p)).sum(1).mean()
    axes = (2, 3, 4)
    hits, missed, false = (each.sum(axes) for each in (p * y, (1 - p) * y, p * (1 - y)))
    tversky = ((1 - hits / (hits + delta * missed + (1 - delta) * false)) ** (1 - gamma)).mean()
    found = loss(f"unified_focal(delta={delta}, gamma={gamma}, weight=0.3, form=symmetric)", activation=activation)
    given = logits if activation == "softmax" else logits[:, 1:] - logits[:, :1]
    assert found(given, labels).item() == pytest.approx(0.3 * focal + 0.7 * tversky, rel=1e-5)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.5]])
def test_label_smoothing_is_pytorchs(weights):
    logits, labels = exclusive_pair()
    own = None if weights is None else torch.tensor(weights)
    theirs = torch.nn.CrossEntropyLoss(weight=own, label_smoothing=0.2)(logits, labels[:, 0])
    found = loss("smoothed_cross_entropy(smoothing=0.2)", activation="softmax", class_weights=weights)
    assert found(logits, labels).item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 1.5]])
def test_nothing_is_below_the_least_that_label_smoothing_can_be(weights):
    _, labels = exclusive_pair()
    smooth = 0.9 * torch.nn.functional.one_hot(labels[:, 0], 4).movedim(-1, 1) + 0.1 / 4
    best = (smooth * torch.tensor(weights or [1.0] * 4).view(1, -1, 1, 1, 1)).log()  # where the gradient is 0
    module = loss("smoothed_cross_entropy", activation="softmax", class_weights=weights)
    least = module.least(module.inputs(best, labels)).item()
    assert module(best, labels).item() == pytest.approx(least, rel=1e-5)
    module, target = loss("smoothed_cross_entropy"), torch.ones(1, 1, 4)
    best = torch.full_like(target, np.log(19))
    assert module(best, target).item() == pytest.approx(module.least(module.inputs(best, target)).item(), rel=1e-5)


@pytest.mark.parametrize("size", [7, 48])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_top_k_is_the_mean_of_torch_topk(activation, size):
    # As nnU-Net's TopKLoss: of all voxels of the batch, rounded down.
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1 if activation == "sigmoid" else 4, 5, size, size, generator=random).requires_grad_()
    labels = torch.randint(max(2, logits.shape[1]), (2, 1, 5, size, size), generator=random)
    if activation == "softmax":
        costs = torch.nn.functional.cross_entropy(logits, labels[:, 0], reduction="none").flatten()
    else:
        target = labels.float()
        costs = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten()
    expected = costs.topk(int(len(costs) * 10 / 100)).values.mean()
    found = loss("top_k(k=10, over=batch)", activation=activation)(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    slopes = [torch.autograd.grad(value, logits)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("k", range(1, 101))
def test_top_k_takes_as_many_voxels_as_nnunet(k):
    # 29 of 100, where 0.29 * 100 would be 28.999...
    costs = torch.arange(100.0).flip(0)
    assert len(largest(costs, k)) == int(100 * k / 100)


def test_a_calibration_error_of_part_of_a_bin_is_refused():
    with pytest.raises(UserError, match=r"bins=2.7 is no whole number"):
        loss("calibration_error(bins=2.7)")


def test_of_equal_voxels_the_first_are_the_hardest():
    logits = torch.zeros(1, 1, 20, requires_grad=True)
    loss("top_k(k=20)")(logits, torch.ones(1, 1, 20)).backward()
    assert logits.grad.flatten().tolist() == [-0.125] * 4 + [0.0] * 16


def lovasz_reference(errors, truth):
    """The algorithm of Berman et al.'s paper, written down from its page 4."""
    errors, order = torch.sort(errors.flatten(), descending=True)
    sorted_truth = truth.flatten()[order]
    intersection = sorted_truth.sum() - sorted_truth.cumsum(0)
    union = sorted_truth.sum() + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return torch.dot(errors, jaccard)


@pytest.mark.parametrize("size", [6, 48])
@pytest.mark.parametrize("text", ["lovasz", "lovasz(classes=all)", "lovasz(over=batch)"])
def test_lovasz_is_the_papers_algorithm(text, size):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, size, size, generator=random).requires_grad_()
    labels = torch.randint(3, (2, 1, 5, size, size), generator=random)
    labels[0][labels[0] == 1] = 0
    p, y = logits.softmax(1), torch.nn.functional.one_hot(labels[:, 0]).movedim(-1, 1).float()
    if "batch" in text:
        each = [lovasz_reference((y[:, c] - p[:, c]).abs(), y[:, c]) for c in range(3)]
        expected = torch.stack(each).mean()
    else:
        each = [
            [lovasz_reference((v - u).abs(), v) for u, v in zip(*one, strict=True)]
            for one in zip(p, y, strict=True)
        ]
        kept = [[0, 1, 2] if "all" in text else [0, 2], [0, 1, 2]]
        expected = torch.stack(
            [torch.stack(one)[some].mean() for one, some in zip(each, kept, strict=True)]
        ).mean()
    found = loss(text, activation="softmax")(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    slopes = [torch.autograd.grad(value, logits)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-2, atol=1e-5)  # theirs subtracts in single precision


def test_lovasz_hinge_is_the_papers_algorithm(pair):
    logits, target = pair
    margins = torch.relu(1 - logits * (2 * target - 1))
    expected = torch.stack([lovasz_reference(*one) for one in zip(margins, target, strict=True)]).mean()
    assert loss("lovasz_hinge")(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_boundary_dou_counts_the_boundary_as_its_authors_do():
    # A box of 6 by 8 in an image: of its 48 voxels, 24 have fewer than four neighbours in it.
    target = torch.zeros(1, 1, 10, 12)
    target[..., 2:8, 2:10] = 1
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    p, alpha = logits.sigmoid(), 2 * (1 - 24 / 48) - 1
    shared, squares = (p * target).sum(), (p**2).sum() + (target**2).sum()
    expected = (squares - 2 * shared) / (squares - (1 + alpha) * shared)
    assert loss("boundary_dou")(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_generalised_cross_entropy_lies_between_its_ends(pair):
    logits, target = pair
    right = torch.where(target == 1, logits.sigmoid(), 1 - logits.sigmoid())
    found = loss("generalised_cross_entropy(q=0.7)")(logits, target).item()
    assert found == pytest.approx(((1 - right**0.7) / 0.7).mean().item(), rel=1e-5)
    for q, end in ((0.01, "cross_entropy"), (1, "l1")):
        found = loss(f"generalised_cross_entropy(q={q})")(logits, target).item()
        assert found == pytest.approx(loss(end)(logits, target).item(), rel=0.02)


def test_exclusive_focal_equals_monai_but_for_its_mean_over_the_classes():
    # MONAI divides by the number of classes too, though each voxel adds to its label alone.
    logits, labels = exclusive_pair()
    expected = 4 * monai.FocalLoss(gamma=1.5, use_softmax=True, to_onehot_y=True)(logits, labels)
    found = loss("focal(alpha=1, gamma=1.5)", activation="softmax")(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_hausdorff_equals_monai(pair):
    # MONAI divides by nothing else and adds both maps squared; its maps are of one side each, as ours are.
    logits, target = pair
    theirs = monai.HausdorffDTLoss(sigmoid=True, alpha=2.0, include_background=True)(logits, target).item()
    assert Hausdorff()(logits, target).item() == pytest.approx(theirs, rel=1e-4)


def test_dice_by_hand():
    logits = torch.tensor([[[100.0, 100.0, -100.0, -100.0]]])
    target = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    assert Dice()(logits, target).item() == pytest.approx(0.5, abs=1e-5)
    assert IoU()(logits, target).item() == pytest.approx(2 / 3, abs=1e-5)
    assert Tversky(0.7, 0.3)(logits, target).item() == pytest.approx(1 - 1 / (1 + 0.7 + 0.3), abs=1e-5)


def box(top, bottom, left, right):
    image = np.zeros((10, 10))
    image[top:bottom, left:right] = 1
    return image


def lacking(image, *pixels):
    copy = image.copy()
    for pixel in pixels:
        copy[pixel] = 0
    return copy


LARGE, SMALL, FIT = box(1, 9, 2, 7), box(4, 6, 4, 6), box(3, 7, 3, 7)
TOYS = {
    "large_1": (LARGE, lacking(LARGE, (4, 4))),
    "large_2": (LARGE, lacking(LARGE, (4, 4), (5, 4))),
    "small_1": (SMALL, lacking(SMALL, (5, 5))),
    "small_2": (SMALL, lacking(SMALL, (5, 5), (5, 4))),
    "awareness_1": (box(3, 6, 3, 7), box(2, 5, 2, 6)),
    "fitting_1": (FIT, box(4, 6, 4, 6)),
    "fitting_2": (FIT, box(2, 8, 2, 8)),
}


@pytest.mark.parametrize(
    ("row", "spec"),
    [
        ("Dice", "dice"),
        ("Asymmetric", "asymmetric"),
        ("Tversky", "tversky(alpha=0.3, beta=0.7)"),
        ("TverskyFocal", "tversky_focal(alpha=0.7, beta=0.3, gamma=1.3333333333333333)"),
    ],
)
def test_the_seeds_toy_tables(row, spec):
    if not SHAPES.exists():
        pytest.skip(f"the thesis's tables are not at {SHAPES}")
    with SHAPES.open(newline="") as file:
        published = next(line for line in csv.DictReader(file) if line["loss"] == row)
    for toy, (truth, prediction) in TOYS.items():
        logits, target = (torch.from_numpy(image)[None, None] for image in (200 * prediction - 100, truth))
        assert parse(spec)(logits, target).item() == pytest.approx(float(published[toy]), abs=3e-4), toy
