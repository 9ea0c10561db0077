"""The trajectory of a run, read from its `steps.csv`: what each training step recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spineloss.weighting import Terms, recorded_weights

COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class Trajectory:
    """One row per training step: its epoch, and what it recorded, by name."""

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


def trajectory_of(rows: Sequence[Mapping[str, str]]) -> Trajectory:
    """The trajectory that the rows of a `steps.csv` hold.

    Raises:
        KeyError, TypeError, ValueError: the rows are no record of steps.
    """
    epochs = [int(row["epoch"]) for row in rows]
    found = [{key: float(value) for key, value in row.items() if key not in COUNTERS} for row in rows]
    if not found:
        raise ValueError("no step is on record")
    return Trajectory(epochs, found)
