"""Training curves simulated with a known truth: how often the verdicts on convergence are right.

.venv/bin/python benchmarks/convergence.py
"""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from comparison import rate, table
from machine import describe, write
from spineloss.results.convergence import MATTERS, converge
from spineloss.results.records import Record

EPOCHS, LEVEL, STUDIES = 60, 0.8, 300
NOISE = 0.005  # of the mean of a validation, from epoch to epoch
MEMORY = 0.5  # correlation of the noise of neighbouring epochs


def main() -> None:
    """Run every simulation and write the page."""
    parts = [states(), noise(), validations(), slopes(), false_crossings(), true_crossings()]
    head = [
        "# How often a verdict on convergence is right",
        "Curves simulated with a known truth, by `benchmarks/convergence.py`: a run rises to a Dice of "
        f"{LEVEL:g} within {EPOCHS} epochs, with an offset of its own (deviation 0.02) and noise from epoch to "
        f"epoch (deviation {NOISE:g} unless said otherwise, correlation {MEMORY:g} between neighbouring epochs). "
        "Over the last third it gains what the table says, a third more or less in each run. A gain matters from "
        f"{100 * MATTERS:g} % of the final level, {100 * MATTERS * LEVEL:g} points here. Rates with the standard "
        "error of the simulation.",
    ]
    made = f"{time.process_time():.0f} s of processor time; {describe('numpy', 'scipy')}"
    write("convergence.md", ["\n\n".join([*head, *parts, made])])


def run_curve(
    random: np.random.Generator,
    gain: float,
    noise: float = NOISE,
    every: int = 3,
    level: float = LEVEL,
    scatter_of_gains: float = 0.0,
) -> dict[int, float]:
    """Epoch -> Dice of a run that is at the level at the end, and gains this much over the last third."""
    epochs = np.arange(1, EPOCHS + 1)
    own = gain * (1 + 0.3 * random.normal()) + scatter_of_gains * random.normal()
    truth = level - 0.4 * np.exp(-epochs / 4) + own * (epochs - EPOCHS) / (EPOCHS / 3) + 0.02 * random.normal()
    scatter = random.normal(size=EPOCHS)
    for epoch in range(1, EPOCHS):
        scatter[epoch] = MEMORY * scatter[epoch - 1] + (1 - MEMORY**2) ** 0.5 * scatter[epoch]
    curve = truth + noise * scatter
    return {int(epoch): float(curve[epoch - 1]) for epoch in epochs[every - 1 :: every]}


def record(method: str, fold: int, curve: dict[int, float]) -> Record:
    """A run with this curve of validation Dice."""
    scores = {epoch: {("case", "all"): {"dice": value}} for epoch, value in curve.items()}
    return Record(method, 0, fold, scores)


def judged(studies: int, runs: int, gain: float, **options) -> Counter[str]:
    """The states that a method is given in so many studies."""
    random = np.random.default_rng(17)
    found: Counter[str] = Counter()
    for _ in range(studies):
        records = [record("m", run, run_curve(random, gain, **options)) for run in range(runs)]
        found[converge(records, "dice").trends["m"].state] += 1
    return found


def shares(found: Counter[str]) -> list[str]:
    """How often a method was called rising, flat and unclear."""
    total = sum(found.values())
    named = ("rising", "flat", "unclear")
    return [rate([True] * found[state] + [False] * (total - found[state])) for state in named]


STATE_HEAD = ["called rising", "called flat", "called unclear"]


def states() -> str:
    """Every verdict by the true gain and the number of runs."""

    def rows() -> Iterator[list[str]]:
        for runs in (1, 3, 9):
            for gain in (0.0, 0.5, 1.0, 2.0, 4.0):
                points = gain * MATTERS * LEVEL
                yield [str(runs), f"{100 * points:.1f}", *shares(judged(STUDIES, runs, points))]

    return table(
        "The state of one method",
        "Validated every third epoch. Wrong are: rising at a gain of 0, and flat at a gain of 0.8 points or more. "
        "Both stay near 5 % with three runs or more.",
        ["runs", "true gain (points)", *STATE_HEAD],
        rows(),
    )


def noise() -> str:
    """Every verdict by the noise."""

    def rows() -> Iterator[list[str]]:
        for deviation in (0.0025, 0.01, 0.02):
            for gain in (0.0, 1.0, 4.0):
                points = gain * MATTERS * LEVEL
                found = judged(STUDIES, 3, points, noise=deviation)
                yield [f"{100 * deviation:.2f}", f"{100 * points:.1f}", *shares(found)]

    return table(
        "By the noise of a validation",
        "Three runs. What noise hides becomes unclear, not flat.",
        ["noise (points)", "true gain (points)", *STATE_HEAD],
        rows(),
    )


def validations() -> str:
    """Every verdict by how often is validated."""

    def rows() -> Iterator[list[str]]:
        for every in (1, 3, 5, 6):
            for gain in (0.0, 1.0, 4.0):
                points = gain * MATTERS * LEVEL
                yield [str(every), f"{100 * points:.1f}", *shares(judged(STUDIES, 3, points, every=every))]

    return table(
        "By how often is validated",
        "Three runs.",
        ["validated every", "true gain (points)", *STATE_HEAD],
        rows(),
    )


def slopes() -> str:
    """Every verdict by how much the runs differ in what they gain."""

    def rows() -> Iterator[list[str]]:
        for runs in (3, 6):
            for scatter in (0.0, 0.005, 0.02):
                for gain in (0.0, 1.0, 4.0):
                    points = gain * MATTERS * LEVEL
                    found = shares(judged(STUDIES, runs, points, scatter_of_gains=scatter))
                    yield [str(runs), f"{100 * scatter:.1f}", f"{100 * points:.1f}", *found]

    return table(
        "By how much runs differ in what they gain",
        "Beside the third said above, each run gains so much more or less by luck.",
        ["runs", "deviation of gains (points)", "true gain (points)", *STATE_HEAD],
        rows(),
    )


def crossings(methods: int, gap: float, approach: float, **options) -> float | str:
    """How often any pair is said to cross: a leader by the gap at the end, on which one other gains so much."""
    random = np.random.default_rng(23)
    hits = []
    for _ in range(STUDIES):
        records = [record("leader", run, run_curve(random, 0.0, **options)) for run in range(3)]
        for other in range(1, methods):
            gain = approach if other == 1 else 0.0
            curves = [run_curve(random, gain, level=LEVEL - gap, **options) for _ in range(3)]
            records += [record(f"m{other}", run, curve) for run, curve in enumerate(curves)]
        hits.append(bool(converge(records, "dice").crossing))
    return rate(hits)


def false_crossings() -> str:
    """How often methods are said to cross that run in parallel."""

    def rows() -> Iterator[list[str]]:
        for scatter in (0.0, 0.02):
            for methods in (2, 5, 10):
                for gap in (0.0, 0.005, 0.02):
                    rate_found = crossings(methods, gap, 0.0, scatter_of_gains=scatter)
                    yield [f"{100 * scatter:.1f}", str(methods), f"{100 * gap:.1f}", rate_found]

    return table(
        "Parallel curves: a study with any pair called crossing",
        "Three runs each, no method gains anything; the error is shared out over the pairs with the leader.",
        ["deviation of gains (points)", "methods", "lead of the first (points)", "called crossing"],
        rows(),
    )


def true_crossings() -> str:
    """How often a method that will pass the leader is said to."""

    def rows() -> Iterator[list[str]]:
        for gap, approach in ((0.005, 0.01), (0.01, 0.02), (0.02, 0.04), (0.02, 0.01)):
            passes = "yes" if approach > gap else "no"
            yield [f"{100 * gap:.1f}", f"{100 * approach:.1f}", passes, crossings(5, gap, approach)]

    return table(
        "One of five catches up",
        "Three runs each. By its gain over the last third the second method passes the leader within another "
        "third, or does not.",
        ["lead at the end (points)", "gained on the leader (points)", "passes", "called crossing"],
        rows(),
    )


if __name__ == "__main__":
    main()
