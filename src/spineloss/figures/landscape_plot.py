"""Pictures of loss landscapes."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spineloss.figures.names import literal
from spineloss.results.surface import Surface

COLOURS = "viridis"  # even to the eye, and to the colour-blind
LEVELS = 14


def draw_landscape(surface: Surface, title: str) -> Figure:
    """Each loss as a surface and as a map of its heights, as in the thesis's Fig. 7.1; a cross marks the network.

    Args:
        surface: the losses.
        title: of the figure.
    """
    columns = len(surface.losses)
    figure = Figure(figsize=(max(3.6 * columns, 4.2), 6.2), layout="constrained")
    for column, (name, values) in enumerate(surface.losses.items(), start=1):
        heights = np.ma.masked_invalid(values)
        _relief(figure.add_subplot(2, columns, column, projection="3d"), surface.offsets, heights, name)
        _map(figure, figure.add_subplot(2, columns, columns + column), surface.offsets, heights)
    figure.suptitle(literal(fill(title, 70)))
    return figure


def _relief(axes: Axes, offsets: list[float], heights: np.ma.MaskedArray, name: str) -> None:
    beta, alpha = np.meshgrid(offsets, offsets)
    axes.plot_surface(alpha, beta, heights.filled(np.nan), cmap=COLOURS, rstride=1, cstride=1, lw=0)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_visible(False)
    axes.set_box_aspect(None, zoom=1.15)
    axes.set_title(literal(fill(name, 34)), fontsize="medium")
    axes.set(xlabel=r"$\alpha$", ylabel=r"$\beta$")


def _map(figure: Figure, axes: Axes, offsets: list[float], heights: np.ma.MaskedArray) -> None:
    drawn = axes.contourf(offsets, offsets, heights.T, levels=LEVELS, cmap=COLOURS)
    axes.contour(drawn, colors="black", linewidths=0.4)
    axes.plot(0, 0, "+", color="white", markersize=12, markeredgewidth=2)
    axes.set(xlabel=r"$\alpha$", ylabel=r"$\beta$", aspect="equal")
    figure.colorbar(drawn, ax=axes, shrink=0.85)
