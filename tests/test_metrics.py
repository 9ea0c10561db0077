import math

import numpy as np
import pytest
from medpy.metric import binary
from scipy import ndimage
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from spineloss.errors import UserError
from spineloss.metrics import METRICS, evaluate
from spineloss.results.records import is_missed

SPACING = (4.0, 0.9, 1.1)


def blobs(seed, shape=(12, 30, 28)):
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=shape), 2)
    other = ndimage.gaussian_filter(random.normal(size=shape), 2)
    return smooth > 0.02, smooth + 0.4 * other > 0.02


@pytest.mark.parametrize("seed", range(3))
def test_overlap_equals_scikit_learn(seed):
    prediction, target = blobs(seed)
    scores = evaluate(prediction, target, SPACING, tolerance=2.0)
    truth, guess = target.ravel(), prediction.ravel()
    assert scores["accuracy"] == pytest.approx(sklearn.accuracy_score(truth, guess))
    assert scores["dice"] == pytest.approx(sklearn.f1_score(truth, guess))
    assert scores["f2"] == pytest.approx(sklearn.fbeta_score(truth, guess, beta=2))
    assert scores["iou"] == pytest.approx(sklearn.jaccard_score(truth, guess))
    assert scores["precision"] == pytest.approx(sklearn.precision_score(truth, guess))
    assert scores["recall"] == pytest.approx(sklearn.recall_score(truth, guess))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spacing", [SPACING, (1.0, 1.0, 1.0)])
def test_distances_equal_medpy(seed, spacing):
    prediction, target = blobs(seed)
    scores = evaluate(prediction, target, spacing, tolerance=2.0)
    assert scores["hausdorff"] == pytest.approx(binary.hd(prediction, target, spacing), rel=1e-5)
    assert scores["hd95"] == pytest.approx(binary.hd95(prediction, target, spacing), rel=1e-5)
    assert scores["assd"] == pytest.approx(binary.assd(prediction, target, spacing), rel=1e-5)


def test_surface_dice_equals_its_definition():
    prediction, target = blobs(1)
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, target)]
    maps = [ndimage.distance_transform_edt(~surface, SPACING) for surface in surfaces]
    near = sum((maps[1 - side][surfaces[side]] <= 1.0).sum() for side in (0, 1))
    expected = near / (surfaces[0].sum() + surfaces[1].sum())
    assert evaluate(prediction, target, SPACING, tolerance=1.0)["surface_dice"] == pytest.approx(expected)


def test_a_shift_by_hand():
    target = np.zeros((8, 8, 8), bool)
    target[2:5, 2:5, 2:5] = True
    scores = evaluate(np.roll(target, 1, axis=0), target, SPACING, tolerance=3.9)
    assert scores["dice"] == pytest.approx(2 / 3)
    assert scores["hausdorff"] == pytest.approx(4.0)


def test_perfect():
    target = blobs(0)[0]
    scores = evaluate(target, target, SPACING, tolerance=2.0, probabilities=target.astype(np.float32))
    assert scores.keys() == METRICS.keys()
    assert scores.pop("components_matched") == ndimage.label(target, np.ones((3, 3, 3)))[1]
    for name, score in scores.items():
        assert score == (1.0 if METRICS[name].higher_is_better else 0.0)


def test_undefined_is_nan_and_never_a_number():
    empty, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    missed = evaluate(empty, full, SPACING, tolerance=2.0)
    assert missed["dice"] == missed["recall"] == missed["surface_dice"] == 0
    assert math.isnan(missed["precision"]) and math.isnan(missed["hausdorff"]) and math.isnan(missed["assd"])
    invented = evaluate(full, empty, SPACING, tolerance=2.0)
    assert invented["dice"] == invented["precision"] == 0 and math.isnan(invented["recall"])
    nothing = evaluate(empty, empty, SPACING, tolerance=2.0)
    assert nothing["accuracy"] == 1
    counted = ("components_matched", "components_missed", "components_added")
    assert [nothing[name] for name in counted] == [0, 0, 0]
    assert all(math.isnan(nothing[name]) for name in METRICS if name not in ("accuracy", *counted))
    assert [missed[name] for name in counted] == [0, 1, 0] and missed["component_dice"] == 0
    assert [invented[name] for name in counted] == [0, 0, 1] and math.isnan(invented["component_dice"])


@pytest.mark.parametrize("seed", range(3))
def test_components_are_scored_in_their_voronoi_regions(seed):
    prediction, target = blobs(seed)
    scores = evaluate(prediction, target, SPACING, tolerance=2.0)
    touching = np.ones((3, 3, 3))
    (of_target, count), (parts, found) = (ndimage.label(mask, touching) for mask in (target, prediction))
    distances = np.stack([ndimage.distance_transform_edt(of_target != k, SPACING) for k in range(1, count + 1)])
    nearest = distances.argmin(0) + 1
    dices = [
        2 * (prediction & (of_target == k)).sum() / ((prediction & (nearest == k)).sum() + (of_target == k).sum())
        for k in range(1, count + 1)
    ]
    assert scores["component_dice"] == pytest.approx(np.mean(dices), abs=0.01)  # but for ties
    matched = sum((prediction & (of_target == k)).any() for k in range(1, count + 1))
    added = sum(not (target & (parts == k)).any() for k in range(1, found + 1))
    assert (scores["components_matched"], scores["components_missed"]) == (matched, count - matched)
    assert scores["components_added"] == added


@pytest.mark.parametrize("annotated", [False, True])
def test_calibration_equals_scikit_learn_and_its_definition(annotated):
    random = np.random.default_rng(4)
    target = blobs(0)[1]
    probabilities = np.clip(0.4 * target + random.random(target.shape) ** 2 * 0.6, 0, 1)
    mask = random.random(target.shape) < 0.7 if annotated else np.ones(target.shape, bool)
    scores = evaluate(probabilities > 0.5, target, SPACING, tolerance=2.0, mask=mask, probabilities=probabilities)
    truth, p = target[mask], probabilities[mask]
    assert scores["brier"] == pytest.approx(sklearn.brier_score_loss(truth, p))
    shares, means = calibration_curve(truth, p, n_bins=20)
    assert scores["ace"] == pytest.approx(np.abs(shares - means).mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_of_numbers_score_as_booleans(dtype):
    prediction, target = blobs(0)
    expected = evaluate(prediction, target, SPACING, tolerance=2.0)
    assert evaluate(prediction.astype(dtype), target.astype(dtype), SPACING, tolerance=2.0) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction": np.full((2, 3), 255)}, "prediction must be a mask of booleans or of 0 and 1"),
        ({"target": np.full((2, 3), 2)}, "target must be a mask"),
        ({"target": np.full((2, 3), math.nan)}, "target must be a mask"),
        ({"target": np.ones((3, 2), bool)}, r"prediction \(2, 3\) and target \(3, 2\) must have the same shape"),
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing must hold 2 numbers above 0"),
        ({"spacing": (1.0, 0.0)}, "spacing must hold 2 numbers above 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"probabilities": np.ones((3, 2))}, r"probabilities \(3, 2\) and target"),
        ({"probabilities": np.full((2, 3), -3.0)}, r"probabilities must be numbers in \[0, 1\]"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, words):
    arguments = {
        "prediction": np.ones((2, 3), bool),
        "target": np.ones((2, 3), bool),
        "spacing": (1.0, 1.0),
        "tolerance": 1.0,
    }
    with pytest.raises(UserError, match=words):
        evaluate(**arguments | change)


def test_where_nobody_annotated_nothing_counts():
    target, mask = np.zeros((1, 6, 8), bool), np.ones((1, 6, 8), bool)
    target[0, 1:4, 1:5] = True
    prediction = target.copy()
    prediction[0, 1:4, 5:7] = True
    mask[..., 5:] = False
    scores = evaluate(prediction, target, (1, 1, 1), tolerance=0.5, mask=mask)
    assert (scores["dice"], scores["precision"], scores["accuracy"]) == (1, 1, 1)
    assert (scores["hausdorff"], scores["surface_dice"]) == (0, 1)
    mask[0, 3:] = False  # and the lowest row of the prediction shrinks
    prediction[0, 2, :5] = False
    scores = evaluate(prediction, target, (1, 1, 1), tolerance=0.5, mask=mask)
    assert scores["recall"] == 0.5 and scores["hausdorff"] == 1


def test_without_an_annotated_face_a_distance_is_undefined_and_not_missed():
    target = np.zeros((3, 6, 8), bool)
    target[1, 2, 2:6] = True
    scores = evaluate(target, target, (1, 1, 1), tolerance=1, mask=target)
    assert scores["dice"] == 1 and math.isnan(scores["hausdorff"]) and math.isnan(scores["surface_dice"])
    assert not is_missed(scores, "hausdorff")
    with pytest.raises(UserError, match="mask .* must have the same shape"):
        evaluate(target, target, (1, 1, 1), tolerance=1, mask=target[0])


@pytest.mark.parametrize(("step", "tolerance"), [(0.6, 1.8), (0.3, 0.9), (1.2, 3.6), (0.7, 4.9)])
def test_a_surface_at_the_tolerance_is_within_it(step, tolerance):
    cube = np.zeros((20, 20, 20), bool)
    cube[6:13, 6:13, 6:13] = True
    moved = np.roll(cube, round(tolerance / step), axis=0)
    assert evaluate(moved, cube, (step, step, step), tolerance=tolerance)["surface_dice"] == 1


def test_a_mask_may_be_a_flipped_view():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 2:4, 1:5] = True
    flipped = np.flip(mask, 0)
    assert evaluate(flipped, mask, (1, 1, 1), tolerance=1) == evaluate(
        flipped.copy(), mask, (1, 1, 1), tolerance=1
    )
