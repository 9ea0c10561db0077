"""Pictures of a genetic search: fitness over generations, and the winner's tree."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from spineloss.figures.formula_tree import draw_tree
from spineloss.files import write_atomically
from spineloss.learned.formula import Evolved
from spineloss.search.evolution import Generation


def draw_fitness(generations: Sequence[Generation], path: Path) -> None:
    """The population's best, mean and standard deviation of fitness against the generation, as SVG."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    numbers = [generation.number for generation in generations]
    means = [100 * generation.mean for generation in generations]
    spreads = [100 * generation.std for generation in generations]
    low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
    high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    axes.fill_between(numbers, low, high, alpha=0.2, label="± standard deviation")
    axes.plot(numbers, means, marker=".", label="mean of the population")
    axes.plot(numbers, [100 * generation.best for generation in generations], marker=".", label="best")
    axes.set(xlabel="generation", ylabel="validation Dice (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    _write(figure, path)


def write_tree(loss: Evolved, path: Path) -> None:
    """The loss's tree and its formula, as SVG."""
    _write(draw_tree(loss), path)


def _write(figure: Figure, path: Path) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="svg"))
