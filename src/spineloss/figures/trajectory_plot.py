"""Pictures of trajectories: weights or parameters against the training step, and paths on the (a, b) plane."""

from collections.abc import Mapping, Sequence

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spineloss.figures.names import literal
from spineloss.results.trajectories import Trajectory

LANDMARKS = {"Dice": (0.5, 0.5), "IoU": (1.0, 1.0)}


def draw_course(trajectories: Mapping[str, Trajectory], title: str) -> Figure:
    """Each weight or parameter against the training step, one panel per run, as in the thesis's Figs. 8.5 and 8.6.

    Args:
        trajectories: by the panel's title, such as `fold 0`.
        title: of the figure.
    """
    figure, panels = _panels(len(trajectories), title)
    for panel, (name, trajectory) in zip(panels, trajectories.items(), strict=True):
        what, rows = trajectory.course
        for key, values in _columns(rows).items():
            panel.plot(range(1, len(values) + 1), values, label=literal(key), linewidth=1)
        panel.set(title=name, xlabel="training step")
        if what == "weight":
            panel.set_ylim(-0.02, 1.02)
        panels[0].set_ylabel(what)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def draw_paths(paths: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Figure:
    """The path of a region loss T(a, b) on its plane, one panel per run, from the dot to the triangle.

    Args:
        paths: by the panel's title: (a, b) of each training step.
        title: of the figure.
    """
    figure, panels = _panels(len(paths), title)
    for panel, (name, path) in zip(panels, paths.items(), strict=True):
        a, b = zip(*path, strict=True)
        panel.plot(a, b, linewidth=1)
        panel.plot(a[0], b[0], "o", color="C0")
        panel.plot(a[-1], b[-1], "^", color="C0")
        for landmark, (x, y) in LANDMARKS.items():
            panel.plot(x, y, "+", color="C1")
            panel.annotate(landmark, (x, y), xytext=(4, 4), textcoords="offset points", color="C1")
        panel.margins(0.12)  # room for a landmark's name at the edge
        panel.set(title=name, xlabel="a, weight of false positives")
    panels[0].set_ylabel("b, weight of false negatives")
    return figure


def _panels(count: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(3 + 3 * count, 3.2), layout="constrained")
    panels = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    for panel in panels:
        panel.grid(alpha=min(0.3, rcParams["grid.alpha"]))
    figure.suptitle(literal(title), wrap=True)
    return figure, panels


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
