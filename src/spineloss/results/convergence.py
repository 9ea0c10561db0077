"""Whether training had converged: what curves still gained at the end, and whether the methods' order still
changed.

The rule, in one place. Over the last third of the epochs a line is fitted to each run's curve. The gain of a
method is the mean of its runs' slopes over that third; its noise is the larger of two standard errors: of the
runs' slopes among themselves, and of a slope by the scatter around the lines. Then, with a 90 % interval (each
end errs in 5 %):

- rising: the interval is above 0, and the gain at least `MATTERS` of the final level;
- falling: the same downwards; flat: the interval lies within that much of 0; unclear: none of these;
- unknown: fewer than `FEWEST` validated epochs in the last third.

Two methods cross if the gap between them changes beyond its noise, and by the fitted line changes its sign
between the beginning of the last third and another third later. How often this errs:
`benchmarks/convergence.py`.

Where runs differ in their slopes more than the scatter says, the noise is known from as many numbers as there are
runs, and an end errs in more than 5 %. It is not widened for that: with three runs it would miss every other true
crossing, and of the two errors, "no winner yet" is the one to make.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from spineloss.metrics import METRICS
from spineloss.results.averages import average
from spineloss.results.records import Record, run_curve, whole_methods

MATTERS = 0.01  # of the final level: a smaller gain is no reason to train on
FEWEST = 3  # validated epochs in the last third
ENOUGH = 0.95  # of the final level: reached soon or late?
ONE_SIDED = 0.05

State = Literal["rising", "falling", "flat", "unclear", "unknown"]
Curve = Mapping[int, float]  # epoch -> value


@dataclass(frozen=True)
class Line:
    """The mean line through curves over the last third: its change, the noise of that, its value at the end."""

    change: float
    noise: float
    freedom: int
    end: float

    def interval(self, error: float = ONE_SIDED) -> tuple[float, float]:
        """The interval of the change, each end with this probability of an error."""
        reach = self.noise * float(stats.t.isf(error, self.freedom))
        return self.change - reach, self.change + reach


@dataclass(frozen=True)
class Trend:
    """How a method went over the last third of the epochs.

    `gain` is the change of the metric for the better, `noise` its standard error; `final` the mean over runs at
    the last epoch, `soon` the first validated epoch with 95 % of it. `loss_share` is what the last third brought
    of the whole fall of the training loss, `loss_noise` its standard error. NaN where unknown.
    """

    state: State
    gain: float
    noise: float
    final: float
    soon: int
    loss_share: float
    loss_noise: float


@dataclass(frozen=True)
class Convergence:
    """The trends of the methods, their ranks by epoch, and the pairs (leader, other) that still cross."""

    metric: str
    epochs: int
    trends: dict[str, Trend]
    ranks: dict[int, dict[str, int]]
    crossing: list[tuple[str, str]]

    def methods(self, *states: State) -> list[str]:
        """The methods in one of the states."""
        return [method for method, trend in self.trends.items() if trend.state in states]

    @property
    def swapped(self) -> tuple[int, int]:
        """How many pairs of methods changed their order over the last third of the epochs, and of how many."""
        late = [ranks for epoch, ranks in self.ranks.items() if epoch > 2 * self.epochs / 3]
        pairs = list(combinations(late[0], 2)) if late else []
        changed = [
            (late[0][first] - late[0][second]) * (late[-1][first] - late[-1][second]) < 0
            for first, second in pairs
        ]
        return sum(changed), len(pairs)

    @property
    def settled(self) -> bool:
        """Whether a winner may be named: no curve still rises or is unknown there, and no two still cross."""
        return not self.methods("rising", "unknown") and not self.crossing


def converge(records: Sequence[Record], metric: str) -> Convergence:
    """Judge whether the methods of a study had converged by a metric.

    Args:
        records: of `read_records`.
        metric: of `METRICS`.
    """
    sign = 1 if METRICS[metric].higher_is_better else -1
    methods = list(dict.fromkeys(record.method for record in records))
    curves = {
        method: {
            (record.fold, record.repeat): _curve(record, metric) for record in records if record.method == method
        }
        for method in methods
    }
    losses = {
        method: [dict(record.train_loss) for record in records if record.method == method] for method in methods
    }
    epochs = max(epoch for record in records for epoch in record.scores)
    means = {method: mean_curve(list(found.values())) for method, found in curves.items()}
    whole = whole_methods(records)
    return Convergence(
        metric,
        epochs,
        {method: _trend(list(curves[method].values()), losses[method], epochs, sign) for method in methods},
        _ranks({method: means[method] for method in whole}, sign),
        _crossing(curves, {method: means[method] for method in whole}, epochs, sign),
    )


def _curve(record: Record, metric: str) -> Curve:
    if record.validation:
        return {epoch: row[metric] for epoch, row in record.validation.items() if metric in row}
    return run_curve(record, metric)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, at the epochs that all of them have.

    >>> mean_curve([{1: 0.5, 2: 0.75}, {2: 0.25, 3: 1.0}])
    {2: 0.5}
    """
    shared = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return {epoch: average([curve[epoch] for curve in curves]) for epoch in shared}


def fit_line(curves: Sequence[Curve], epochs: int) -> Line | None:
    """The mean of the lines through curves over the last third of the epochs.

    Args:
        curves: epoch -> value, one per run.
        epochs: of a run.

    Returns:
        None with fewer than `FEWEST` epochs that all curves have in the last third.
    """
    shared = [epoch for epoch in mean_curve(curves) if epoch > 2 * epochs / 3]
    if len(shared) < FEWEST:
        return None
    x = np.array(shared, dtype=float)
    x -= x.mean()
    y = np.array([[curve[epoch] for epoch in shared] for curve in curves])
    slopes = y @ x / (x @ x)
    scatter = y - y.mean(axis=1, keepdims=True) - slopes[:, None] * x
    freedom = len(curves) * (len(shared) - 2)
    within = math.sqrt((scatter**2).sum() / freedom / (x @ x) / len(curves))
    between = float(slopes.std(ddof=1)) / math.sqrt(len(curves)) if len(curves) > 1 else 0.0
    third, slope = epochs / 3, float(slopes.mean())
    return Line(third * slope, third * max(within, between), freedom, float(y.mean() + slope * x[-1]))


def _trend(curves: Sequence[Curve], losses: Sequence[Curve], epochs: int, sign: int) -> Trend:
    mean, line = mean_curve(curves), fit_line(curves, epochs)
    final = mean[max(mean)] if mean else math.nan
    soon = next((epoch for epoch, value in mean.items() if _is_near(value, final, sign)), 0)
    share, loss_noise = _loss_share(losses, epochs)
    if line is None:
        return Trend("unknown", math.nan, math.nan, final, soon, share, loss_noise)
    low, high = sorted(sign * end for end in line.interval())
    state = _state(low, high, sign * line.change, MATTERS * abs(final))
    return Trend(state, sign * line.change, line.noise, final, soon, share, loss_noise)


def _state(low: float, high: float, gain: float, matters: float) -> State:
    if low > 0 and gain >= matters:
        return "rising"
    if high < 0 and gain <= -matters:
        return "falling"
    return "flat" if -matters < low and high < matters else "unclear"


def _is_near(value: float, final: float, sign: int) -> bool:
    return value >= ENOUGH * final if sign > 0 else ENOUGH * value <= final


def _loss_share(losses: Sequence[Curve], epochs: int) -> tuple[float, float]:
    """What the last third brought of the training loss's whole fall, and the standard error of that."""
    mean, line = mean_curve(losses), fit_line(losses, epochs) if all(losses) else None
    if line is None or mean[min(mean)] == mean[max(mean)]:
        return math.nan, math.nan
    fall = mean[min(mean)] - mean[max(mean)]
    return -line.change / fall, line.noise / abs(fall)


def _ranks(means: Mapping[str, Curve], sign: int) -> dict[int, dict[str, int]]:
    """The methods' ranks by the mean over runs at each epoch that all of them have: 1 is best."""
    epochs = sorted(set.intersection(*(set(curve) for curve in means.values())))
    ranks = {}
    for epoch in epochs:
        order = stats.rankdata([-sign * curve[epoch] for curve in means.values()], method="min")
        ranks[epoch] = dict(zip(means, map(int, order), strict=True))
    return ranks


def _crossing(
    curves: Mapping[str, Mapping[tuple[int, int], Curve]], means: Mapping[str, Curve], epochs: int, sign: int
) -> list[tuple[str, str]]:
    """The methods that the leader at the end still crosses, run by run: runs of a fold share what is hard."""
    ends = {method: sign * curve[max(curve)] for method, curve in means.items() if curve}
    if not ends:
        return []
    leader = max(ends, key=lambda method: ends[method])
    others = [method for method in curves if method != leader]
    found = []
    for other in others:
        gaps = [
            {
                epoch: sign * (value - curves[other][run][epoch])
                for epoch, value in curve.items()
                if epoch in theirs
            }
            for run, curve in curves[leader].items()
            if (theirs := curves[other].get(run))
        ]
        line = fit_line(gaps, epochs) if gaps else None
        if line is None:
            continue
        low, high = line.interval(ONE_SIDED / len(others))
        catches_up = high < 0 and line.end + line.change < 0
        has_passed = low > 0 and line.end - line.change < 0
        if catches_up or has_passed:
            found.append((leader, other))
    return found
