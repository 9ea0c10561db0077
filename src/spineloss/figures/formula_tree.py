"""A formula as a tree."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spineloss.grammar import Formula
from spineloss.learned.formula import MAPS, MEAN, OPERATORS, Evolved

COLOURS = {"operator": "#dbe7f5", "mean": "#f6dfc4", "map": "#d9efd6", "constant": "#eeeeee"}


def draw_tree(loss: Evolved) -> Figure:
    """The loss's tree, leaves side by side; below it the formula."""
    leaves = sum(not node.arguments for node in loss.formula.nodes())
    figure = Figure(figsize=(max(4.0, 0.95 * leaves), 0.8 * _depth(loss.formula) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    _draw(axes, loss.formula, 0, 0)
    axes.set(xlim=(-0.6, leaves - 0.4), ylim=(-_depth(loss.formula) + 0.4, 0.5))
    axes.set_title(f"${loss.latex}$", y=-0.08, va="top")
    return figure


def _draw(axes: Axes, formula: Formula, left: int, depth: int) -> tuple[float, int]:
    """Draw the tree from its first leaf's place on; where its root stands, and the next leaf's place."""
    places, after = [], left
    for argument in formula.arguments:
        place, after = _draw(axes, argument, after, depth + 1)
        places.append(place)
    here = (places[0] + places[-1]) / 2 if places else float(left)
    for place in places:
        axes.plot([here, place], [-depth, -depth - 1], color="0.6", linewidth=1, zorder=1)
    box = {"boxstyle": "round", "facecolor": COLOURS[_sort(formula)], "edgecolor": "0.6"}
    axes.text(here, -depth, str(formula.head), ha="center", va="center", fontsize=8, bbox=box, zorder=2)
    return here, after if places else left + 1


def _sort(formula: Formula) -> str:
    if formula.head == MEAN:
        return "mean"
    if formula.head in OPERATORS:
        return "operator"
    return "map" if formula.head in MAPS else "constant"


def _depth(formula: Formula) -> int:
    return 1 + max((_depth(argument) for argument in formula.arguments), default=0)
