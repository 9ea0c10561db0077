"""Methods compared case by case on one metric: intervals, paired tests, effects, verdicts, cases still needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from spineloss.errors import UserError
from spineloss.results.averages import CaseValues, pair_of
from spineloss.results.sample_size import more_cases
from spineloss.seeding import generator

ALPHA = 0.05
RESAMPLES = 9999
DIGITS = 12  # in which equal values agree, however they were computed
FAR = 1e6  # stands for infinitely bad in ranks: beyond any distance in mm, and any share

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval; NaN where it is undefined."""

    low: float
    high: float


@dataclass(frozen=True)
class Level:
    """A method alone: the mean over the `cases` that have a value, and its interval.

    `undefined` cases have no value; in `missed` ones the method found nothing of a structure that is there, so
    that the mean of the others is too good.
    """

    mean: float
    interval: Interval
    cases: int
    undefined: int
    missed: int


@dataclass(frozen=True)
class Contrast:
    """A method against the reference, case by case: the differences are method - reference.

    `cases` are compared, `left_out` lack a value. In `missed` ones of the compared just one of the two missed a
    structure: they count as the worst in all that goes by ranks (effect, p, verdict), not in mean, interval and
    median. `effect` is the rank-biserial correlation in [-1, 1]. `p` is the Wilcoxon test's, `p_holm` the same
    corrected, `p_equivalent` of equivalence, corrected (none without a margin).
    `more_cases` is what an undecided pair still needs (infinite if the data point nowhere), else 0. `fold_means`
    are the mean differences of the folds (infinite where all cases of one are missed), `folds_p` of the
    Kruskal-Wallis test whether they differ more than their cases explain (NaN where it is undefined).
    """

    cases: int
    left_out: int
    missed: int
    mean: float
    interval: Interval
    median: float
    effect: float
    p: float
    p_holm: float
    p_equivalent: float | None
    verdict: Verdict
    more_cases: float
    fold_means: tuple[float, ...]
    folds_p: float

    @property
    def agreeing_folds(self) -> int:
        """The folds in which the mean difference points the same way as over all cases."""
        return sum(mean * self.mean > 0 for mean in self.fold_means)

    @property
    def training_may_explain(self) -> bool:
        """Do the folds differ more than their cases explain, and by more than the difference itself?"""
        return self.folds_p < ALPHA and max(self.fold_means) - min(self.fold_means) > abs(self.mean)


@dataclass(frozen=True)
class Pick:
    """What a method was picked as the best by: its mean over the `cases` that all methods of the choice have."""

    mean: float
    cases: int


@dataclass(frozen=True)
class Comparison:
    """All methods on one metric, and each other method against the reference; `unit` is what a case is called."""

    reference: str
    picked: bool
    margin: float | None
    unit: str
    levels: dict[str, Level]
    contrasts: dict[str, Contrast]


def shared_cases(values: CaseValues) -> list[str]:
    """The cases at which every method has a value; a method without any is not counted."""
    defined = [{case for case, value in cases.items() if not math.isnan(value)} for cases in values.values()]
    return sorted(set.intersection(*filter(None, defined))) if any(defined) else []


def best_method(values: CaseValues, *, higher_is_better: bool) -> str:
    """The method with the best mean over the cases that all methods share; fewer missed structures go first.

    Args:
        values: method -> case -> value.
        higher_is_better: of the metric.

    Raises:
        UserError: no case is defined for every method.
    """
    cases = shared_cases(values)
    if not cases:
        raise UserError(
            "No case has a value of every method, so none is best: name a reference, or another metric."
        )
    sign = 1 if higher_is_better else -1
    candidates = [method for method in values if not math.isnan(values[method].get(cases[0], math.nan))]

    def quality(method: str) -> float:
        return sign * math.fsum(min(max(values[method][case], -FAR), FAR) for case in cases)

    return max(candidates, key=quality)


def picked_by(values: CaseValues, method: str) -> Pick:
    """What `best_method` has seen of the method that it found; missed structures are left out of the mean.

    Args:
        values: the same as it had.
        method: the best of them.
    """
    found = np.array([values[method][case] for case in shared_cases(values)])
    finite = found[np.isfinite(found)]
    return Pick(_mean(finite), len(finite))


def compare(
    values: CaseValues,
    reference: str,
    *,
    higher_is_better: bool,
    picked: bool = False,
    margin: float | None = None,
    folds: Sequence[CaseValues] = (),
    unit: str = "cases",
    resamples: int = RESAMPLES,
) -> Comparison:
    """Every method against a reference, on the cases that both have.

    A difference is tested by the Wilcoxon signed-rank test, equivalence by two of them, one-sided, at the ends of
    the margin. Holm's method corrects the p-values of either question over the comparisons, so that any false
    verdict of better or worse, and any of equivalent, has a probability of 5 % at most. The verdict is the first
    that holds of: equivalent, better or worse, undecided.

    Args:
        values: method -> case -> value; NaN where undefined, infinite where a structure was missed.
        reference: one of the methods.
        higher_is_better: of the metric.
        picked: the reference was picked by looking at these values, as by `best_method`. Picking has compared all
            pairs of methods, so the correction then counts them all.
        margin: differences up to it do not matter to the user; in the values' unit, above 0.
        folds: the values that each fold's networks gave. No verdict depends on them: cases of a fold share their
            two networks, and folds that differ are the sign that the luck of training, not the method, may have
            made a difference. Repeats on the same cases are folds here.
        unit: what the cases are called: `patients`, where each value is a patient's mean.
        resamples: of the bootstrap.

    Raises:
        UserError: an unknown reference, or a margin not above 0.

    References:
        Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
    """
    if reference not in values:
        raise UserError(f"There is no finished method {reference!r}: choose {', '.join(values)}.")
    if margin is not None and not margin > 0:
        raise UserError(f"A margin of {margin:g} holds no difference: choose one above 0.")
    others = [method for method in values if method != reference]
    family = [(method, reference) for method in others]
    if picked:
        family += combinations(others, 2)
    differences = [paired_differences(values, *pair) for pair in family]
    p = [difference_p(found) for found in differences]
    p_holm = holm(p)
    p_equivalent = [] if margin is None else holm([equivalence_p(found, margin) for found in differences])
    level = _level_left(p_holm)
    equivalence = None if margin is None else (margin, _level_left(p_equivalent))
    contrasts = {}
    for index, method in enumerate(others):
        found = differences[index]
        equivalent = None if margin is None else p_equivalent[index]
        verdict = _verdict(found, p_holm[index], equivalent, higher_is_better)
        by_fold = [of_fold for fold in folds if len(of_fold := paired_differences(fold, method, reference))]
        finite = found[np.isfinite(found)]
        contrasts[method] = Contrast(
            cases=len(found),
            left_out=len(values[method].keys() | values[reference].keys()) - len(found),
            missed=len(found) - len(finite),
            mean=_mean(finite),
            interval=bootstrap_interval(finite, "difference", method, reference, resamples=resamples),
            median=float(np.median(finite)) if len(finite) else math.nan,
            effect=rank_biserial(found),
            p=p[index],
            p_holm=p_holm[index],
            p_equivalent=equivalent,
            verdict=verdict,
            more_cases=more_cases(in_ranks(found), level, equivalence) if verdict == "undecided" else 0,
            fold_means=tuple(map(_fold_mean, by_fold)),
            folds_p=_folds_p(by_fold),
        )
    levels = {method: _level(method, values[method], resamples) for method in values}
    return Comparison(reference, picked, margin, unit, levels, contrasts)


def _level_left(corrected: Sequence[float]) -> float:
    """The level of the next of Holm's steps: shared by what is not yet decided."""
    return ALPHA / max(sum(value >= ALPHA for value in corrected), 1)


def _fold_mean(differences: np.ndarray) -> float:
    """The mean of a fold; where a structure was missed in each of its cases, as far off as those are by rank."""
    finite = differences[np.isfinite(differences)]
    if len(finite):
        return _mean(finite)
    middle = float(np.median(in_ranks(differences)))
    return math.copysign(math.inf, middle) if middle else 0.0


def _folds_p(by_fold: Sequence[np.ndarray]) -> float:
    ranked = [in_ranks(fold) for fold in by_fold]
    if len(ranked) < 2 or np.ptp(np.concatenate(ranked)) == 0:
        return math.nan
    return float(stats.kruskal(*ranked).pvalue)


def _level(method: str, cases: Mapping[str, float], resamples: int) -> Level:
    every = np.array([cases[case] for case in sorted(cases)])
    finite = every[np.isfinite(every)]
    interval = bootstrap_interval(finite, "mean", method, resamples=resamples)
    missed = int(np.isinf(every).sum())
    return Level(_mean(finite), interval, len(finite), len(every) - len(finite), missed)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _verdict(
    differences: np.ndarray, p_holm: float, p_equivalent: float | None, higher_is_better: bool
) -> Verdict:
    if p_equivalent is not None and p_equivalent < ALPHA:
        return "equivalent"
    if p_holm < ALPHA:
        return "better" if (rank_biserial(differences) > 0) == higher_is_better else "worse"
    return "undecided"


def paired_differences(values: CaseValues, method: str, reference: str) -> np.ndarray:
    """Method - reference at each case where both are defined, in the order of the case ids.

    Infinite where one of them missed a structure, 0 where both did. Rounded, as 2/3 - 1/3 and 1 - 2/3 are a tie.
    """
    mine, theirs = pair_of(values, method, reference)
    both = np.array([(mine[case], theirs[case]) for case in sorted(mine.keys() & theirs.keys())]).reshape(-1, 2)
    first, second = both[~np.isnan(both).any(axis=1)].T
    alike = np.isinf(first) & np.isinf(second)
    return rounded(np.where(alike, 0, first) - np.where(alike, 0, second), both)


def rounded(values: np.ndarray, operands: np.ndarray) -> np.ndarray:
    """Values to the digits that are no noise of what they were computed from: noise breaks the ties of ranks."""
    largest = np.abs(operands[np.isfinite(operands)]).max(initial=0)
    return np.round(values, DIGITS - math.ceil(math.log10(largest))) if largest > 0 else values


def in_ranks(values: np.ndarray) -> np.ndarray:
    """The values with infinite ones as finite ones beyond all others, for what goes by ranks alone."""
    return np.clip(values, -FAR, FAR)


def difference_p(differences: np.ndarray, alternative: str = "two-sided") -> float:
    """The Wilcoxon signed-rank test's p-value; 1 where no case differs.

    Args:
        differences: (cases,) paired differences; zeros are left out, as Wilcoxon did.
        alternative: `two-sided`, `greater` or `less`.
    """
    nonzero = in_ranks(differences[differences != 0])
    if not len(nonzero):
        return 1.0
    return float(stats.wilcoxon(nonzero, alternative=alternative).pvalue)


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """The larger p-value of two one-sided Wilcoxon tests: differences above -margin, and below +margin.

    References:
        Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokinet. Biopharm. 15, 1987.
    """
    if not len(differences):
        return 1.0
    operands = np.append(differences, margin)
    above, below = (rounded(differences + end, operands) for end in (margin, -margin))
    return max(difference_p(above, "greater"), difference_p(below, "less"))


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected so that the probability of any false rejection among them stays below the level.

    The i-th smallest of m is multiplied by m - i + 1, and none becomes smaller than one before it.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6, 1979.

    >>> holm([0.03, 0.01, 0.02])
    [0.04, 0.03, 0.04]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.arange(len(p), 0, -1) * np.asarray(p)[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def rank_biserial(differences: np.ndarray) -> float:
    """The matched-pairs rank-biserial correlation, (W+ - W-) / (W+ + W-), W the rank sums of the Wilcoxon test.

    Returns:
        1 if every case that differs is higher than the reference's, -1 if lower, 0 in balance or where none does.

    References:
        Kerby, The simple difference formula, Comprehensive Psychology 3, 2014.

    >>> rank_biserial(np.array([3.0, 2.0, -1.0]))
    0.6666666666666666
    """
    nonzero = in_ranks(differences[differences != 0])
    if not len(nonzero):
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def bootstrap_interval(values: np.ndarray, *key: str, resamples: int = RESAMPLES) -> Interval:
    """The BCa bootstrap interval of the mean over cases, 95 %.

    BCa, because scores near a bound are skewed: it follows the skew, the percentile interval does not.

    Args:
        values: (cases,) one value per case.
        key: names what is resampled; the same key and values give the same interval.
        resamples: drawn.

    Returns:
        NaN with fewer than two cases.

    References:
        Efron, Better bootstrap confidence intervals, JASA 82, 1987.
    """
    if len(values) < 2:
        return Interval(math.nan, math.nan)
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, method="BCa", rng=generator("bootstrap", *key)
    )
    return Interval(*map(float, found.confidence_interval))
