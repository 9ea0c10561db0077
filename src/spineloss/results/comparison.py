"""The methods of a study compared case by case."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spineloss.errors import UserError
from spineloss.metrics import METRICS
from spineloss.results.ranking import Ranking, rank
from spineloss.results.statistics import Comparison, Values, average_repeats, best, compare
from spineloss.results.table import Record, Row, chosen_epoch, summarise

FairEpoch = Literal["last", "best"]


@dataclass(frozen=True)
class Result:
    """One metric of a study: the comparison, the ranking, and each method's mean and deviation over folds."""

    metric: str
    comparison: Comparison
    ranking: Ranking | None
    rows: dict[str, Row]


def compare_study(
    records: Sequence[Record],
    metrics: Sequence[str] = ("dice",),
    reference: str | None = None,
    margins: Sequence[float] = (),
    epoch: FairEpoch = "last",
    beside: Sequence[str] = (),
) -> list[Result]:
    """Compare the methods of a study on each metric, against one reference.

    Args:
        records: of `read_records`.
        metrics: of `METRICS`, the deciding one first.
        reference: a method; if none, the one with the best mean of the deciding metric.
        margins: of equivalence, in each metric's unit (percentage points or mm): none, one for all, or one each.
        epoch: `last`, or `best` by mean validation Dice.
        beside: metrics that decide nothing and have no margin, compared after the others.

    Raises:
        UserError: an unknown metric, method or epoch, a wrong margin, or fewer than two finished methods.
    """
    refuse_unknown(metrics)
    _refuse_unknown_epoch(epoch)
    each_margin = [*_each_margin(metrics, margins), *(None for _ in beside)]
    if len({record.method for record in records}) < 2:
        raise UserError("A comparison needs two methods with a finished run: train them first.")
    compared = [*metrics, *beside]
    values = {metric: case_values(records, metric, epoch) for metric in compared}
    decisive = metrics[0]
    chosen = reference or best(values[decisive], higher_is_better=METRICS[decisive].higher_is_better)
    folds = sorted({record.fold for record in records})
    rows = summarise(records, epoch)
    results = []
    for metric, margin in zip(compared, each_margin, strict=True):
        higher_is_better = METRICS[metric].higher_is_better
        comparison = compare(
            values[metric],
            chosen,
            higher_is_better=higher_is_better,
            picked=reference is None,
            margin=margin,
            folds=[case_values([each for each in records if each.fold == fold], metric, epoch) for fold in folds],
        )
        results.append(
            Result(
                metric,
                comparison,
                rank(values[metric], higher_is_better=higher_is_better),
                # The first of a method's rows is the average over its labels.
                {row.method: row for row in reversed(rows) if row.metric == metric},
            )
        )
    return results


def refuse_unknown(metrics: Sequence[str]) -> None:
    """Refuse a metric that is not of `METRICS`.

    Raises:
        UserError: there is one.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"There is no metric {metric!r}: choose from {', '.join(METRICS)}.")


def _refuse_unknown_epoch(epoch: str) -> None:
    if epoch not in get_args(FairEpoch):
        raise UserError(
            f"Methods are not compared at the epoch {epoch!r}: choose {' or '.join(get_args(FairEpoch))}."
        )


def _each_margin(metrics: Sequence[str], margins: Sequence[float]) -> list[float | None]:
    """A margin for each metric, in the unit its values are kept in."""
    if not margins:
        return [None] * len(metrics)
    if len(margins) not in (1, len(metrics)):
        raise UserError(
            f"{len(margins)} margins do not fit {len(metrics)} metrics: give one for all, or one each."
        )
    each = margins if len(margins) > 1 else [margins[0]] * len(metrics)
    return [margin / METRICS[metric].scale for metric, margin in zip(metrics, each, strict=True)]


def case_values(records: Iterable[Record], metric: str, epoch: FairEpoch) -> Values:
    """Method -> case -> value, averaged over labels and repeats; undefined if any of them is.

    A label without a value from any method (absent from the case) is no part of the average.
    """
    scores = [(record.method, record.scores[chosen_epoch(record, metric, epoch)]) for record in records]
    measured = {key for _, cases in scores for key, row in cases.items() if not math.isnan(row[metric])}
    repeats: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for method, cases in scores:
        labels: dict[str, list[float]] = defaultdict(list)
        for (case, label), row in cases.items():
            labels[case] += [row[metric]] if (case, label) in measured else []
        for case, found in labels.items():
            repeats[method][case].append(math.fsum(found) / len(found) if found else math.nan)
    return average_repeats(repeats)
