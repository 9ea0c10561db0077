"""The toy analysis of the seed's chapter 3.6: what each loss says of small shapes, drawn by hand.

A file of shapes holds blocks, apart by empty lines: a name with a colon, then rows of equal length in which `#`
is foreground found, `-` foreground missed, `+` background taken for foreground, `.` background left alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from spineloss.errors import UserError
from spineloss.kernels.distance_transform import distance_map
from spineloss.losses import LOSSES
from spineloss.text import parse

SURE = 20.0  # the logit of a hard prediction: finite, so that cross-entropy is

Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Shape:
    """A truth and a prediction, (height, width) booleans."""

    name: str
    truth: np.ndarray
    prediction: np.ndarray


def seed_shapes() -> list[Shape]:
    """The eight of Figs. 3.5 to 3.7: large, small, awareness and fitting, two predictions each."""
    return read_shapes(files("spineloss") / "lossbook" / "shapes.txt")


def read_shapes(path: Path) -> list[Shape]:
    """The shapes of a file.

    Raises:
        UserError: the file cannot be read, a block is malformed, or a name comes twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): name a text file of shapes.") from error
    if not text.strip():
        raise UserError(f"{path} holds no shape: write a name with a colon, then rows of # - + and dots.")
    shapes = [_shape(block, path) for block in re.split(r"\n\s*\n", text.strip())]
    _refuse_repeats([shape.name for shape in shapes], path)
    return shapes


def _shape(block: str, path: Path) -> Shape:
    title, *lines = [line.strip() for line in block.splitlines()]
    name, rows = title.removesuffix(":"), [list(line) for line in lines]
    well_formed = name != title and rows and len({len(row) for row in rows}) == 1
    if not well_formed or not {cell for row in rows for cell in row} <= set("#-+."):
        raise UserError(
            f"{path}: the shape {name!r} must be a name with a colon, then rows of equal length of # - + and dots."
        )
    grid = np.array(rows)
    return Shape(name, np.isin(grid, ["#", "-"]), np.isin(grid, ["#", "+"]))


def _refuse_repeats(names: Sequence[str], path: Path) -> None:
    taken = {"loss"}  # the table's first column
    for name in names:
        if name in taken:
            raise UserError(f"{path}: the name {name!r} is taken: give each shape one of its own, but not 'loss'.")
        taken.add(name)


def library_table(shapes: Sequence[Shape], specs: Sequence[str] = tuple(LOSSES)) -> Table:
    """Each loss of the library, in its own conventions, on logits of +-20: loss -> shape -> value.

    Raises:
        UserError: a text names no loss.
    """
    losses = {spec: parse(spec) for spec in specs}
    return {spec: {shape.name: loss(*_tensors(shape)).item() for shape in shapes} for spec, loss in losses.items()}


def _tensors(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    prediction, truth = (
        torch.from_numpy(volume)[None, None].float() for volume in (shape.prediction, shape.truth)
    )
    return SURE * (2 * prediction - 1), truth


def seed_table(shapes: Sequence[Shape]) -> Table:
    """The nine rows of Tables 3.1 and 3.2, each computed as the seed did: loss -> shape -> value.

    An overlap without any foreground is undefined there: NaN.
    """
    with np.errstate(invalid="ignore"):
        return {
            name: {shape.name: float(loss(shape.prediction * 1.0, shape.truth * 1.0)) for shape in shapes}
            for name, loss in SEED.items()
        }


def _tversky(a: float, b: float, power: float = 1.0) -> Callable[[np.ndarray, np.ndarray], float]:
    def loss(p: np.ndarray, y: np.ndarray) -> float:
        tp, fp, fn = (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum()
        return (1 - tp / (tp + a * fp + b * fn)) ** power

    return loss


def _entropy(p: np.ndarray, y: np.ndarray, foreground: float) -> float:
    """Mean cross-entropy that takes the 0/1 image for logits, as the seed did."""
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
SEED: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
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

# What the seed's Table 3.2 prints: two rows swapped, and a row that repeats the columns before.
MISPRINTS = {
    ("Focal", "fitting_1"): 0.1982,
    ("Focal", "fitting_2"): 0.1982,
    ("Boundary", "fitting_1"): 0.28,
    ("Boundary", "fitting_2"): 0.4399,
    ("Hausdorff", "fitting_1"): 1.0098,
    ("Hausdorff", "fitting_2"): 1.0599,
}
