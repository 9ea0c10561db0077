"""Known answers from outside: MONAI where the definitions agree, the thesis's toy tables, hand arithmetic."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai import losses as monai

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
    ],
)
def test_exclusive_classes_equal_monai(text, theirs, background):
    logits, labels = exclusive_pair()
    found = loss(text, activation="softmax", background=background)(logits, labels)
    expected = theirs(include_background=background, **EXCLUSIVE)(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_exclusive_focal_equals_monai_but_for_its_mean_over_the_classes():
    # MONAI divides by the number of classes too, though each voxel adds to its label alone.
    logits, labels = exclusive_pair()
    expected = 4 * monai.FocalLoss(gamma=1.5, use_softmax=True, to_onehot_y=True)(logits, labels)
    found = loss("focal(alpha=1, gamma=1.5)", activation="softmax")(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_hausdorff_equals_monai(pair):
    # MONAI divides by nothing else and adds both maps squared; its maps are of one side each, as ours are.
    logits, target = pair
    theirs = monai.HausdorffDTLoss(sigmoid=True, alpha=2.0)(logits, target).item()
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
