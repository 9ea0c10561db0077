"""The report's charts, as figures: drawn once for the page and for a paper."""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from PIL.Image import Image

from spineloss.data.preprocessing import normalise, rescale
from spineloss.figures.landscape_plot import draw_landscape
from spineloss.figures.names import literal
from spineloss.metrics import METRICS
from spineloss.report.content import Content
from spineloss.results.convergence import Convergence
from spineloss.results.ranking import Ranking
from spineloss.study.courses import figures

INK = "#010203"  # becomes the page's own text colour, light or dark
# Okabe and Ito's colours, which the colour-blind tell apart; lines also differ by their dashes.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a"]
DASHES = ["-", "--", ":", "-."]
BINS = 80
CURVE_TITLES = {"train_loss": "Training loss", "learning_rate": "Learning rate"}


def colour(number: int) -> str:
    """The colour of the n-th method."""
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """The dashes of the n-th method's line."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def distributions(content: Content, metric: str) -> Figure:
    """Each case of each method, with the line that joins a case's points."""
    unit, values = METRICS[metric], content.values[metric]
    figure, axes = _figure(8.6, 0.44 * len(content.methods) + 1.1)
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(content.cases))
    for number, case in enumerate(content.cases):
        found = [values[method].get(case, math.nan) for method in content.methods]
        x = [unit.scale * value if math.isfinite(value) else math.nan for value in found]
        y = np.arange(len(content.methods)) + jitter[number]
        axes.plot(x, y, color=INK, lw=1, alpha=0, gid=f"line-{number}")
        for row in range(len(content.methods)):
            axes.plot(x[row], y[row], "o", ms=4, mew=0, alpha=0.75, color=colour(row), gid=f"case-{number}-{row}")
    names = []
    for row, method in enumerate(content.methods):
        mean = unit.scale * content.summary(method, metric).mean
        axes.plot([mean, mean], [row - 0.36, row + 0.36], color=INK, lw=2)
        names.append(_marked(method, _without_point(values[method].values())))
    _name_rows(axes, names)
    axes.set_xlabel(f"{unit.title} ({unit.unit}), one point per case; the bar is the mean")
    if any("†" in name for name in names):
        _note(figure, "† cases without a point: the mean leaves out what was missed or is undefined in them")
    return figure


def _without_point(values: Collection[float]) -> str:
    """How many cases a row of points cannot show, and why."""
    counts = {"missed": sum(map(math.isinf, values)), "undefined": sum(map(math.isnan, values))}
    return ", ".join(f"{count} {why}" for why, count in counts.items() if count)


def precision_recall(content: Content) -> Figure:
    """Each run of each method, and the means of the table."""
    figure, axes = _figure(6.4, 4.6)
    # Where no network ever found anything there is no precision.
    methods = content.methods if "precision" in content.values else []
    for number, method in enumerate(methods):
        if runs := _last_balances(content, method):
            axes.plot(*np.transpose(runs), "o", ms=4, alpha=0.75, color=colour(number))
        recall, precision = (content.summary(method, metric) for metric in ("recall", "precision"))
        mark = "osD^"[number // len(COLOURS) % 4]
        name = _marked(method, f"{precision.missed} missed" if precision.missed else "")
        axes.plot(100 * recall.mean, 100 * precision.mean, mark, ms=9, mec=INK, color=colour(number), label=name)
    axes.set(xlabel="Recall (%)", ylabel="Precision (%)")
    if any(content.summary(method, "precision").missed for method in methods):
        _note(figure, "† missed structures have no precision: the mean leaves them out")
    _legend(figure, axes)
    return figure


def _last_balances(content: Content, method: str) -> list[tuple[float, float]]:
    """Recall and precision in percent at the last epoch of each run where both are defined."""
    recall, precision = (content.curves[method][metric] for metric in ("recall", "precision"))
    # Recall is defined wherever there is a truth: its last epoch is the run's.
    return [
        (100 * of_run[last], 100 * other[last])
        for of_run, other in zip(recall, precision, strict=True)
        if of_run and (last := max(of_run)) in other
    ]


def curves(content: Content, column: str) -> Figure:
    """A column of the epochs by method: mean over runs, and their spread; the last third is shaded.

    A ring is where the mean leaves out a structure that was missed.
    """
    unit = METRICS.get(column)
    scale = unit.scale if unit else 1.0
    figure, axes = _figure(7.6, 3.8)
    ringed = False
    for number, method in enumerate(content.methods):
        runs = [run for run in content.curves[method][column] if run]
        if not runs:
            continue
        epochs = sorted(set.intersection(*(set(run) for run in runs)))
        table = scale * np.array([[run[epoch] for epoch in epochs] for run in runs])
        mean = table.mean(0)
        axes.plot(epochs, mean, color=colour(number), ls=dash(number), label=_short(method))
        axes.fill_between(epochs, table.min(0), table.max(0), color=colour(number), alpha=0.12, lw=0)
        missed = np.isin(epochs, list(content.missed[method].get(column, ())))
        if missed.any():
            axes.plot(np.array(epochs)[missed], mean[missed], "o", ms=5, mfc="none", color=colour(number))
            ringed = True
    axes.axvspan(2 * content.study.epochs / 3, content.study.epochs, color=INK, alpha=0.05, lw=0)
    title = f"{unit.title} ({unit.unit})" if unit else CURVE_TITLES[column]
    axes.set(xlabel="Epoch", ylabel=title)
    if ringed:
        _note(figure, "Where there is a ring, the mean leaves out missed structures")
    if column == "train_loss":
        axes.set_yscale("symlog", linthresh=1)
    _legend(figure, axes)
    return figure


def rank_course(content: Content, convergence: Convergence) -> Figure:
    """The methods' ranks by the deciding metric at each validated epoch; the last third is shaded."""
    figure, axes = _figure(7.6, 3.8)
    epochs = list(convergence.ranks)
    # Methods with fewer trainings than others are not ranked.
    ranked = convergence.ranks[epochs[-1]]
    for number, method in enumerate(content.methods):
        if method not in ranked:
            continue
        ranks = [convergence.ranks[epoch][method] for epoch in epochs]
        axes.plot(epochs, ranks, color=colour(number), ls=dash(number), marker="o", ms=3, label=_short(method))
    axes.axvspan(2 * content.study.epochs / 3, content.study.epochs, color=INK, alpha=0.05, lw=0)
    axes.set(xlabel="Epoch", ylabel=f"Rank by {METRICS[content.decisive].title}")
    axes.set_yticks(range(1, len(ranked) + 1))
    axes.invert_yaxis()
    _legend(figure, axes)
    return figure


def rate_ranges(content: Content) -> Figure:
    """Inner Dice by learning rate for every method, and below it the range within one point of the best."""
    rows = len(content.ranges)
    figure = Figure(figsize=(7.6, 3.4 + 0.3 * rows), layout="constrained")
    figure.patch.set_alpha(0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 0.5 + 0.3 * rows])
    for row, found in enumerate(content.ranges):
        number = content.methods.index(found.method)
        rates = list(found.dice)
        scores = [100 * dice for dice in found.dice.values()]
        above.plot(
            rates, scores, color=colour(number), ls=dash(number), marker="o", ms=4, label=_short(found.method)
        )
        for fold in found.folds:
            above.plot(
                list(fold),
                [100 * dice for dice in fold.values()],
                "o",
                ms=2,
                mew=0,
                alpha=0.6,
                color=colour(number),
            )
        below.plot(
            [found.low, found.high], [row, row], color=colour(number), lw=5, alpha=0.5, solid_capstyle="round"
        )
        below.plot(found.best, row, "o", ms=7, mec=INK, color=colour(number))
    for axes in (above, below):
        _tidy(axes)
        axes.set_xscale("log")
    rates = sorted({rate for found in content.ranges for rate in found.dice})
    below.set_xticks(rates, [f"{rate:g}" for rate in rates])
    below.xaxis.set_minor_locator(NullLocator())
    _name_rows(below, [_short(found.method) for found in content.ranges])
    below.set_ylim(rows - 0.4, -0.6)
    below.set_xlabel("Learning rate")
    above.set_ylabel("Dice on the inner split (%)")
    _legend(figure, above)
    return figure


def trajectories(content: Content) -> dict[str, Figure]:
    """Method -> its weights or parameters against the step, one panel per fold (the thesis's Figs. 8.5, 8.6)."""
    with _page_colours():
        return dict(figures(content.study, content.folder, _short))


def _page_colours() -> AbstractContextManager:
    """Figures drawn elsewhere come in the page's text colour, on no background."""
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    clear = ("axes.facecolor", "figure.facecolor", "legend.facecolor")
    return matplotlib.rc_context(dict.fromkeys(ink, INK) | dict.fromkeys(clear, "none") | {"grid.alpha": 0.1})


def ranks(ranking: Ranking, metric: str, unit: str) -> Figure:
    """The critical-difference diagram: methods joined by a bar are not told apart. The unit is what was ranked."""
    methods = list(ranking.mean_ranks)
    figure, axes = _figure(7.6, 0.34 * len(methods) + 1.0 + 0.12 * len(ranking.groups))
    for row, rank in enumerate(ranking.mean_ranks.values()):
        axes.plot([1, rank], [row, row], color=INK, lw=0.6, alpha=0.3)
        axes.plot(rank, row, "o", color=COLOURS[0])
        axes.annotate(
            f"{rank:.2f}", (rank, row), xytext=(7, -3), textcoords="offset points", color=INK, fontsize=8
        )
    shared = [group for group in ranking.groups if len(group) > 1]
    for level, group in enumerate(shared):
        ends = [ranking.mean_ranks[method] for method in group]
        y = -0.9 - 0.35 * level
        axes.plot([min(ends) - 0.05, max(ends) + 0.05], [y, y], color=COLOURS[1], lw=3, solid_capstyle="round")
    _name_rows(axes, [_short(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.75 - 0.35 * len(shared))
    axes.set_xlim(0.9, len(methods) + 0.6)
    axes.set_xlabel(
        f"Mean rank by {METRICS[metric].title} over {ranking.cases} {unit}; "
        f"critical difference {ranking.critical_difference:.2f}"
    )
    return figure


def histograms(volumes: Sequence[np.ndarray]) -> Figure:
    """Intensities after each step of preprocessing (the thesis's Figs. 6.5 and 6.6).

    A line is the mean over the cases; its band holds all but the lowest and highest tenth of them.
    """
    steps = {"As it came": lambda volume: volume, "Clipped, rescaled": rescale, "Normalised": normalise}
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    figure.patch.set_alpha(0)
    for axes, (title, step) in zip(figure.subplots(1, len(steps)), steps.items(), strict=True):
        _tidy(axes)
        changed = [step(volume) for volume in volumes]
        edges = _edges(changed)
        shares = [np.histogram(volume, bins=edges, density=True)[0] for volume in changed]
        centres = (edges[:-1] + edges[1:]) / 2
        axes.fill_between(centres, *np.percentile(shares, [10, 90], axis=0), color=COLOURS[0], alpha=0.25, lw=0)
        axes.plot(centres, np.mean(shares, axis=0), color=COLOURS[0])
        axes.set(xlabel=title, yticks=[])
        axes.set_ylim(0, None)
    figure.supylabel("Density of intensity", fontsize="medium", color=INK)
    return figure


def _edges(volumes: Sequence[np.ndarray]) -> np.ndarray:
    """Bins that all volumes share; where intensities are whole, each holds as many of them."""
    low = min(float(np.percentile(volume, 0.1)) for volume in volumes)
    high = max(float(np.percentile(volume, 99.9)) for volume in volumes)
    if all(np.array_equal(volume, np.round(volume)) for volume in volumes):
        width = max(1, round((high - low) / BINS))
        return np.arange(math.floor(low), high + width + 1, width) - 0.5
    return np.linspace(low, max(high, low + 1e-6), BINS + 1)


def labels(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Each label's share of a case's foreground: the mean as a bar, one point a case (the thesis's Fig. 6.2)."""
    names = list(dict.fromkeys(label for found in shares.values() for label in found))
    figure, axes = _figure(8.6, 2.6)
    for place, label in enumerate(names):
        values = [100 * found.get(label, 0.0) for found in shares.values()]
        axes.bar(place, np.mean(values), color=COLOURS[0], alpha=0.6)
        jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
        axes.plot(place + jitter, values, "o", ms=3, mew=0, alpha=0.6, color=COLOURS[1])
    axes.set_xticks(range(len(names)), [_short(name) for name in names])
    axes.set(xlabel="Label", ylabel="Of the foreground (%)")
    return figure


def landscapes(content: Content) -> dict[str, Figure]:
    """Method and fold -> the loss landscape around that run's network, of every run that has one."""
    with _page_colours():
        return {name: draw_landscape(surface, name) for name, surface in content.landscapes.items()}


def strips(rows: Mapping[str, Sequence[tuple[str, Image]]]) -> Figure:
    """Pictures in rows, a method each, their captions above them; a paper's form of the page's tables."""
    columns = max(map(len, rows.values()))
    shape = max(picture.width / picture.height for pictures in rows.values() for _, picture in pictures)
    figure = Figure(figsize=(max(1.0, 1.6 * shape) * columns + 1.3, 1.9 * len(rows)), layout="constrained")
    for axes in (grid := figure.subplots(len(rows), columns, squeeze=False)).flat:
        axes.set_axis_off()
    for line, (method, pictures) in zip(grid, rows.items(), strict=True):
        line[0].text(-0.1, 0.5, fill(_short(method), 18), ha="right", va="center", transform=line[0].transAxes)
        for axes, (caption, picture) in zip(line, pictures, strict=False):
            axes.imshow(picture, cmap="gray")
            axes.set_title(literal(caption), fontsize=7)
    return figure


def foreground(shares: dict[str, float]) -> Figure:
    """The share of each case's voxels that is foreground."""
    figure, axes = _figure(8.6, 2.6)
    order = sorted(shares, key=lambda case: shares[case])
    axes.bar(range(len(order)), [100 * shares[case] for case in order], color=COLOURS[0])
    axes.set(ylabel="Foreground (%)", xlabel="Cases, from the least foreground to the most", xticks=[])
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.patch.set_alpha(0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(INK)
    axes.tick_params(colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
    axes.grid(color=INK, alpha=0.1)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def _legend(figure: Figure, axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK, fontsize=8)


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=8, color=INK)


def _short(name: str) -> str:
    """A name as a chart has room for it."""
    return literal(name if len(name) <= 36 else f"{name[:35]}…")


def _marked(method: str, left_out: str) -> str:
    """A method's name, with a dagger where its mean leaves something out."""
    return f"{_short(method)}† ({left_out})" if left_out else _short(method)
