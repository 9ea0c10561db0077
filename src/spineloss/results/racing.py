"""A race of methods: after each round of trainings, who is surely worse, or not better by much, is dropped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from spineloss.results.averages import CaseValues
from spineloss.results.ranking import friedman_p
from spineloss.results.statistics import ALPHA, shared_cases

OUTLIER = 0.01  # probability of a training's deviation that is no measure of luck any more
Reason = Literal["worse", "not better by the margin", "failed"]


@dataclass(frozen=True)
class Rules:
    """When a method is dropped.

    `level` bounds the probability that the best is dropped though it is better than the winner by `margin` or
    more, over all rounds together. With a margin of 0 it is that of dropping the best at all.
    """

    level: float = ALPHA
    margin: float = 0.01

    def share(self, number: int) -> float:
        """What round `number`, from 1 on, may spend of the level: level / (n (n + 1)), which adds up to the level.

        >>> [round(Rules(0.05).share(number), 4) for number in (1, 2, 3)]
        [0.025, 0.0083, 0.0042]
        """
        return self.level / (number * (number + 1))


@dataclass(frozen=True)
class Drop:
    """Why a method left: its mean difference from the leader so far, the error of that, the corrected p-value.

    `p` is of the question that `reason` answers. A method that failed has none of the numbers.
    """

    method: str
    reason: Reason
    difference: float = math.nan
    error: float = math.nan
    p: float = math.nan


@dataclass(frozen=True)
class Look:
    """What was seen after a round: over `cases` (or patients) so far, `leader` has the best mean of `methods`.

    `luck` is the standard deviation of what a training adds to the mean of its cases, `level` what may be spent.
    """

    methods: tuple[str, ...]
    cases: int
    leader: str
    luck: float
    friedman_p: float
    level: float
    drops: tuple[Drop, ...]


@dataclass(frozen=True)
class RaceRound:
    """One fold in one repeat, trained by every method that is left: values (cases, methods), higher is better.

    The cases are those at which all of its methods have a value.
    """

    methods: tuple[str, ...]
    cases: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def of(cls, values: CaseValues) -> "RaceRound":
        """From method -> case -> value; no case is left where a method has none at all."""
        cases = shared_cases(values) if all(map(_measured, values.values())) else []
        table = np.array([[values[method][case] for method in values] for case in cases])
        return cls(tuple(values), tuple(cases), table.reshape(-1, len(values)))

    def only(self, methods: Sequence[str]) -> np.ndarray:
        """The values of some of its methods."""
        return self.values[:, [self.methods.index(method) for method in methods]]


def _measured(cases: Mapping[str, float]) -> bool:
    return not all(map(math.isnan, cases.values()))


def look(rounds: Sequence[RaceRound], rules: Rules) -> Look:
    """Judge the methods of the last round by all rounds so far.

    The difference of a method from the leader, a mean over cases whose repeats are averaged first, has an error of
    two parts: the cases' own, and the luck of each training, which all cases of a round share and no test over
    cases can see. A paired t-test with that error asks whether the method is less than the margin better than the
    leader. If that is sure, it is dropped, and it is called worse where it is as sure that it is below the leader,
    and the Friedman test over the cases finds that methods differ.

    The leader is picked as the best of these very values, so p-values are multiplied by the number of methods that
    it may have been picked from: all that started (to be called worse, all ordered pairs). Holm's steps are not
    taken: methods that are dropped beside it say nothing about whether the leader was lucky.

    Args:
        rounds: in the order of training; the methods of each are among those of every one before it.
        rules: when a method is dropped.

    References:
        Birattari et al., A racing algorithm for configuring metaheuristics, GECCO 2002.
        López-Ibáñez et al., The irace package, Operations Research Perspectives 3, 2016.
    """
    methods = rounds[-1].methods
    level = rules.share(len(rounds))
    scores, weights = _averaged(rounds, methods)
    means = scores.mean(axis=0)
    best = int(means.argmax())
    luck, luck_freedom = _luck(rounds)
    if len(scores) < 2:  # a case by itself has no spread to judge a difference by
        return Look(methods, len(scores), methods[best], luck, math.nan, level, ())
    of_luck = 2 * luck**2 * float((weights**2).sum())
    of_cases = (scores - scores[:, [best]]).var(axis=0, ddof=1) / len(scores)
    errors, freedom = np.sqrt(of_luck + of_cases), _freedom(of_luck, luck_freedom, of_cases, len(scores) - 1)
    differences, starters = means - means[best], len(rounds[0].methods)
    p_below = np.minimum((starters - 1) * _below(differences - rules.margin, errors, freedom), 1)
    p_worse = np.minimum((starters - 1) * starters * _below(differences, errors, freedom), 1)
    friedman = friedman_p(-scores)
    worse = (p_worse < level) & (not friedman >= level)
    drops = [
        Drop(
            method,
            "worse" if worse[index] else "not better by the margin",
            float(differences[index]),
            float(errors[index]),
            float(p_worse[index] if worse[index] else p_below[index]),
        )
        for index, method in enumerate(methods)
        if index != best and p_below[index] < level
    ]
    return Look(methods, len(scores), methods[best], luck, friedman, level, tuple(drops))


def _averaged(rounds: Sequence[RaceRound], methods: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Each case's values averaged over its rounds, and the weight that each round has in the mean over cases."""
    places = {case: place for place, case in enumerate(sorted({case for each in rounds for case in each.cases}))}
    where = [[places[case] for case in each.cases] for each in rounds]
    sums, counts = np.zeros((len(places), len(methods))), np.zeros(len(places))
    for each, rows in zip(rounds, where, strict=True):
        sums[rows] += each.only(methods)
        counts[rows] += 1
    weights = np.array([(1 / counts[rows]).sum() / len(places) for rows in where])
    return sums / counts[:, None], weights


def _luck(rounds: Sequence[RaceRound]) -> tuple[float, float]:
    """The standard deviation of what a training adds to the mean of its cases, and its degrees of freedom.

    A round is foretold by the mean of the rounds before it; what it deviates by, more or less than the other
    methods near the leader do, is luck: it decides between those, and methods that all collapse, alike, have none.
    The noise of the round's cases is in it, too, and so counts twice in a difference's error,
    which is rather too large where cases are few. After the first round there is nothing to foretell with, and the
    methods' deviations from their median bound the luck, as if most were equal, as in experiments without
    replicates. Deviations far beyond the others' (a training that collapsed) are left out.

    References:
        Lenth, Quick and easy analysis of unreplicated factorials, Technometrics 31, 1989.
        Dong, On the identification of active contrasts in unreplicated fractional factorials, Statistica Sinica 3,
        1993.
    """
    deviations = []
    for number, table in enumerate(rounds):
        if not number and len(rounds) > 1:
            continue
        so_far = np.array([each.only(table.methods).mean(axis=0) for each in rounds[: number + 1]])
        near = _near_the_leader(so_far.mean(axis=0))
        means = so_far[number, near]
        if number:
            means = (means - so_far[:number, near].mean(axis=0)) * math.sqrt(number / (number + 1))
        count = len(means)
        deviations.append((means - np.median(means)) * math.sqrt(count / max(count - 1, 1)))
    every = np.concatenate(deviations)
    scatter, kept = _without_outliers(every)
    return math.sqrt(scatter), max(kept - len(deviations), 1)


def _near_the_leader(means: np.ndarray) -> np.ndarray:
    """Which methods are left once the leader is not far above their median; at least the two best."""
    order = np.argsort(-means, kind="stable")
    near = means[order]
    while near[0] - np.median(near) > _limit(near - np.median(near)):
        near = near[near > (near[0] + np.median(near)) / 2]
    return order[: len(near) if len(near) > 2 else 2]


def _limit(deviations: np.ndarray) -> float:
    """How far from 0 a deviation may be and still be one like most others."""
    pseudo_error = 1.5 * float(np.median(np.abs(deviations)))
    return pseudo_error * float(stats.t.isf(OUTLIER / 2, len(deviations) / 3))


def _without_outliers(deviations: np.ndarray) -> tuple[float, int]:
    """The mean square of deviations around 0 that are not far beyond the others, and how many those are."""
    kept = deviations[np.abs(deviations) <= _limit(deviations)]
    return float((kept**2).mean()), len(kept)


def _freedom(luck: float, luck_freedom: float, cases: np.ndarray, cases_freedom: float) -> np.ndarray:
    """Satterthwaite's degrees of freedom of the sum of two variances, each with its own.

    References:
        Satterthwaite, An approximate distribution of estimates of variance components, Biometrics 2, 1946.
    """
    used = luck**2 / luck_freedom + cases**2 / cases_freedom
    return np.divide((luck + cases) ** 2, used, out=np.ones_like(used), where=used > 0)


def _below(means: np.ndarray, errors: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The one-sided p-values of true means that are not below 0."""
    certain = np.where(means < 0, 0.0, 1.0)
    t = np.divide(means, errors, out=np.zeros_like(means), where=errors > 0)
    return np.where(errors > 0, stats.t.cdf(t, freedom), certain)
