"""The trajectories of a run, read from its `steps.csv`: what each training step recorded, and their picture."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spineloss.errors import UserError
from spineloss.weighting import Terms, recorded_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory of a run.

    Args:
        path: its `steps.csv`.

    Raises:
        UserError: the file is missing or holds no steps.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: only a method with a weighting records its steps.")
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


def draw_weights(trajectories: Mapping[str, Trajectory], title: str) -> "Figure":
    """Each term's weight against the training step, a panel a run, as in the seed's Fig. 8.6.

    Args:
        trajectories: by the panel's title, such as `fold 0`.
        title: of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 + 3 * len(trajectories), 3.2), layout="constrained")
    panels = figure.subplots(1, len(trajectories), sharey=True, squeeze=False)[0]
    for panel, (name, trajectory) in zip(panels, trajectories.items(), strict=True):
        steps = range(1, len(trajectory.rows) + 1)
        for term, weights in _columns(trajectory.weights).items():
            panel.plot(steps, weights, label=term, linewidth=1)
        panel.set(title=name, xlabel="training step", ylim=(-0.02, 1.02))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("weight")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(title)
    return figure


def _columns(rows: Sequence[Terms]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
