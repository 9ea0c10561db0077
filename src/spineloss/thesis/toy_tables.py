"""Tables 3.1 and 3.2 of the thesis (Hun 2021), in its own conventions, and what is misprinted in them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spineloss.kernels.distance_transform import distance_map
from spineloss.lossbook.shapes import Shape, ToyTable


def thesis_table(shapes: Sequence[Shape]) -> ToyTable:
    """The nine rows of Tables 3.1 and 3.2, each computed as in the thesis: loss -> shape -> value.

    An overlap without any foreground is undefined there: NaN.
    """
    with np.errstate(invalid="ignore"):
        return {
            name: {shape.name: float(loss(shape.prediction * 1.0, shape.truth * 1.0)) for shape in shapes}
            for name, loss in ROWS.items()
        }


def _tversky(a: float, b: float, power: float = 1.0) -> Callable[[np.ndarray, np.ndarray], float]:
    def loss(p: np.ndarray, y: np.ndarray) -> float:
        tp, fp, fn = (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum()
        return (1 - tp / (tp + a * fp + b * fn)) ** power

    return loss


def _entropy(p: np.ndarray, y: np.ndarray, foreground: float) -> float:
    """Mean cross-entropy that takes the 0/1 image for logits, as in the thesis."""
    return float(np.mean(foreground * y * np.log1p(np.exp(-p)) + (1 - y) * np.log1p(np.exp(p))))


def _focal(p: np.ndarray, y: np.ndarray) -> float:
    """Focused on the mean, not on each voxel."""
    mean = _entropy(p, y, foreground=1.0)
    return 0.75 * (1 - np.exp(-mean)) ** 1.45 * mean


def _boundary(p: np.ndarray, y: np.ndarray) -> float:
    """The 0/1 image taken for logits; the distance without a sign."""
    return float(np.mean(distance_map(y > 0) / (1 + np.exp(-p))))


def _hausdorff(p: np.ndarray, y: np.ndarray) -> float:
    fields = [distance_map(mask > 0) + distance_map(mask == 0) for mask in (p, y)]
    return float(np.mean((p - y) ** 2 * (fields[0] ** 2 + fields[1] ** 2)))


BETA = 1.52**2
ROWS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Asymmetric": _tversky(1 / (1 + BETA), BETA / (1 + BETA)),
    "BCE": lambda p, y: _entropy(p, y, foreground=5.0),
    "Focal": _focal,
    "Dice": _tversky(0.5, 0.5),
    "DiceFocal": _tversky(0.5, 0.5, power=0.75),
    "Tversky": _tversky(0.3, 0.7),
    "TverskyFocal": _tversky(0.7, 0.3, power=0.75),
    "Boundary": _boundary,
    "Hausdorff": _hausdorff,
}

# What Table 3.2 prints: two rows swapped, and a row that repeats the columns before.
MISPRINTS = {
    ("Focal", "fitting_1"): 0.1982,
    ("Focal", "fitting_2"): 0.1982,
    ("Boundary", "fitting_1"): 0.28,
    ("Boundary", "fitting_2"): 0.4399,
    ("Hausdorff", "fitting_1"): 1.0098,
    ("Hausdorff", "fitting_2"): 1.0599,
}
