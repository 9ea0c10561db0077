"""Methods ranked within each case: mean ranks, a critical-difference diagram's numbers, the order's stability."""

import math
from dataclasses import dataclass
from itertools import chain, count, islice
from string import ascii_letters

import numpy as np
from scipy import stats

from spineloss.results.averages import CaseValues
from spineloss.results.statistics import ALPHA, RESAMPLES, in_ranks, rounded, shared_cases
from spineloss.seeding import generator


@dataclass(frozen=True)
class Ranking:
    """Rank 1 is best. Methods are in the order of their mean ranks.

    `cases` are ranked, `left_out` lack a value of some method. `groups` are the runs of methods that the Nemenyi
    test does not tell apart (the bars of the diagram). `chances[method][r]` is the share of bootstrap draws of the
    cases in which the method's mean takes rank r + 1 (equal means share the better rank).
    """

    cases: int
    left_out: int
    mean_ranks: dict[str, float]
    friedman_p: float
    critical_difference: float
    groups: list[list[str]]
    chances: dict[str, list[float]]


def rank(values: CaseValues, *, higher_is_better: bool, resamples: int = RESAMPLES) -> Ranking | None:
    """Rank the methods on the cases that all of them have.

    Args:
        values: method -> case -> value; NaN where undefined, infinite where a structure was missed. A method
            without any value is not ranked.
        higher_is_better: of the metric.
        resamples: of the bootstrap.

    Returns:
        None where fewer than two methods, or fewer than two cases, are left.

    References:
        Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
        Wiesenfarth et al., Methods and open-source toolkit for analyzing and visualizing challenge results,
        Scientific Reports 11, 2021.
    """
    methods = [method for method, cases in values.items() if not all(map(math.isnan, cases.values()))]
    cases = shared_cases(values)
    if len(methods) < 2 or len(cases) < 2:
        return None
    sign = -1 if higher_is_better else 1
    table = np.array([[values[method][case] for method in methods] for case in cases])
    badness = in_ranks(sign * rounded(table, table))
    ranks = stats.rankdata(badness, axis=1).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    mean_ranks = {methods[index]: float(ranks[index]) for index in order}
    cd = critical_difference(len(methods), len(cases))
    chances = rank_chances(badness, resamples)
    every_case = {case for found in values.values() for case in found}
    return Ranking(
        cases=len(cases),
        left_out=len(every_case) - len(cases),
        mean_ranks=mean_ranks,
        friedman_p=friedman_p(badness),
        critical_difference=cd,
        groups=indistinct_groups(mean_ranks, cd),
        chances={methods[index]: chances[index].tolist() for index in order},
    )


def friedman_p(badness: np.ndarray) -> float:
    if badness.shape[1] < 3:
        return math.nan
    if np.ptp(badness, axis=1).max() == 0:
        return 1.0
    return float(stats.friedmanchisquare(*badness.T).pvalue)


def critical_difference(methods: int, cases: int) -> float:
    """The Nemenyi test's: mean ranks closer than this are not told apart at 5 %.

    q sqrt(k (k + 1) / (6 n)), q the studentised range's 95 % point over the root of 2.

    Args:
        methods: k, at least 2.
        cases: n, at least 1.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    q = stats.studentized_range.isf(ALPHA, methods, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * cases)))


def indistinct_groups(mean_ranks: dict[str, float], critical_difference: float) -> list[list[str]]:
    """The longest runs of methods whose mean ranks differ by the critical difference at most.

    Args:
        mean_ranks: best first.
        critical_difference: of `critical_difference`.

    >>> indistinct_groups({"a": 1.0, "b": 1.8, "c": 2.5}, 1)
    [['a', 'b'], ['b', 'c']]
    """
    methods = list(mean_ranks)
    groups: list[list[str]] = []
    for start, method in enumerate(methods):
        group = [
            other for other in methods[start:] if mean_ranks[other] - mean_ranks[method] <= critical_difference
        ]
        if not groups or group[-1] != groups[-1][-1]:
            groups.append(group)
    return groups


def group_letters(ranking: Ranking) -> dict[str, str]:
    """Method -> a letter for each group that it belongs to: methods that share one are not told apart.

    After the last letter groups have numbers, (53) and so on.
    """
    numbers = (f"({number})" for number in count(len(ascii_letters) + 1))
    letters = list(islice(chain(ascii_letters, numbers), len(ranking.groups)))
    return {
        method: "".join(letter for letter, group in zip(letters, ranking.groups, strict=True) if method in group)
        for method in ranking.mean_ranks
    }


def rank_chances(badness: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each method takes each rank by its mean, when the cases are drawn again with replacement.

    Args:
        badness: (cases, methods); lower is better.
        resamples: drawn.

    Returns:
        (methods, ranks) shares; each row sums to 1.
    """
    cases, methods = badness.shape
    drawn = generator("ranking").multinomial(cases, np.full(cases, 1 / cases), size=resamples)
    ranks = stats.rankdata(drawn @ badness, method="min", axis=1)
    return np.stack([(ranks == rank).mean(axis=0) for rank in range(1, methods + 1)], axis=1)
