"""The trajectory of a run, read from its `steps.csv`: what each training step recorded."""

import csv
from dataclasses import dataclass
from pathlib import Path

from spineloss.errors import UserError
from spineloss.weighting import Terms, recorded_weights

COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class Trajectory:
    """One row a training step: its epoch, and what it recorded, by name."""

    epochs: list[int]
    rows: list[dict[str, float]]

    @property
    def weights(self) -> list[Terms]:
        """The weights of each step, by term."""
        return [recorded_weights(row) for row in self.rows]

    @property
    def course(self) -> tuple[str, list[dict[str, float]]]:
        """What changed, `weight` or `parameter`, and its values of each step."""
        return ("weight", self.weights) if any(self.weights) else ("parameter", self.rows)


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory of a run.

    Args:
        path: its `steps.csv`.

    Raises:
        UserError: the file is missing, or is not a record of steps.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: only a method with a weighting or a tuning records its steps.")
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    try:
        epochs = [int(row["epoch"]) for row in found]
        rows = [{key: float(value) for key, value in row.items() if key not in COUNTERS} for row in found]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a record of training steps: delete the run, and train it again."
        ) from error
    return Trajectory(epochs, rows)
