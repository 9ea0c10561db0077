"""Studies simulated with a known truth: how often the verdicts and intervals of a comparison are right.

.venv/bin/python benchmarks/comparison.py
"""

import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from machine import describe, write
from spineloss.results.sample_size import cases_needed
from spineloss.results.statistics import ALPHA, best_method, bootstrap_interval, compare, holm

CASES, FOLDS = 30, 3
# The verdicts do not depend on the intervals, so these need no resamples to speak of.
FEW_RESAMPLES = 19


def main() -> None:
    """Run every simulation and write the page."""
    # So few resamples make degenerate intervals, which nobody reads here.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    parts = [false_verdicts(), training_luck(), false_equivalence(), power(), coverage()]
    head = [
        "# How often a comparison is right",
        "Studies simulated with a known truth, by `benchmarks/comparison.py`. A case's scores share its "
        "difficulty, normal with deviation 1, and each method adds its own, normal with deviation 1. Rates with "
        "the standard error of the simulation.",
    ]
    made = f"{time.process_time():.0f} s of processor time; {describe('numpy', 'scipy')}"
    write("comparison.md", ["\n\n".join([*head, *parts, made])])


def study(generator: np.random.Generator, methods: int, cases: int = CASES, shift: float = 0.0) -> np.ndarray:
    """(methods, cases) scores; the first method is higher by the shift."""
    scores = generator.normal(size=(1, cases)) + generator.normal(size=(methods, cases))
    scores[0] += shift
    return scores


def values_of(scores: np.ndarray) -> dict[str, dict[str, float]]:
    """Scores as method -> case -> value."""
    return {f"m{m}": {f"{c:04}": float(value) for c, value in enumerate(row)} for m, row in enumerate(scores)}


def compared(scores: np.ndarray, picked: bool = False, **options):
    """The comparison of scores with the second method, or with the best."""
    values = values_of(scores)
    reference = best_method(values, higher_is_better=True) if picked else "m1"
    return compare(values, reference, higher_is_better=True, picked=picked, resamples=FEW_RESAMPLES, **options)


def decided(comparison) -> bool:
    """Is any method called better or worse?"""
    return any(pair.verdict in ("better", "worse") for pair in comparison.contrasts.values())


def rate(hits: list[bool]) -> str:
    """A share in percent with its standard error."""
    share = float(np.mean(hits))
    return f"{100 * share:.1f} ± {100 * (share * (1 - share) / len(hits)) ** 0.5:.1f} %"


def table(title: str, text: str, head: list[str], rows: Iterator[list[str]]) -> str:
    """A section with a table."""
    lines = [f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows]]
    return "\n\n".join([f"## {title}", text, "\n".join(lines)])


def false_verdicts() -> str:
    """How often anything is called better or worse where nothing is."""

    def rows() -> Iterator[list[str]]:
        for methods, studies in ((2, 2500), (5, 800), (10, 300)):
            generator = np.random.default_rng(methods)
            chosen, picked, naive = [], [], []
            for _ in range(studies):
                scores = study(generator, methods)
                chosen.append(decided(compared(scores)))
                by_best = compared(scores, picked=True)
                picked.append(decided(by_best))
                naive.append(min(holm([pair.p for pair in by_best.contrasts.values()])) < ALPHA)
            yield [str(methods), str(studies), rate(chosen), rate(picked), rate(naive)]

    return table(
        "No method differs: a study with any verdict of better or worse",
        f"Nominal: 5 %, with {CASES} cases. The last column is what is not done: to compare with the best "
        "as if it had been chosen beforehand.",
        [
            "methods",
            "studies",
            "reference chosen",
            "reference picked as the best",
            "picked, corrected as if chosen",
        ],
        rows(),
    )


def training_luck() -> str:
    """How often training luck, shared by the cases of a fold, is taken for a difference."""

    def rows() -> Iterator[list[str]]:
        fold = np.arange(CASES) % FOLDS
        for luck in (0.0, 0.1, 0.25, 0.5, 1.0):
            generator = np.random.default_rng(3)
            wrong, unseen = [], []
            for _ in range(600):
                scores = study(generator, 2) + luck * generator.normal(size=(2, FOLDS))[:, fold]
                pair = compared(
                    scores, folds=[values_of(scores[:, fold == index]) for index in range(FOLDS)]
                ).contrasts["m0"]
                wrong.append(pair.verdict != "undecided")
                unseen.append(wrong[-1] and not pair.training_may_explain)
            yield [f"{luck:g}", rate(wrong), rate(unseen)]

    return table(
        "No method differs, but each training has its luck",
        f"Two methods, {CASES} cases in {FOLDS} folds. The luck of each method and fold is normal, with a "
        "deviation in units of the cases' own. The tests are over cases and promise nothing here; the caution "
        "about folds sees a part of it. More seeds, averaged within the case, are the remedy.",
        ["luck", "verdict of better or worse", "the same, without a caution"],
        rows(),
    )


def false_equivalence() -> str:
    """How often methods are called equivalent that differ by the margin."""

    def rows() -> Iterator[list[str]]:
        for shift, margin in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.5, 1.0)):
            generator = np.random.default_rng(5)
            hits = [
                compared(study(generator, 2, shift=shift), margin=margin).contrasts["m0"].verdict == "equivalent"
                for _ in range(600)
            ]
            yield [f"{shift:g}", f"{margin:g}", rate(hits)]

    return table(
        "Equivalence",
        f"Two methods, {CASES} cases. At a true difference of the margin or more, at most 5 % may be "
        "called equivalent.",
        ["true difference", "margin", "called equivalent"],
        rows(),
    )


def power() -> str:
    """How often a known difference is found with as many cases as the plan asks for."""

    def rows() -> Iterator[list[str]]:
        for shift in (0.4, 0.6, 0.8, 1.2):
            # A difference has deviation sqrt 2, a sum of two 2: it is above 0 with probability Phi(shift).
            cases = int(cases_needed(stats.norm.cdf(shift), ALPHA / 2))
            generator = np.random.default_rng(11)
            hits = [
                compared(study(generator, 2, cases, shift)).contrasts["m0"].verdict == "better" for _ in range(600)
            ]
            yield [f"{shift:g}", str(cases), rate(hits)]

    return table(
        "Power at the number of cases that is asked for",
        "Two methods. `cases_needed` aims at 80 %.",
        ["true difference", "cases asked for", "found"],
        rows(),
    )


def coverage() -> str:
    """How often the interval of the mean holds the true mean."""
    draws: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
        "normal": (lambda generator, cases: generator.normal(size=cases), 0.0),
        "Dice near its bound, Beta(12, 2)": (lambda generator, cases: generator.beta(12, 2, cases), 12 / 14),
        "distances, lognormal(0, 0.8)": (
            lambda generator, cases: generator.lognormal(0, 0.8, cases),
            np.exp(0.32),
        ),
    }

    def percentile(values: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
        found = stats.bootstrap((values,), np.mean, n_resamples=999, method="percentile", rng=generator)
        return found.confidence_interval

    def rows() -> Iterator[list[str]]:
        for name, (draw, truth) in draws.items():
            for cases in (3, 5, 15, 30, 100):
                generator = np.random.default_rng(13)
                bca, plain = [], []
                for index in range(600):
                    values = draw(generator, cases)
                    found = bootstrap_interval(values, str(index), resamples=999)
                    bca.append(found.low <= truth <= found.high)
                    low, high = percentile(values, generator)
                    plain.append(low <= truth <= high)
                yield [name, str(cases), rate(bca), rate(plain)]

    return table(
        "Intervals that hold the true mean",
        "Nominal: 95 %. BCa is what is used.",
        ["scores", "cases", "BCa", "percentile"],
        rows(),
    )


if __name__ == "__main__":
    main()
