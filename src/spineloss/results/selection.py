"""The winner's curse: what the best method is worth on cases that did not choose it."""

import math
from dataclasses import dataclass

import numpy as np

from spineloss.results.averages import CaseValues
from spineloss.results.statistics import shared_cases
from spineloss.seeding import generator

DRAWS = 2000


@dataclass(frozen=True)
class Selection:
    """Choosing the best method, bootstrapped.

    `observed` is the best mean on all cases; `expected` the mean, over draws, of the method chosen on the cases
    drawn and scored on the others; `chosen` how often each method is.
    """

    observed: float
    expected: float
    chosen: dict[str, float]


def select(values: CaseValues, *, higher_is_better: bool, draws: int = DRAWS) -> Selection | None:
    """Choose the best method on cases drawn with replacement, score it on the cases not drawn, many times.

    The best of several means is too good, the more so the more alike the methods are: it was chosen for its luck
    on these cases, too.

    Args:
        values: method -> case -> value; cases without a value of every method are left out.
        higher_is_better: of the metric.
        draws: how many.

    Returns:
        None with fewer than two methods or ten cases, or where a structure was missed: no mean is comparable then.

    References:
        Tsamardinos, Greasidou, Borboudakis, Bootstrapping the out-of-sample predictions for efficient and accurate
        cross-validation, Machine Learning 107, 2018.
    """
    methods = [method for method, cases in values.items() if not all(map(math.isnan, cases.values()))]
    cases = shared_cases(values)
    if len(methods) < 2 or len(cases) < 10:
        return None
    scores = np.array([[values[method][case] for method in methods] for case in cases])
    if not np.isfinite(scores).all():
        return None
    sign = 1 if higher_is_better else -1
    drawn = generator("selection").multinomial(len(cases), np.full(len(cases), 1 / len(cases)), size=draws)
    winners = (sign * drawn @ scores).argmax(axis=1)
    others = drawn == 0
    apart = others.any(axis=1)  # a draw of every case leaves none to score on
    means = (others[apart] @ scores) / others[apart].sum(axis=1, keepdims=True)
    return Selection(
        observed=float(sign * (sign * scores.mean(axis=0)).max()),
        expected=float(means[np.arange(len(means)), winners[apart]].mean()),
        chosen={method: float((winners == index).mean()) for index, method in enumerate(methods)},
    )
