"""Pictures of trajectories: weights against the training step."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from spineloss.analysis.trajectories import Trajectory
from spineloss.weighting import Terms


def draw_weights(trajectories: Mapping[str, Trajectory], title: str) -> Figure:
    """Each term's weight against the training step, a panel a run, as in the seed's Fig. 8.6.

    Args:
        trajectories: by the panel's title, such as `fold 0`.
        title: of the figure.
    """
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
