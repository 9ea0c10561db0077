"""The gallery of losses, from their declarations: a new loss of the library appears by itself."""

import re
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from spineloss.lossbook.catalogue import Entry, entries
from spineloss.lossbook.curves import against_probability, on_shape
from spineloss.lossbook.shapes import toy_shapes
from spineloss.text import parse

COSTS = Path(__file__).parents[2] / "benchmarks" / "results" / "losses.md"
BAR = r"\vert "
SHADES = {
    "light": {"text": "#1b1b1b", "value": "#0b5c7a", "slope": "#b3541e", "grid": "#00000018"},
    "dark": {"text": "#d6d6d6", "value": "#7cc4de", "slope": "#e8a87c", "grid": "#ffffff22"},
}


def write(folder: Path) -> None:
    """A page for each loss, and one that shows them all."""
    pages = folder / "losses"
    pages.mkdir(parents=True, exist_ok=True)
    costs = _costs()
    found = entries()
    for entry in found:
        for shade in SHADES:
            _draw(entry, shade, pages / f"{entry.name}-{shade}.svg")
        (pages / f"{entry.name}.md").write_text(_page(entry, costs), encoding="utf-8")
    (folder / "losses.md").write_text(_overview(found), encoding="utf-8")


def _overview(found: list[Entry]) -> str:
    lines = [
        "# Gallery of losses",
        "",
        "Every loss of the library; a study names them as they are written here.",
        "",
    ]
    for category in dict.fromkeys(entry.category for entry in found):
        members = [entry for entry in found if entry.category == category]
        lines += [f"## {category.capitalize()}", "", "| loss | equation | use it |", "| --- | --- | --- |"]
        lines += [f"| [`{one.name}`](losses/{one.name}.md) | {_equation(one)} | {one.use} |" for one in members]
        lines += [""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *(f"losses/{one.name}" for one in found), "```", ""])


def _page(entry: Entry, costs: dict[str, str]) -> str:
    lines = [f"# `{entry.name}`", "", "```{math}", entry.equation, "```", ""]
    lines += [f"**When to use it.** {entry.use}", ""]
    for shade in SHADES:
        lines += [f"```{{image}} {entry.name}-{shade}.svg", f":class: only-{shade}"]
        lines += [f":alt: Value and slope of {entry.name}, and its gradient on small shapes", "```", ""]
    lines += [
        "Left: its value and slope where every voxel of an image, half of it foreground, is right with the same",
        "probability. Right: the shapes of the thesis's chapter 3.6, predicted with probabilities 0.9 and 0.1.",
        "Outlined is the truth; the colour is the step that each voxel's logit gets (orange: up, violet: down).",
        "",
    ]
    cost = costs.get(entry.name)
    lines += [f"**Cost.** {cost} ([all](/generated/benchmarks-losses.md)).", ""] if cost else []
    place = f"{type(parse(entry.example)).__module__}.{type(parse(entry.example)).__name__}"
    text = ["## In a study", "", "```", entry.example, "```", "", "## In Python", ""]
    return "\n".join([*lines, *text, "```{eval-rst}", f".. autoclass:: {place}", "```", ""])


def _equation(entry: Entry) -> str:
    return f"${entry.equation.replace('|', BAR)}$"  # a bar would end the cell of a table


def _costs() -> dict[str, str]:
    """The cost of each loss that was measured, beside MONAI's, as a sentence: from the table of the benchmark."""
    title, *_ = (text := COSTS.read_text(encoding="utf-8")).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    columns, found = rows[0], {}
    for row in rows[2:]:
        cells = dict(zip(columns, row, strict=True))
        name = re.match(r"`(\w+)", cells["loss"])
        if name is None or "+" in cells["loss"]:
            continue
        beside = f"; MONAI's takes {cells['MONAI ms']} ms" if cells["MONAI ms"] else ""
        found[name[1]] = f"{cells['ms']} ms forward and backward {title.partition('backward ')[2]}{beside}"
    return found


def _draw(entry: Entry, shade: str, path: Path) -> None:
    colours, loss = SHADES[shade], parse(entry.example)
    style = {
        "axes.edgecolor": colours["text"], "axes.labelcolor": colours["text"], "text.color": colours["text"],
        "xtick.color": colours["text"], "ytick.color": colours["text"], "font.size": 9, "svg.hashsalt": entry.name,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(9, 3.0), layout="constrained")
        curve, toys = figure.subfigures(1, 2, width_ratios=(1, 1.5))
        axes = curve.subplots()
        probabilities, values, slopes = against_probability(loss)
        axes.plot(probabilities, values, color=colours["value"], label="value")
        axes.plot(probabilities, slopes, color=colours["slope"], label="slope", linestyle="--")
        middle = np.abs(slopes[len(slopes) // 50 : -len(slopes) // 50])
        low, high = min(values.min(), -middle.max()), max(values.max(), 0.0)
        axes.set_ylim(max(low, -5 * max(high, 1e-3)) * 1.05, min(high, 10) * 1.05)
        axes.set_xlabel("probability of being right")
        axes.grid(color=colours["grid"])
        axes.legend(frameon=False)
        _draw_toys(toys, loss, colours)
        figure.savefig(path, transparent=True, metadata={"Date": None})


def _draw_toys(figure, loss: torch.nn.Module, colours: dict[str, str]) -> None:
    panels = figure.subplots(2, 4)
    for axes, shape in zip(panels.flat, toy_shapes(), strict=True):
        value, gradient = on_shape(loss, shape)
        peak = np.abs(gradient).max() or 1.0
        axes.imshow(-gradient, cmap="PuOr_r", vmin=-peak, vmax=peak)
        axes.contour(shape.truth, levels=[0.5], colors=colours["text"], linewidths=1)
        axes.set_title(f"{shape.name.replace('_', ' ')}\n{value:.3g}", fontsize=8)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
