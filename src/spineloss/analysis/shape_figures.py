"""Pictures of the toy analysis: the shapes, the losses' curves, and the plane of the region losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spineloss.analysis.curves import against_probability, over_plane
from spineloss.analysis.shapes import Shape
from spineloss.losses import LOSSES, Focal, Loss, TverskyFocal, parse
from spineloss.losses.region import Region

# Okabe and Ito's colours, which the colour-blind tell apart.
FOUND, MISSED, ADDED = "#0072b2", "#e69f00", "#cc79a7"
LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
WEIGHTS = np.linspace(0, 1.5, 151)


def draw(shapes: Sequence[Shape], losses: Sequence[str], folder: Path) -> list[Path]:
    """Write every picture as PNG and SVG into a folder.

    Args:
        shapes: to be drawn; the first with errors of both kinds is put on the plane.
        losses: whose curves are drawn, by their text.
        folder: made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    curves = {spec: parse(spec) for spec in losses}
    figures = {
        "shapes": _shapes(shapes),
        "curves": _curves(curves),
        "gamma": _gamma(),
        "plane": _plane(next((shape for shape in shapes if _errs_both_ways(shape)), shapes[-1])),
    }
    paths = [folder / f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
    for path in paths:
        figures[path.stem].savefig(path, dpi=150)
    return paths


def _errs_both_ways(shape: Shape) -> bool:
    return bool((shape.prediction & ~shape.truth).any() and (shape.truth & ~shape.prediction).any())


def _shapes(shapes: Sequence[Shape]) -> Figure:
    columns = min(4, len(shapes))
    rows = -(-len(shapes) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.6 * rows + 0.5), layout="constrained")
    colours = ListedColormap(["white", FOUND, MISSED, ADDED])
    for axes, shape in zip(_all(figure, rows, columns), shapes, strict=False):
        axes.set_axis_on()
        cells = 1 * (shape.prediction & shape.truth) + 2 * (shape.truth & ~shape.prediction)
        axes.pcolormesh(
            cells + 3 * (shape.prediction & ~shape.truth),
            cmap=colours,
            vmin=0,
            vmax=3,
            edgecolors="#dddddd",
            lw=0.5,
        )
        axes.set(title=shape.name, xticks=[], yticks=[], aspect="equal")
        axes.invert_yaxis()
    names = {"found": FOUND, "missed": MISSED, "taken for foreground": ADDED}
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in names.items()],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _all(figure: Figure, rows: int, columns: int) -> list[Axes]:
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    return list(grid.flat)


def _curves(losses: Mapping[str, Loss]) -> Figure:
    """A panel a loss: many losses lie on one another."""
    columns = min(4, len(losses))
    rows = -(-len(losses) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows + 0.7), layout="constrained")
    panels = _all(figure, rows, columns)
    for axes, (spec, loss) in zip(panels, losses.items(), strict=False):
        axes.set_axis_on()
        p, values, slopes = against_probability(loss)
        (value_line,) = axes.plot(p, values, color=LINES[0])
        (slope_line,) = axes.plot(p, slopes, color=LINES[1], ls="--")
        # A logarithm's ends would flatten everything between them.
        seen = np.concatenate([values, slopes])
        axes.set_ylim(np.percentile(seen, 4) - 0.2, np.percentile(seen, 96) + 0.2)
        axes.set_title(fill(spec, 30), fontsize="medium")
        _tidy(axes)
    figure.supxlabel("probability of the right class", fontsize="medium")
    figure.legend(
        [value_line, slope_line], ["loss", "its gradient"], loc="outside upper center", ncols=2, frameon=False
    )
    return figure


def _gamma() -> Figure:
    """The seed's Fig. 3.1, and what its Fig. 3.4 was meant to show."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    focal_axes, tversky_axes = figure.subplots(1, 2)
    for colour, gamma in zip(LINES, (0.0, 0.5, 1.0, 2.0, 5.0), strict=False):
        p, values, _ = against_probability(Focal(alpha=1, gamma=gamma))
        focal_axes.plot(
            p, values, color=colour, label=f"γ = {gamma:g}" + (" (cross-entropy)" if gamma == 0 else "")
        )
    for colour, gamma in zip(LINES, (1 / 3, 0.5, 1.0, 4 / 3, 3.0), strict=False):
        p, values, _ = against_probability(TverskyFocal(gamma=gamma))
        tversky_axes.plot(p, values, color=colour, label=f"γ = {gamma:.3g}" + (" (Tversky)" if gamma == 1 else ""))
    focal_axes.set(title="Focal", xlabel="probability of the right class", ylabel="loss", ylim=(0, 5))
    tversky_axes.set(title="Tversky-Focal", xlabel="probability of the right class", ylabel="loss")
    _tidy(focal_axes, tversky_axes)
    for axes in (focal_axes, tversky_axes):
        axes.legend(frameon=False)
    return figure


def _plane(shape: Shape) -> Figure:
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.subplots()
    surface = axes.contourf(WEIGHTS, WEIGHTS, over_plane(shape, WEIGHTS), levels=16, cmap="cividis")
    figure.colorbar(surface, label=f"1 - T(a, b) of {shape.name}")
    for name, kind in LOSSES.items():
        if issubclass(kind, Region):
            a, b = kind().plane
            axes.plot(a, b, "o", color="white", mec="black")
            if name not in ("effectiveness", "tversky_focal"):  # they lie on another's point
                axes.annotate(name, (a, b), xytext=(6, 4), textcoords="offset points", bbox=LABEL)
    axes.set(
        title="Region losses are points of one plane",
        xlabel="a: weight of false positives",
        ylabel="b: weight of false negatives",
    )
    return figure


def _tidy(*every: Axes) -> None:
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
