"""The finished runs of a study as plain data, and the values of its cases and patients that statistics read."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from spineloss.metrics import METRICS
from spineloss.results.averages import Labelled, average
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import finished_runs, read_folds

EpochChoice = Literal["last", "best", "optimistic"]
CaseScores = Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Record:
    """A finished run: its scores by epoch, then by (case, label), then by metric.

    `repeat` numbers the trainings of a method and fold from other seeds. `groups` names the patient of each case
    that shares one with other cases. `train_loss` is by epoch. Of a network that is tested on other data,
    `validation` has the mean metrics by epoch that it had where it was trained.
    """

    method: str
    order: int
    fold: int
    scores: Mapping[int, CaseScores]
    repeat: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)
    train_loss: Mapping[int, float] = field(default_factory=dict)
    validation: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def read_records(study: Path) -> list[Record]:
    """The finished runs of a study, in the order of its methods.

    Raises:
        UserError: no study is there, or a file of a finished run is damaged.
    """
    groups = read_folds(study)["groups"] if (study / "folds.json").exists() else {}
    return [record_of(run, found, groups) for run, found in finished_runs(study)]


def record_of(run: Run, found: Mapping[str, Any], groups: Mapping[str, str]) -> Record:
    """A finished run as plain data.

    Args:
        run: its folder.
        found: what its `run.json` holds.
        groups: case -> patient.

    Raises:
        UserError: a file of it is damaged.
    """
    return Record(
        method=found["method"],
        order=found["order"],
        fold=found["fold"],
        scores=run.scores(),
        repeat=found["repeat"],
        groups=groups,
        train_loss={int(epoch["epoch"]): epoch["train_loss"] for epoch in run.epochs()},
        validation={int(epoch["epoch"]): epoch for epoch in found.get("tested", {}).get("epochs", ())},
    )


def whole_methods(records: Sequence[Record]) -> list[str]:
    """The methods that have every fold and repeat that any has; all of them, if none has.

    Others were dropped from a race, failed, or are not finished: their means are over other cases.
    """
    return complete_methods(records) or list(dict.fromkeys(record.method for record in records))


def complete_methods(records: Sequence[Record]) -> list[str]:
    """The methods that have every fold and repeat that any has; there may be none."""
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for record in records:
        found[record.method].add((record.fold, record.repeat))
    every = set().union(*found.values())
    return [method for method, places in found.items() if places == every]


def is_missed(scores: Mapping[str, float], metric: str) -> bool:
    """Whether a metric is undefined because a method found nothing of a structure that is there.

    Recall is defined wherever there is a truth, and 0 where nothing of it is found. Where the truth is partly not
    annotated, a distance may be undefined though the structure was found.

    >>> missed = dict.fromkeys(METRICS, 0.0) | {"hd95": math.nan, "precision": math.nan}
    >>> is_missed(missed, "hd95"), is_missed(missed, "dice"), is_missed(missed | {"recall": math.nan}, "hd95")
    (True, False, False)
    """
    by_prediction = metric == "precision" or METRICS[metric].unit == "mm"
    return by_prediction and math.isnan(scores[metric]) and scores["recall"] == 0


def measured(records: Iterable[Record]) -> list[str]:
    """The metrics of which any run has a value: one finished before a metric came has none of it."""
    rows = [row for record in records for cases in record.scores.values() for row in cases.values()]
    return [metric for metric in METRICS if any(not math.isnan(row[metric]) for row in rows)]


def fill_missed(records: Iterable[Record], diagonals: Mapping[str, float]) -> list[Record]:
    """The records with each missed structure's distances set to the diagonal of its image.

    Args:
        records: of `read_records`.
        diagonals: case -> diagonal of its image, mm: no distance in it can be longer.
    """

    def filled(case: str, scores: Mapping[str, float]) -> dict[str, float]:
        distances = {metric: diagonals[case] for metric, metric_of in METRICS.items() if metric_of.unit == "mm"}
        return {**scores, **{metric: far for metric, far in distances.items() if is_missed(scores, metric)}}

    return [
        replace(
            record,
            scores={
                epoch: {(case, label): filled(case, scores) for (case, label), scores in cases.items()}
                for epoch, cases in record.scores.items()
            },
        )
        for record in records
    ]


def chosen_epoch(run: Record, metric: str, choice: EpochChoice) -> int:
    """The epoch of a run that a choice of epoch takes for a metric."""
    if choice == "last":
        return max(run.scores)
    decisive = "dice" if choice == "best" else metric
    sign = 1 if METRICS[decisive].higher_is_better else -1

    def quality(epoch: int) -> float:
        mean = run_mean(run, decisive, epoch)
        return -math.inf if math.isnan(mean) else sign * mean

    return max(sorted(run.scores), key=quality)


def run_mean(run: Record, metric: str, epoch: int, labels: Sequence[str] | None = None) -> float:
    """A run's mean of a metric over its patients: labels, then a patient's cases are averaged; undefined left out.

    Args:
        run: of the study.
        metric: of `METRICS`.
        epoch: a validated one.
        labels: the labels averaged; all by default.
    """
    by_case: dict[str, list[float]] = defaultdict(list)
    for (case, label), scores in run.scores[epoch].items():
        if (labels is None or label in labels) and not math.isnan(scores[metric]):
            by_case[case].append(scores[metric])
    by_patient: dict[str, list[float]] = defaultdict(list)
    for case, values in by_case.items():
        by_patient[run.groups.get(case, case)].append(average(values))
    return average([average(values) for values in by_patient.values()])


def run_curve(run: Record, metric: str) -> dict[int, float]:
    """A run's mean of a metric by validated epoch, as `run_mean` has it, where it is defined."""
    found = {epoch: run_mean(run, metric, epoch) for epoch in sorted(run.scores)}
    return {epoch: value for epoch, value in found.items() if not math.isnan(value)}


def case_values(
    records: Sequence[Record], metric: str, epoch: EpochChoice = "last", patients: bool = True
) -> Labelled:
    """Method -> patient -> value: averaged over repeats, then labels, then the patient's cases.

    Undefined (NaN) if any case of the patient is; infinitely bad if a structure was missed in any part of it. A
    label of which a method has no value in a repeat of a case (absent from it) is no part of the average.

    Args:
        records: of `read_records`.
        metric: of `METRICS`.
        epoch: which epoch of each run.
        patients: whether the cases of a patient are averaged; without, it is method -> case -> value.
    """
    worst = -math.inf if METRICS[metric].higher_is_better else math.inf
    repeats: dict[str, dict[str, dict[str, list[float]]]] = {}
    for record in records:
        cases = repeats.setdefault(record.method, {})
        for (case, label), row in record.scores[chosen_epoch(record, metric, epoch)].items():
            value = worst if is_missed(row, metric) else row[metric]
            cases.setdefault(case, {}).setdefault(label, []).append(value)
    labels = {
        method: {
            case: {label: average(values) for label, values in found.items()} for case, found in cases.items()
        }
        for method, cases in repeats.items()
    }
    return Labelled(labels, records[0].groups if records and patients else {})
