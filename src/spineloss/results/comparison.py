"""The methods of a study compared case by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spineloss.errors import UserError
from spineloss.metrics import METRICS
from spineloss.results.ranking import Ranking, rank
from spineloss.results.records import Record, case_values
from spineloss.results.statistics import Comparison, best_method, compare
from spineloss.results.table import Summary, summarise

FairEpoch = Literal["last", "best"]


@dataclass(frozen=True)
class Result:
    """One metric of a study: the comparison, the ranking, and each method's mean and deviation over folds."""

    metric: str
    comparison: Comparison
    ranking: Ranking | None
    summaries: dict[str, Summary]


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
        epoch: `last`, or `best` by mean validation Dice, which is optimistic.
        beside: metrics that decide nothing and have no margin, compared after the others.

    Raises:
        UserError: an unknown metric, method or epoch, a wrong margin, or fewer than two finished methods.
    """
    refuse_unknown_metrics(metrics)
    _refuse_unknown_epoch(epoch)
    each_margin = [*_each_margin(metrics, margins), *(None for _ in beside)]
    if len({record.method for record in records}) < 2:
        raise UserError("A comparison needs two methods with a finished run: train them first.")
    compared = [*metrics, *beside]
    values = {metric: case_values(records, metric, epoch) for metric in compared}
    decisive = metrics[0]
    chosen = reference or best_method(values[decisive], higher_is_better=METRICS[decisive].higher_is_better)
    folds = sorted({record.fold for record in records})
    summaries = summarise(records, epoch)
    unit = unit_of(records)
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
            unit=unit,
        )
        results.append(
            Result(
                metric,
                comparison,
                rank(values[metric], higher_is_better=higher_is_better),
                # The first of a method's summaries is the average over its labels.
                {summary.method: summary for summary in reversed(summaries) if summary.metric == metric},
            )
        )
    return results


def refuse_unknown_metrics(metrics: Sequence[str]) -> None:
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


def unit_of(records: Sequence[Record]) -> str:
    """What statistics count: `patients` where any has several cases, else `cases`."""
    cases = {case for record in records for scores in record.scores.values() for case, _ in scores}
    patients = {record.groups.get(case, case) for record in records[:1] for case in cases}
    return "patients" if len(patients) < len(cases) else "cases"
