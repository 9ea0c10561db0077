"""Pictures of the toy analysis: the shapes, each loss on them, its curves, and the plane of the region losses."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spineloss.figures.names import literal
from spineloss.files import write_atomically
from spineloss.lossbook.curves import against_probability, on_shape, over_plane
from spineloss.lossbook.shapes import Shape
from spineloss.losses import Focal, Loss, TverskyFocal
from spineloss.losses.region import Region
from spineloss.text import parse

# Okabe and Ito's colours, which the colour-blind tell apart.
FOUND, MISSED, ADDED = "#0072b2", "#e69f00", "#cc79a7"
LEGEND = 4.6  # inches that the legend of the shapes is wide
VALUE, SLOPE = "#0072b2", "#d55e00"
ROW, LOSS = 0.85, 1.7  # inches: the height of a loss's row, the width of its name
GAP = 3  # voxels between two shapes
STEPS = (
    "Each loss on each shape, predicted with probabilities 0.9 and 0.1: its value, and the step that each voxel's "
    "logit gets (orange: up, violet: down; the darkest is the largest on its shape). Outlined is the truth."
)
LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}


def draw(shapes: Sequence[Shape], losses: Sequence[str], folder: Path) -> list[Path]:
    """Write every picture as PNG and SVG into a folder.

    Args:
        shapes: to be drawn; the first with errors of both kinds is put on the plane.
        losses: whose curves are drawn, by their text; the region losses among them are points of the plane.
        folder: made where it is not there.
    """
    curves = {spec: parse(spec) for spec in losses}
    figures = {
        "shapes": _shapes(shapes),
        "losses": _losses(shapes, curves),
        "curves": _curves(curves),
        "gamma": _gamma(),
    }
    if points := _points(curves):
        figures["plane"] = _plane(next((shape for shape in shapes if _errs_both_ways(shape)), shapes[-1]), points)
    paths = [folder / f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
    for path in paths:
        write_atomically(path, partial(figures[path.stem].savefig, format=path.suffix[1:], dpi=150))
    return paths


def _errs_both_ways(shape: Shape) -> bool:
    return bool((shape.prediction & ~shape.truth).any() and (shape.truth & ~shape.prediction).any())


def _shapes(shapes: Sequence[Shape]) -> Figure:
    columns = min(4, len(shapes))
    rows = -(-len(shapes) // columns)
    figure = Figure(figsize=(max(2.4 * columns, LEGEND), 2.6 * rows + 0.5), layout="constrained")
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
        axes.set_title(literal(fill(shape.name, 24)), fontsize="medium")
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.invert_yaxis()
    names = {"found": FOUND, "missed": MISSED, "taken for foreground": ADDED}
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in names.items()],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _losses(shapes: Sequence[Shape], losses: Mapping[str, Loss]) -> Figure:
    """A row a loss, a column a shape: its value, and the step that each voxel's logit gets."""
    widths = [shape.truth.shape[1] for shape in shapes]
    height = max(shape.truth.shape[0] for shape in shapes)
    starts = np.cumsum([0, *(width + GAP for width in widths)])
    scale = ROW / (height + GAP)
    figure = Figure(figsize=(LOSS + scale * starts[-1], ROW * len(losses) + 1.0))
    panels = figure.subplots(len(losses), 1, squeeze=False)[:, 0]
    top, side = 1 - 0.9 / figure.get_figheight(), LOSS / figure.get_figwidth()
    figure.subplots_adjust(left=side, right=1, bottom=0, top=top, hspace=0)
    for axes, (spec, loss) in zip(panels, losses.items(), strict=True):
        found = [on_shape(loss, shape) for shape in shapes]
        for (value, gradient), shape, start in zip(found, shapes, starts, strict=False):
            rows, columns = shape.truth.shape
            peak = np.abs(gradient).max() or 1.0
            place = (start, start + columns, rows, 0)
            axes.imshow(-gradient, cmap="PuOr_r", vmin=-peak, vmax=peak, extent=place)
            outline = np.kron(shape.truth, np.ones((8, 8)))
            axes.contour(outline, levels=[0.5], colors="black", linewidths=0.6, extent=(*place[:2], 0, rows))
            axes.text(start, -0.2, f"{value:.3g}", fontsize=6.5, va="bottom")
        axes.set(xlim=(-0.5, starts[-1]), ylim=(height + 0.3, -GAP + 0.3), aspect="equal")
        axes.set_axis_off()
        axes.text(-1, height / 2, literal(fill(spec, 24)), fontsize=8, ha="right", va="center")
    for shape, start in zip(shapes, starts, strict=False):
        words = literal(fill(shape.name.replace("_", " "), 14))
        panels[0].text(start, -GAP + 0.3, words, fontsize=7.5, va="bottom", weight="bold")
    words = fill(STEPS, int(16 * figure.get_figwidth()))
    figure.text(0.01, 1 - 0.12 / figure.get_figheight(), words, fontsize=8, va="top")
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
        (value_line,) = axes.plot(p, values, color=VALUE)
        (slope_line,) = axes.plot(p, slopes, color=SLOPE, ls="--")
        # A logarithm's ends would flatten everything between them.
        seen = np.concatenate([values, slopes])
        axes.set_ylim(np.percentile(seen, 4) - 0.2, np.percentile(seen, 96) + 0.2)
        axes.set_title(literal(fill(spec, 30)), fontsize="medium")
        _tidy(axes)
    figure.supxlabel("probability of the right class", fontsize="medium")
    figure.legend(
        [value_line, slope_line], ["loss", "its gradient"], loc="outside upper center", ncols=2, frameon=False
    )
    return figure


def _gamma() -> Figure:
    """The thesis's Fig. 3.1, and what its Fig. 3.4 was meant to show."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    focal_axes, tversky_axes = figure.subplots(1, 2)
    focals = {"0 (cross-entropy)": 0.0, "0.5": 0.5, "1": 1.0, "2": 2.0, "5": 5.0}
    _family(focal_axes, {label: Focal(alpha=1, gamma=gamma) for label, gamma in focals.items()})
    tverskys = {"3": 3.0, "4/3": 4 / 3, "1 (Tversky)": 1.0, "1/2": 0.5, "1/3": 1 / 3}
    _family(tversky_axes, {label: TverskyFocal(gamma=gamma) for label, gamma in tverskys.items()})
    focal_axes.set(title="Focal (the thesis's Fig. 3.1)", ylim=(0, 5))
    tversky_axes.set(title="Tversky-Focal (the thesis's Fig. 3.4)")
    return figure


def _family(axes: Axes, losses: Mapping[str, Loss]) -> None:
    """One loss by gamma, the highest curve first; colours go from dark to light, as gamma is an order."""
    for shade, (label, loss) in zip(np.linspace(0, 0.85, len(losses)), losses.items(), strict=True):
        p, values, _ = against_probability(loss)
        axes.plot(p, values, color=colormaps["viridis"](shade), label=f"γ = {label}")
    axes.set(xlabel="probability of the right class", ylabel="loss")
    axes.legend(frameon=False, loc="upper right")
    _tidy(axes)


def _points(losses: Mapping[str, Loss]) -> dict[tuple[float, float], str]:
    """The region losses among some: their points, and who lies there."""
    names: dict[tuple[float, float], str] = {}
    for spec, loss in losses.items():
        if isinstance(loss, Region):
            names[loss.plane] = f"{names[loss.plane]}, {spec}" if loss.plane in names else spec
    return names


def _plane(shape: Shape, points: Mapping[tuple[float, float], str]) -> Figure:
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.subplots()
    end = max(1.5, 1.2 * max(map(max, points)))
    weights = np.linspace(0, end, 151)
    surface = axes.contourf(
        weights, weights, over_plane(shape, weights), levels=np.linspace(0, 1, 21), cmap="cividis"
    )
    figure.colorbar(surface, label=f"1 - T(a, b) of {literal(shape.name)}", ticks=np.linspace(0, 1, 6))
    for (a, b), names in points.items():
        axes.plot(a, b, "o", color="white", mec="black", clip_on=False)
        side = 1 if a < end / 2 else -1  # towards the middle, where there is room
        axes.annotate(
            names,
            (a, b),
            xytext=(6 * side, 4),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            bbox=LABEL,
        )
    axes.set(
        title="Region losses are points of one plane",
        xlabel="a: weight of false positives",
        ylabel="b: weight of false negatives",
    )
    return figure


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
