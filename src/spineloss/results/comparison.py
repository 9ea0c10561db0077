"""The methods of a study compared case by case."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from spineloss.errors import UserError
from spineloss.metrics import METRICS
from spineloss.results.averages import CaseValues
from spineloss.results.convergence import Convergence, converge
from spineloss.results.ranking import Ranking, rank
from spineloss.results.records import Record, case_values, measured, whole_methods
from spineloss.results.selection import Selection, select
from spineloss.results.statistics import Comparison, Pick, best_method, compare, picked_by
from spineloss.results.table import Summary, summarise
from spineloss.results.variance import Spread, split_variance, training_differences

FairEpoch = Literal["last", "best"]


@dataclass(frozen=True)
class Result:
    """One metric of a study: the comparison, the ranking, and each method's mean and deviation over folds.

    Of a metric that decides also the spread of each difference with the luck of training, the winner's curse, and
    whether training had converged; of the one that picked the reference, by what.
    """

    metric: str
    comparison: Comparison
    ranking: Ranking | None
    summaries: dict[str, Summary]
    spreads: dict[str, Spread] = field(default_factory=dict)
    selection: Selection | None = None
    convergence: Convergence | None = None
    pick: Pick | None = None


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
        UserError: an unknown metric, method or epoch, a metric without any value, a wrong margin, or fewer than
            two finished methods.
    """
    refuse_unknown_metrics(metrics)
    _refuse_unknown_epoch(epoch)
    each_margin = [*_each_margin(metrics, margins), *(None for _ in beside)]
    if len({record.method for record in records}) < 2:
        raise UserError("A comparison needs two methods with a finished run: train them first.")
    refuse_unmeasured_metrics(records, metrics)
    compared = [*metrics, *beside]
    values = {metric: case_values(records, metric, epoch) for metric in compared}
    decisive = metrics[0]
    # The others' means are over fewer cases: they are compared on those, but neither picked nor ranked.
    whole = {metric: found.of(*whole_methods(records)) for metric, found in values.items()}
    chosen = reference or best_method(whole[decisive], higher_is_better=METRICS[decisive].higher_is_better)
    folds = _trainings(records, repeats=False)
    trainings = _trainings(records, repeats=True)
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
            folds=[case_values(fold, metric, epoch) for fold in folds],
            unit=unit,
        )
        result = Result(
            metric,
            comparison,
            rank(whole[metric], higher_is_better=higher_is_better),
            # The first of a method's summaries is the average over its labels.
            {summary.method: summary for summary in reversed(summaries) if summary.metric == metric},
        )
        if metric in metrics:
            by_training = [case_values(each, metric, epoch) for each in trainings]
            result = replace(
                result,
                spreads=_spreads(comparison, by_training),
                selection=select(whole[metric], higher_is_better=higher_is_better),
                convergence=converge(records, metric),
                pick=None if reference or metric != decisive else picked_by(whole[decisive], chosen),
            )
        results.append(result)
    return results


def _trainings(records: Sequence[Record], repeats: bool) -> list[list[Record]]:
    """The records of each fold, or of each fold and repeat."""
    found: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in records:
        found[record.fold, record.repeat if repeats else 0].append(record)
    return list(found.values())


def _spreads(comparison: Comparison, by_training: Sequence[CaseValues]) -> dict[str, Spread]:
    """The spread of each method's difference from the reference; none where either missed a structure."""
    found = {}
    for method, contrast in comparison.contrasts.items():
        differences = training_differences(by_training, method, comparison.reference)
        spread = None if contrast.missed else split_variance(differences)
        if spread:
            found[method] = spread
    return found


def refuse_unknown_metrics(metrics: Sequence[str]) -> None:
    """Refuse a metric that is not of `METRICS`.

    Raises:
        UserError: there is one.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"There is no metric {metric!r}: choose from {', '.join(METRICS)}.")


def refuse_unmeasured_metrics(records: Sequence[Record], metrics: Sequence[str]) -> None:
    """Refuse a metric of which no run has a value, as no distance has where nothing was ever found.

    Raises:
        UserError: there is one.
    """
    found = measured(records)
    for metric in metrics:
        if metric not in found:
            raise UserError(f"No run has a value of {METRICS[metric].title}: choose another metric.")


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
