"""The gallery of losses, from their declarations: a new loss of the library appears by itself."""

from io import StringIO
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from spineloss.lossbook.catalogue import Entry, entries
from spineloss.lossbook.curves import against_probability, on_shape
from spineloss.lossbook.shapes import toy_shapes
from spineloss.losses import LOSSES, Loss
from spineloss.losses.distribution import VoxelLoss
from spineloss.losses.region import Region
from spineloss.text import parse

OnePass = Region | VoxelLoss
SUMS = {
    "1.0*dice + 1.0*cross_entropy": "dice_cross_entropy",
    "1.0*dice + 1.0*focal(alpha=1, gamma=2)": "dice_focal",
}
COSTS = Path(__file__).parents[2] / "benchmarks" / "results" / "losses.md"
# What differs between a light page and a dark one; no other colour of the picture may be written the same.
SHADES = {
    "light": {"text": "#1b1b1b", "value": "#0b5c7a", "slope": "#b3541e"},
    "dark": {"text": "#d6d6d6", "value": "#7cc4de", "slope": "#e8a87c"},
}
GRID = "#80808038"
# Steps of a logit: violet down, orange up; where there is none, the page shows through, white or black.
STEPS = LinearSegmentedColormap.from_list("steps", ["#7440c8", "#7440c890", "#80808000", "#d9700090", "#d97000"])
STEP = (12.2, 13.7)  # voxels from one toy shape to the next: right, and down


def write(folder: Path) -> None:
    """A page for each loss, and one that shows them all."""
    pages = folder / "losses"
    pages.mkdir(parents=True, exist_ok=True)
    costs = _costs()
    found = entries()
    for entry in found:
        _draw(entry, pages)
        (pages / f"{entry.name}.md").write_text(_page(entry, costs), encoding="utf-8")
    (folder / "losses.md").write_text(_overview(found), encoding="utf-8")


def _overview(found: list[Entry]) -> str:
    lines = [
        "# Gallery of losses",
        "",
        "Every loss of the library: a study names it, and `spineloss.loss` reads it, as it is written here. A sum",
        "of them is one too: `dice + 0.5*cross_entropy`. A picture shows the value and its slope against the",
        "probability of being right, and the step that each voxel gets on eight small shapes. A name leads to",
        "parameters, cost and paper.",
        "",
    ]
    for category in dict.fromkeys(entry.category for entry in found):
        members = [entry for entry in found if entry.category == category]
        lines += [f"## {category.capitalize()}", "", "::::{container} cards"]
        for one in members:
            lines += [":::{container} card", "", f"[`{one.name}`](losses/{one.name}.md)", ""]
            lines += [*_picture(one, "losses/"), f"${one.equation}$", "", one.use, "", ":::"]
        lines += ["::::", ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *(f"losses/{one.name}" for one in found), "```", ""])


def _picture(entry: Entry, folder: str = "") -> list[str]:
    lines = []
    for shade in SHADES:
        lines += [f"```{{image}} {folder}{entry.name}-{shade}.svg", f":class: only-{shade}"]
        lines += [f":alt: Value and slope of {entry.name}, and its gradient on small shapes", "```", ""]
    return lines


def _page(entry: Entry, costs: dict[str, str]) -> str:
    lines = [f"# `{entry.name}`", "", "```{math}", entry.equation, "```", ""]
    lines += [f"**When to use it, and when not.** {entry.use}", ""]
    lines += _picture(entry)
    lines += [
        "Left: its value and slope where every voxel of an image, half of it foreground, is right with the same",
        "probability. Right: the shapes of the thesis's chapter 3.6, predicted with probabilities 0.9 and 0.1.",
        "Outlined is the truth; the colour is the step that each voxel's logit gets (orange: up, violet: down).",
        "",
    ]
    lines += [f"**Cost.** {_cost(entry.name, costs)} ([all losses](/generated/benchmarks-losses.md)).", ""]
    text = ["## In a study", "", "```", entry.example, "```", "", "## In Python", ""]
    place = f"spineloss.{LOSSES[entry.name].__name__}"
    lines += [*text, "```{eval-rst}", f".. autoclass:: {place}", "```", ""]
    return "\n".join(
        [*lines, "The keyword arguments before these are those of [every loss](/reference/python.md#losses).", ""]
    )


def _costs() -> dict[str, str]:
    """The cost of each loss that was measured, as a sentence: from the table of the benchmark."""
    title, *_ = (text := COSTS.read_text(encoding="utf-8")).splitlines()
    shape = title.partition("backward ")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    columns, found = rows[0], {}
    for row in rows[2:]:
        cells = dict(zip(columns, row, strict=True))
        spec = cells["loss"].strip("`")
        name = SUMS.get(spec, spec.partition("(")[0])
        beside = [f"the plain formula in PyTorch takes {cells['plain / ours']} times as long"]
        beside += [f"MONAI's class {cells['MONAI / ours']} times"] if cells["MONAI ms"] else []
        measured = "" if str(parse(spec)) == str(LOSSES[name]()) else f" of `{spec}`"
        found[name] = (
            f"{cells['ms']} ms and {cells['MiB']} MiB, forward and backward{measured} {shape}; {', '.join(beside)}"
        )
    return found


def _cost(name: str, costs: dict[str, str]) -> str:
    """What was measured of it, or of a loss that makes the same pass over the voxels."""
    loss = LOSSES[name]()
    for other in costs:
        alike = isinstance(loss, OnePass) and loss.columns == LOSSES[other]().columns
        if name == other or (name not in costs and alike and type(loss).__base__ is LOSSES[other].__base__):
            return (
                costs[other]
                if name == other
                else f"As [`{other}`]({other}.md), whose sums over the voxels it takes"
            )
    return "Not measured"


def _draw(entry: Entry, pages: Path) -> None:
    """Its picture, light and dark: one drawing, in whose text the colours are then exchanged."""
    colours, loss = SHADES["light"], parse(entry.example)
    style = {
        "axes.edgecolor": colours["text"], "axes.labelcolor": colours["text"], "text.color": colours["text"],
        "xtick.color": colours["text"], "ytick.color": colours["text"], "font.size": 9, "svg.hashsalt": entry.name,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with rc_context(style), StringIO() as drawn:
        figure = Figure(figsize=(9, 3.0))
        _draw_curve(figure.add_axes((0.06, 0.15, 0.32, 0.83)), loss)
        _draw_toys(figure.add_axes((0.4, 0.01, 0.59, 0.98)), loss)
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
        text = drawn.getvalue()
    for shade, others in SHADES.items():
        for role, colour in colours.items():
            text = text.replace(colour, others[role])
        (pages / f"{entry.name}-{shade}.svg").write_text(text, encoding="utf-8")


def _draw_curve(axes: Axes, loss: Loss) -> None:
    probabilities, values, slopes = against_probability(loss)
    axes.plot(probabilities, values, color=SHADES["light"]["value"], label="value")
    axes.plot(probabilities, slopes, color=SHADES["light"]["slope"], label="slope", linestyle="--")
    middle = np.abs(slopes[len(slopes) // 50 : -len(slopes) // 50])
    low, high = min(values.min(), -middle.max()), max(values.max(), 0.0)
    axes.set_ylim(max(low, -5 * max(high, 1e-3)) * 1.05, min(high, 10) * 1.05)
    axes.set_xlabel("probability of being right")
    axes.grid(color=GRID)
    axes.legend(frameon=False)


def _draw_toys(axes: Axes, loss: Loss) -> None:
    """All of them in one image: axes of their own would take three times as long."""
    for number, shape in enumerate(toy_shapes()):
        (height, width), (row, column) = shape.truth.shape, divmod(number, 4)
        left, top = column * STEP[0], row * STEP[1]
        extent = (left, left + width, top + height, top)
        value, gradient = on_shape(loss, shape)
        peak = np.abs(gradient).max() or 1.0
        axes.imshow(-gradient, cmap=STEPS, vmin=-peak, vmax=peak, extent=extent)
        fine = np.kron(shape.truth, np.ones((8, 8)))  # the outline goes around voxels, not across their corners
        axes.contour(
            fine, levels=[0.5], colors=SHADES["light"]["text"], linewidths=1, extent=extent, origin="upper"
        )
        title = f"{shape.name.replace('_', ' ')}\n{value:.3g}"
        axes.text(left + width / 2, top - 0.4, title, fontsize=8, ha="center", va="bottom")
    axes.set(xlim=(-1, 4 * STEP[0]), ylim=(2 * STEP[1] - 3, -3.2))
    axes.set_axis_off()
