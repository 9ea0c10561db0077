"""How much of a difference is the cases', how much the luck of training, and how likely its sign is wrong."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spineloss.results.averages import CaseValues, pair_of


@dataclass(frozen=True)
class Spread:
    """A mean difference between two methods, and where its uncertainty comes from.

    `cases` and `trainings` are standard deviations: of a case's difference from the mean difference, and of what
    all cases of a training share (NaN where nothing tells it: one training alone, or one case in each). `error` is
    the standard error of `mean` with both, of `freedom` degrees. `p_false` is the probability that the true mean
    has the other sign.
    """

    mean: float
    cases: float
    trainings: float
    error: float
    freedom: float
    p_false: float


def training_differences(trainings: Sequence[CaseValues], method: str, reference: str) -> list[dict[str, float]]:
    """Case -> method - reference, of each training in which both have cases with a finite value.

    Args:
        trainings: the values of each fold and repeat by itself.
        method: its values are the first of the difference.
        reference: its values are subtracted.
    """
    found = []
    for values in trainings:
        mine, theirs = pair_of(values, method, reference)
        differences = {case: value - theirs[case] for case, value in mine.items() if case in theirs}
        finite = {case: value for case, value in differences.items() if math.isfinite(value)}
        if finite:
            found.append(finite)
    return found


def split_variance(trainings: Sequence[Mapping[str, float]]) -> Spread | None:
    """Split the variance of differences into that of cases and that of trainings, by the method of moments.

    A difference is the mean plus a part of its training (a fold in one repeat), a part of its case, and the
    rest: d = mean + t + c + e. Trainings on the same cases are repeats: they tell t from c + e. Without repeats,
    t is what the folds differ by beyond their cases (one-way analysis of variance), so that it includes what
    makes a fold's cases hard for one of the methods. Negative estimates count as 0. The degrees of freedom of
    the mean's standard error are Satterthwaite's, and `p_false` is the tail of Student's t beyond 0: the
    posterior probability of the other sign under a flat prior, and the one-sided p-value.

    Args:
        trainings: case -> difference, of each training.

    Returns:
        None with fewer than two cases, or where every difference is the same.

    References:
        Searle, Casella, McCulloch, Variance components, Wiley 1992, chapters 3 and 4.
        Christodoulou et al., False promises in medical imaging AI? Assessing validity of outperformance claims,
        arXiv 2505.04720, 2025: the same probability, of the cases alone.
    """
    tables = _tables(trainings)
    count = sum(len(table) for table in tables)
    if count < 2 or np.ptp(np.concatenate([table.ravel() for table in tables])) == 0:
        return None
    repeated = any(table.shape[1] > 1 for table in tables)
    parts = _from_repeats(tables) if repeated else _from_folds(tables, count)
    mean = float(sum(table.mean(axis=1).sum() for table in tables) / count)
    shared = parts.trainings * sum(len(table) ** 2 / table.shape[1] for table in tables) / count**2
    own = parts.cases / count + parts.rest * sum(len(table) / table.shape[1] for table in tables) / count**2
    if shared + own == 0:
        return None
    freedom = (shared + own) ** 2 / (
        (shared**2 / parts.trainings_freedom if shared else 0) + own**2 / parts.cases_freedom
    )
    error = math.sqrt(shared + own)
    return Spread(
        mean=mean,
        cases=math.sqrt(parts.cases + parts.rest),
        trainings=math.sqrt(parts.trainings) if parts.trainings_freedom else math.nan,
        error=error,
        freedom=freedom,
        p_false=float(stats.t.sf(abs(mean) / error, freedom)),
    )


def _tables(trainings: Sequence[Mapping[str, float]]) -> list[np.ndarray]:
    """The differences of each fold, (cases, repeats): of the cases that have one in every repeat."""
    folds: list[list[Mapping[str, float]]] = []
    for training in trainings:
        repeats = next((fold for fold in folds if fold[0].keys() & training.keys()), None)
        if repeats is None:
            folds.append([training])
        else:
            repeats.append(training)
    tables = []
    for repeats in folds:
        shared = sorted(set.intersection(*(set(each) for each in repeats)))
        tables.append(np.array([[each[case] for each in repeats] for case in shared]))
    return [table for table in tables if len(table)]


@dataclass(frozen=True)
class _Parts:
    """Variances of trainings, of cases and of the rest, with the degrees of freedom of the first two."""

    trainings: float
    trainings_freedom: int
    cases: float
    cases_freedom: int
    rest: float


def _from_repeats(tables: Sequence[np.ndarray]) -> _Parts:
    """Cases and repeats crossed within each block: two-way tables with one value per cell.

    A case that is alone in its block, as when one case is left out, has only others of its kind to differ from,
    and differs from them by the luck of its trainings, too.
    """
    rest_freedom = sum((n - 1) * (r - 1) for n, r in (table.shape for table in tables))
    trainings_freedom = sum(table.shape[1] - 1 for table in tables)
    cases_freedom = sum(len(table) - 1 for table in tables)
    of_rest = of_trainings = of_cases = 0.0
    for table in tables:
        mean, by_case, by_repeat = (
            table.mean(),
            table.mean(axis=1, keepdims=True),
            table.mean(axis=0, keepdims=True),
        )
        of_rest += float(((table - by_case - by_repeat + mean) ** 2).sum())
        of_trainings += len(table) * float(((by_repeat - mean) ** 2).sum())
        of_cases += table.shape[1] * float(((by_case - mean) ** 2).sum())
    rest = of_rest / rest_freedom if rest_freedom else 0.0
    trainings = (of_trainings - trainings_freedom * rest) / sum(n * (r - 1) for n, r in (t.shape for t in tables))
    trainings = max(trainings, 0.0)
    of_cases -= cases_freedom * rest
    per_case = float(sum(r * (n - 1) for n, r in (table.shape for table in tables)))
    alone = [table for table in tables if len(table) == 1]
    if len(alone) > 1:
        repeats, freedom = float(stats.hmean([table.size for table in alone])), len(alone) - 1
        of_cases += freedom * (
            repeats * float(np.var([table.mean() for table in alone], ddof=1)) - trainings - rest
        )
        per_case += repeats * freedom
        cases_freedom += freedom
    return _Parts(trainings, trainings_freedom, max(of_cases / per_case, 0.0), cases_freedom, rest)


def _from_folds(tables: Sequence[np.ndarray], count: int) -> _Parts:
    """One training per block: between blocks against within."""
    within_freedom, between_freedom = count - len(tables), len(tables) - 1
    values = np.concatenate([table.ravel() for table in tables])
    within = sum(float(((table - table.mean()) ** 2).sum()) for table in tables)
    if not between_freedom or not within_freedom:
        return _Parts(0.0, 0, float(values.var(ddof=1)), count - 1, 0.0)
    within /= within_freedom
    between = sum(len(table) * float((table.mean() - values.mean()) ** 2) for table in tables) / between_freedom
    per_block = (count - sum(len(table) ** 2 for table in tables) / count) / between_freedom
    return _Parts(max((between - within) / per_block, 0.0), between_freedom, within, within_freedom, 0.0)
