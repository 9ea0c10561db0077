"""Metrics of one binary prediction: overlap from counts, surface distances in mm, components, calibration.

What is undefined is NaN, and NaN never enters a mean; how often that happened is reported beside it.
- An overlap of 0/0 is undefined: precision of an empty prediction, recall of an empty target, Dice of both empty.
- Surface distances are undefined when prediction or target is empty: there is no surface to measure to.
- Surface Dice is 0 when one of the two is empty, undefined when both are.
- The Dice of components is undefined when the target has none; how many are matched, missed and added never is.
- Calibration is undefined where no probabilities are given.
- Where nobody annotated, nothing counts. A surface is then where a mask meets what is annotated as outside; where
  there is no such place, distances and surface Dice are undefined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spineloss.errors import UserError
from spineloss.kernels.components import components_of, nearest_numbers
from spineloss.kernels.distance_transform import distance_map

BINS = 20  # of probabilities
ROUNDING = 1e-6  # of a distance, relative: 3 x 0.6 mm are within 1.8 mm, though not in single precision


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: its title, its unit (`%`, `mm` or `components`), and whether higher is better."""

    title: str
    unit: str
    higher_is_better: bool

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be in its unit: shares are kept in [0, 1]."""
        return 100 if self.unit == "%" else 1

    @property
    def heading(self) -> str:
        """Its title, and its unit where that is no share."""
        return self.title if self.unit == "%" else f"{self.title} ({self.unit})"


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", "%", True),
    "dice": Metric("Dice", "%", True),
    "f2": Metric("F2", "%", True),
    "iou": Metric("IoU", "%", True),
    "precision": Metric("Precision", "%", True),
    "recall": Metric("Recall", "%", True),
    "hausdorff": Metric("Hausdorff", "mm", False),
    "hd95": Metric("HD95", "mm", False),
    "assd": Metric("ASSD", "mm", False),
    "surface_dice": Metric("Surface Dice", "%", True),
    "component_dice": Metric("Component Dice", "%", True),
    "components_matched": Metric("Matched", "components", True),
    "components_missed": Metric("Missed", "components", False),
    "components_added": Metric("Added", "components", False),
    "ace": Metric("ACE", "%", False),
    "brier": Metric("Brier", "%", False),
}


def evaluate(
    prediction: np.ndarray,
    target: np.ndarray,
    spacing: Sequence[float],
    *,
    tolerance: float,
    mask: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
) -> dict[str, float]:
    """All metrics of one volume; shares in [0, 1], distances in mm.

    Args:
        prediction: (*spatial) booleans, or numbers that are all 0 or 1.
        target: likewise, of the same shape.
        spacing: of each axis, mm, above 0.
        tolerance: of the surface Dice, mm, at least 0.
        mask: likewise; False (or 0) ignores a voxel. All count by default.
        probabilities: (*spatial) of the foreground, in [0, 1]; without them calibration is undefined.

    Returns:
        A number for each of `METRICS`; NaN where undefined (see above).

    Raises:
        UserError: an argument's values or shape do not fit; the message names it.

    >>> scores = evaluate(np.array([[1, 1, 0]], bool), np.array([[1, 0, 0]], bool), (1, 1), tolerance=1)
    >>> scores["precision"], scores["recall"], scores["hausdorff"]
    (0.5, 1.0, 1.0)
    """
    prediction, target = _booleans("prediction", prediction), _booleans("target", target)
    if prediction.shape != target.shape:
        raise UserError(f"prediction {prediction.shape} and target {target.shape} must have the same shape.")
    counted = None if mask is None else _booleans("mask", mask)
    if counted is not None and counted.shape != target.shape:
        raise UserError(f"mask {counted.shape} and target {target.shape} must have the same shape.")
    if len(spacing) != prediction.ndim or not all(0 < step < math.inf for step in spacing):
        raise UserError(
            f"spacing must hold {prediction.ndim} numbers above 0, one per axis in mm; it is {tuple(spacing)}."
        )
    if not tolerance >= 0:
        raise UserError(f"tolerance must be at least 0 mm; it is {tolerance:g}.")
    found, true = (prediction, target) if counted is None else (prediction & counted, target & counted)
    tp = int(np.count_nonzero(found & true))
    fp = int(np.count_nonzero(found)) - tp
    fn = int(np.count_nonzero(true)) - tp
    voxels = target.size if counted is None else int(np.count_nonzero(counted))
    return (
        overlap(tp, fp, fn, voxels - tp - fp - fn)
        | surface_distances(prediction, target, spacing, tolerance, counted)
        | component_scores(found, true, spacing)
        | calibration(_probabilities(probabilities, target), true, counted)
    )


def _booleans(name: str, mask: np.ndarray) -> np.ndarray:
    """The mask as booleans: on integers `~` and `&` work bit by bit, and give other distances in silence."""
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iuf" or not ((mask == 0) | (mask == 1)).all():
        raise UserError(
            f"{name} must be a mask of booleans or of 0 and 1: compare a label map with its label "
            "(`labels == 2`), a 0/255 mask with 0 and probabilities with 0.5."
        )
    return mask.astype(bool)


def _probabilities(given: np.ndarray | None, target: np.ndarray) -> np.ndarray | None:
    if given is None:
        return None
    given = np.asarray(given)
    if given.shape != target.shape:
        raise UserError(f"probabilities {given.shape} and target {target.shape} must have the same shape.")
    if given.dtype.kind != "f" or not (given.min(initial=0) >= 0 and given.max(initial=1) <= 1):
        raise UserError("probabilities must be numbers in [0, 1]: take the sigmoid or softmax of logits.")
    return given


def overlap(tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    """Overlap metrics of counts (Eqs. 8.2-8.7); NaN where 0/0."""
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "f2": _ratio(5 * tp, 5 * tp + fp + 4 * fn),
        "iou": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def surface_distances(
    prediction: np.ndarray,
    target: np.ndarray,
    spacing: Sequence[float],
    tolerance: float,
    counted: np.ndarray | None = None,
) -> dict[str, float]:
    """Distances between the surfaces of two masks, in mm.

    A surface is the mask's voxels with a face to the outside, as in MedPy. `hausdorff` is the largest distance of
    either surface to the other, `hd95` the 95th percentile of both directions pooled (MedPy's; MONAI takes the
    larger of two percentiles), `assd` the mean of both pooled (MedPy's), `surface_dice` the share
    of both surfaces within the tolerance (counted in voxels; DeepMind's surface-distance weights them by area).

    References:
        Nikolov et al., Clinically applicable segmentation of head and neck anatomy, JMIR 23, 2021.
    """
    found, true = (prediction, target) if counted is None else (prediction & counted, target & counted)
    undefined = dict.fromkeys(("hausdorff", "hd95", "assd", "surface_dice"), math.nan)
    if not found.any() or not true.any():
        one_is_empty = bool(found.any() or true.any())
        return undefined | {"surface_dice": 0.0 if one_is_empty else math.nan}
    box = _bounding_box(prediction | target)
    within = None if counted is None else counted[box]
    prediction_border, target_border = border(prediction[box], within), border(target[box], within)
    if not prediction_border.any() or not target_border.any():
        return undefined
    there = distance_map(target_border, spacing)[prediction_border]
    back = distance_map(prediction_border, spacing)[target_border]
    pooled = np.concatenate([there, back])
    return {
        "hausdorff": float(pooled.max()),
        "hd95": float(np.percentile(pooled, 95)),
        "assd": float(pooled.mean(dtype=np.float64)),
        "surface_dice": float(np.mean(pooled <= tolerance * (1 + ROUNDING))),
    }


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The part of the volume that holds the mask and its neighbours."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        present = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(present[0]) - 1, 0), int(present[-1]) + 2))
    return tuple(box)


def border(mask: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """The voxels of a mask (*spatial) with a face to the outside; beyond the volume is outside.

    Where only some voxels are `counted`, those of them with a face to a counted voxel outside.
    """
    inner = np.pad(mask if counted is None else mask | ~counted, 1)
    eroded = mask.copy()
    for axis in range(mask.ndim):
        middle = [slice(1, -1)] * mask.ndim
        for shift in (slice(0, -2), slice(2, None)):
            middle[axis] = shift
            eroded &= inner[tuple(middle)]
    return mask & ~eroded if counted is None else mask & counted & ~eroded


def component_scores(prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """How well each connected component of the target is found, whatever its size.

    Component Dice is the mean over the target's components of the Dice of all voxels that are nearer to it than to
    another (CC-Dice). A component of the target is matched where a voxel of it is predicted, and missed otherwise;
    one of the prediction is added where no voxel of it is true.

    References:
        Jaus et al., Every component counts: rethinking the measure of success for medical semantic segmentation in
        multi-instance segmentation tasks, AAAI 2025.

    >>> prediction, target = np.array([[1, 0, 0, 0, 0, 1]], bool), np.array([[1, 1, 0, 1, 0, 0]], bool)
    >>> list(component_scores(prediction, target, (1, 1)).values())  # Dice 2/3 and 0
    [0.3333333333333333, 1, 1, 1]
    """
    names = ("component_dice", "components_matched", "components_missed", "components_added")
    if not prediction.any() and not target.any():
        return dict(zip(names, (math.nan, 0, 0, 0), strict=True))
    box = _bounding_box(prediction | target)
    found, true = prediction[box], target[box]
    parts, of_target = (
        components_of(torch.from_numpy(np.ascontiguousarray(mask))[None, None]) for mask in (found, true)
    )
    count, hits = int(of_target.max()), found & true
    touched = len(np.unique(parts[0, 0].numpy()[hits]))
    added = int(parts.max()) - touched
    if not count:
        return dict(zip(names, (math.nan, 0, 0, added), strict=True))
    numbers, nearest = (each[0, 0].numpy() for each in (of_target, nearest_numbers(of_target, spacing)))
    size, hit, claimed = (
        np.bincount(each, minlength=count + 1)[1:] for each in (numbers[true], numbers[hits], nearest[found])
    )
    matched = int(np.count_nonzero(hit))
    return dict(
        zip(names, (float(np.mean(2 * hit / (size + claimed))), matched, count - matched, added), strict=True)
    )


def calibration(
    probabilities: np.ndarray | None, target: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, float]:
    """Whether probabilities are the share of voxels that are foreground; both in [0, 1], 0 is best.

    `ace` is the average calibration error: voxels are sorted into 20 bins by their probability, and it is the mean
    over the bins that hold any of |mean probability - share of foreground|. `brier` is the mean of (P - Y)^2.

    References:
        Barfoot et al., Average calibration error: a differentiable loss for improved reliability in image
        segmentation, MICCAI 2024.

    >>> scores = calibration(np.array([0.5, 0.5, 0.5, 0.5]), np.array([True, False, False, False]))
    >>> scores["ace"], scores["brier"]
    (0.25, 0.25)
    """
    if probabilities is None or (counted is not None and not counted.any()):
        return {"ace": math.nan, "brier": math.nan}
    p = probabilities.ravel() if counted is None else probabilities[counted]
    true = target.ravel() if counted is None else target[counted]
    number = np.minimum((p * BINS).astype(np.int8), BINS - 1)
    held = np.bincount(number, minlength=BINS)
    confident, right = np.bincount(number, p, BINS), np.bincount(number[true], minlength=BINS)
    gaps = np.abs(confident - right)[held > 0] / held[held > 0]
    return {"ace": float(gaps.mean()), "brier": float(np.square(p - true).mean(dtype=np.float64))}
