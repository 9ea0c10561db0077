"""The report's charts, as figures: drawn once for the page and for a paper."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spineloss.analysis.ranking import Ranking
from spineloss.metrics import METRICS
from spineloss.report.content import Content
from spineloss.study.trajectories import figures

INK = "#010203"  # becomes the page's own text colour, light or dark
# Okabe and Ito's colours, which the colour-blind tell apart; lines also differ by their dashes.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a"]
DASHES = ["-", "--", ":", "-."]
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
    cases = sorted(next(iter(values.values())))
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(cases))
    for number, case in enumerate(cases):
        x = [unit.scale * values[method].get(case, math.nan) for method in content.methods]
        y = np.arange(len(content.methods)) + jitter[number]
        axes.plot(x, y, color=INK, lw=1, alpha=0, gid=f"line-{number}")
        for row in range(len(content.methods)):
            axes.plot(x[row], y[row], "o", ms=4, mew=0, alpha=0.65, color=colour(row), gid=f"case-{number}-{row}")
    for row, method in enumerate(content.methods):
        defined = [value for value in values[method].values() if not math.isnan(value)]
        if defined:
            mean = unit.scale * np.mean(defined)
            axes.plot([mean, mean], [row - 0.36, row + 0.36], color=INK, lw=2)
    _name_rows(axes, content.methods)
    axes.set_xlabel(f"{unit.title} ({unit.unit}), one point a case; the bar is the mean")
    return figure


def precision_recall(content: Content) -> Figure:
    """Each fold of each method, and their mean."""
    figure, axes = _figure(6.4, 4.6)
    for number, method in enumerate(content.methods):
        folds = {metric: _last(content, method, metric) for metric in ("recall", "precision")}
        axes.plot(folds["recall"], folds["precision"], "o", ms=4, alpha=0.5, color=colour(number))
        mean = [np.mean(folds["recall"]), np.mean(folds["precision"])]
        axes.plot(
            *mean, "osD^"[number // len(COLOURS) % 4], ms=9, mec=INK, color=colour(number), label=_short(method)
        )
    axes.set(xlabel="Recall (%)", ylabel="Precision (%)")
    _legend(figure, axes)
    return figure


def _last(content: Content, method: str, metric: str) -> list[float]:
    folds = content.curves[method][metric]
    return [100 * fold[max(fold)] for fold in folds if fold]


def curves(content: Content, column: str) -> Figure:
    """A column of the epochs by method: mean over folds, and their spread."""
    unit = METRICS.get(column)
    scale = unit.scale if unit else 1.0
    figure, axes = _figure(7.6, 3.8)
    for number, method in enumerate(content.methods):
        folds = [fold for fold in content.curves[method][column] if fold]
        if not folds:
            continue
        epochs = sorted(set.intersection(*(set(fold) for fold in folds)))
        table = scale * np.array([[fold[epoch] for epoch in epochs] for fold in folds])
        mean = table.mean(0)
        axes.plot(epochs, mean, color=colour(number), ls=dash(number), label=_short(method))
        axes.fill_between(epochs, table.min(0), table.max(0), color=colour(number), alpha=0.12, lw=0)
    title = f"{unit.title} ({unit.unit})" if unit else CURVE_TITLES[column]
    axes.set(xlabel="Epoch", ylabel=title)
    if column == "train_loss":
        axes.set_yscale("symlog", linthresh=1)
    _legend(figure, axes)
    return figure


def trajectories(content: Content) -> dict[str, Figure]:
    """Method -> its weights or parameters against the training step, a panel a fold (the seed's Figs. 8.5, 8.6)."""
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    clear = ("axes.facecolor", "figure.facecolor", "legend.facecolor")
    with matplotlib.rc_context(dict.fromkeys(ink, INK) | dict.fromkeys(clear, "none")):
        return dict(figures(content.study, content.folder))


def ranks(ranking: Ranking, metric: str) -> Figure:
    """The critical-difference diagram: methods joined by a bar are not told apart."""
    methods = list(ranking.mean_ranks)
    figure, axes = _figure(7.6, 0.34 * len(methods) + 1.0 + 0.12 * len(ranking.groups))
    for row, rank in enumerate(ranking.mean_ranks.values()):
        axes.plot([1, rank], [row, row], color=INK, lw=0.6, alpha=0.3)
        axes.plot(rank, row, "o", color=COLOURS[0])
        axes.annotate(
            f"{rank:.2f}", (rank, row), xytext=(7, -3), textcoords="offset points", color=INK, fontsize=8
        )
    for level, group in enumerate(group for group in ranking.groups if len(group) > 1):
        ends = [ranking.mean_ranks[method] for method in group]
        y = -0.9 - 0.35 * level
        axes.plot([min(ends) - 0.05, max(ends) + 0.05], [y, y], color=COLOURS[1], lw=3, solid_capstyle="round")
    _name_rows(axes, methods)
    axes.set_xlim(0.9, len(methods) + 0.6)
    axes.set_xlabel(
        f"Mean rank by {METRICS[metric].title} over {ranking.cases} cases; "
        f"critical difference {ranking.critical_difference:.2f}"
    )
    return figure


def histograms(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> Figure:
    """Intensities of every case as it came, and as the network sees it."""
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    figure.patch.set_alpha(0)
    for axes, volumes, title in zip(
        figure.subplots(1, 2), (before, after), ("As it came", "Clipped, rescaled, normalised"), strict=True
    ):
        _tidy(axes)
        low = min(float(np.percentile(volume, 0.1)) for volume in volumes)
        high = max(float(np.percentile(volume, 99.9)) for volume in volumes)
        for volume in volumes:
            share, edges = np.histogram(volume, bins=80, range=(low, high), density=True)
            axes.plot((edges[:-1] + edges[1:]) / 2, share, color=COLOURS[0], lw=0.8, alpha=0.5)
        axes.set(xlabel=f"Intensity. {title}", yticks=[])
        axes.set_ylim(0, None)
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


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    axes.set_yticks(range(len(methods)), [_short(method) for method in methods])
    axes.invert_yaxis()


def _legend(figure: Figure, axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK, fontsize=8)


def _short(method: str) -> str:
    """A method's name as a chart has room for it; dollars would begin a formula."""
    text = method if len(method) <= 36 else f"{method[:35]}…"
    return text.replace("$", r"\$")
