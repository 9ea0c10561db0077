"""The value of each loss on small shapes drawn by hand.

A file of shapes holds blocks, apart by empty lines: a name with a colon, then rows of equal length in which `#`
is foreground found, `-` foreground missed, `+` background taken for foreground, `.` background left alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from spineloss.errors import UserError
from spineloss.losses import LOSSES
from spineloss.text import parse

SURE = 20.0  # the logit of a hard prediction: finite, so that cross-entropy is

ToyTable = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Shape:
    """A truth and a prediction, (height, width) booleans."""

    name: str
    truth: np.ndarray
    prediction: np.ndarray


def toy_shapes() -> list[Shape]:
    """The eight of the thesis's Figs. 3.5 to 3.7: large, small, awareness and fitting, two predictions each."""
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


def library_table(shapes: Sequence[Shape], specs: Sequence[str] = tuple(LOSSES)) -> ToyTable:
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
