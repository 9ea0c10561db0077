"""The table of a study: mean and standard deviation over folds by method and metric."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any, get_args

from spineloss.errors import UserError
from spineloss.files import csv_text, write_csv
from spineloss.metrics import METRICS
from spineloss.results.averages import average
from spineloss.results.records import (
    EpochChoice,
    Record,
    chosen_epoch,
    complete_methods,
    is_missed,
    measured,
    read_records,
    run_mean,
)
from spineloss.results.score_text import score
from spineloss.results.text_table import Cell, Format, TextTable, lay_out, refuse_unknown_format

TABLE_COLUMNS = ["method", "epoch", "label", "metric", "mean", "std", "folds", "runs", "undefined", "missed"]
# Metrics in a table of their own: sixteen columns fit no screen.
BESIDE = ("component_dice", "components_matched", "components_missed", "components_added", "ace", "brier")
EPOCH_TITLES = {
    "last": "at the last epoch",
    "best": "at the epoch of the best validation Dice (optimistic: chosen on the cases it is measured on)",
    "optimistic": "each metric at its own best epoch (optimistic: chosen on the cases it is measured on)",
}


@dataclass(frozen=True)
class Summary:
    """One metric of a method: the mean over folds, its standard deviation, and the case scores left out.

    `runs` are the trainings of the method, all folds and repeats; `whole` if no method has one that it lacks.
    `undefined` case scores have no value; `missed` of them because the method found nothing of a structure that is
    there, so that the mean is too good.
    """

    method: str
    label: str
    metric: str
    mean: float
    std: float
    folds: int
    runs: int
    undefined: int
    missed: int
    whole: bool


def summarise(records: Sequence[Record], epoch: EpochChoice = "last") -> list[Summary]:
    """Mean over patients, then a fold's repeats; then mean and sample standard deviation (ddof 1) over folds.

    Args:
        records: of `read_records`.
        epoch: `last`; or, optimistic both, `best`, of each run by mean validation Dice, and `optimistic`, each
            metric's own best.

    Raises:
        UserError: an unknown choice of epoch.
    """
    if epoch not in get_args(EpochChoice):
        raise UserError(f"There is no epoch {epoch!r}: choose {', '.join(get_args(EpochChoice))}.")
    runs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        runs[record.method].append(record)
    metrics, complete = measured(records), complete_methods(records)
    return [
        row
        for method, found in runs.items()
        for row in _summaries(method, found, metrics, epoch, method in complete)
    ]


def _summaries(
    method: str, runs: Sequence[Record], metrics: Sequence[str], epoch: EpochChoice, whole: bool
) -> list[Summary]:
    first = next(iter(runs[0].scores.values()))
    labels = list(dict.fromkeys(label for _, label in first))
    # With several labels, their average within the case comes first.
    shown = (
        [("mean", labels), *((label, [label]) for label in labels)] if len(labels) > 1 else [(labels[0], labels)]
    )
    return [
        _summary(method, name, metric, runs, chosen, epoch, whole) for name, chosen in shown for metric in metrics
    ]


def _summary(
    method: str,
    name: str,
    metric: str,
    runs: Sequence[Record],
    labels: Sequence[str],
    epoch: EpochChoice,
    whole: bool,
) -> Summary:
    folds: dict[int, list[float]] = defaultdict(list)
    undefined = missed = 0
    for run in runs:
        chosen = chosen_epoch(run, metric, epoch)
        folds[run.fold].append(run_mean(run, metric, chosen, labels))
        scores = [row for (_, label), row in run.scores[chosen].items() if label in labels]
        undefined += sum(math.isnan(row[metric]) for row in scores)
        missed += sum(is_missed(row, metric) for row in scores)
    means = [average(defined) for each in folds.values() if (defined := [m for m in each if not math.isnan(m)])]
    spread = stdev(means) if len(means) > 1 else math.nan
    return Summary(method, name, metric, average(means), spread, len(means), len(runs), undefined, missed, whole)


def write_table(study: Path) -> None:
    """Write `table.csv`: every choice of epoch, shares in [0, 1], distances in mm."""
    records = read_records(study)
    rows = [_plain(row, choice) for choice in get_args(EpochChoice) for row in summarise(records, choice)]
    write_csv(study / "table.csv", rows, TABLE_COLUMNS)


def _plain(row: Summary, epoch: EpochChoice) -> dict[str, Any]:
    known = {**vars(row), "epoch": epoch}
    return {column: known[column] for column in TABLE_COLUMNS}


def table_text(
    rows: Sequence[Summary],
    format: Format = "text",
    *,
    epoch: EpochChoice = "last",
    folds: int = 0,
    remarks: Sequence[str] = (),
) -> str:
    """The rows as a table: a line per method and label, a column per metric, the best mean of each marked.

    A mean that leaves out missed structures is never the best.

    Args:
        rows: of `summarise`.
        format: `text` (best between asterisks), `markdown`, `csv` or `latex`.
        epoch: what the rows were summarised at, for the title.
        folds: of the study; methods with fewer finished are marked. 0 marks none.
        remarks: lines below the table.

    Raises:
        UserError: an unknown format.
    """
    refuse_unknown_format(format)
    if format == "csv":
        return csv_text([_plain(row, epoch) for row in rows], TABLE_COLUMNS).rstrip("\n")
    if not rows:
        return "No run is finished yet."
    title = f"Mean ± standard deviation over folds, {EPOCH_TITLES[epoch]}"
    first = [row for row in rows if row.metric not in BESIDE]
    beside = [row for row in rows if row.metric in BESIDE]
    if not beside:
        return lay_out(summary_table(first, title, folds, remarks), format)
    tables = [
        summary_table(first, title, folds),
        summary_table(beside, "The same of components and calibration", folds, remarks),
    ]
    return "\n\n".join(lay_out(table, format) for table in tables)


def summary_table(rows: Sequence[Summary], title: str, folds: int, remarks: Sequence[str] = ()) -> TextTable:
    """The rows as a table: a line per method and label, a column per metric; arguments are `table_text`'s."""
    head, lines = _cells(rows, folds)
    return TextTable(title, head, lines, [*_notes(rows), *remarks])


def _cells(rows: Sequence[Summary], folds: int) -> tuple[list[str], list[list[Cell]]]:
    lines: dict[tuple[str, str], dict[str, Summary]] = defaultdict(dict)
    for row in rows:
        lines[row.method, row.label][row.metric] = row
    labels, metrics = {label for _, label in lines}, list(dict.fromkeys(row.metric for row in rows))
    best = {
        (label, metric): best_rows([row for row in rows if (row.label, row.metric) == (label, metric)])
        for label in labels
        for metric in metrics
    }
    head = ["Method", *(["Label"] if len(labels) > 1 else [])]
    head += [METRICS[metric].heading for metric in metrics]
    most = max(row.runs for row in rows)
    table = []
    for (method, label), found in lines.items():
        name = method + _fewer(list(found.values()), folds, most)
        cells = [Cell(name), *([Cell(label)] if len(labels) > 1 else [])]
        cells += [Cell(_marked(found[metric]), found[metric] in best[label, metric]) for metric in metrics]
        table.append(cells)
    return head, table


def _fewer(rows: Sequence[Summary], folds: int, runs: int) -> str:
    """What a method's row says where it has fewer folds, or fewer trainings, than there are."""
    finished = max(row.folds for row in rows)
    if finished < folds:
        return f" ({finished}/{folds} folds)"
    return f" ({rows[0].runs}/{runs} trainings)" if rows[0].runs < runs else ""


def best_rows(rows: Sequence[Summary]) -> list[Summary]:
    """The rows of one metric that hold the best mean; none where there is nothing to compare with.

    Means that leave out missed structures, or are without a training that another method has, are not compared.
    """
    if len(rows) < 2:
        return []
    compared = [row for row in rows if row.whole and not row.missed and not math.isnan(row.mean)]
    choose = max if METRICS[rows[0].metric].higher_is_better else min
    best = choose((row.mean for row in compared), default=math.nan)
    return [row for row in compared if row.mean == best]


def _marked(row: Summary) -> str:
    return score(row.metric, row.mean, row.std) + ("†" if row.undefined and not math.isnan(row.mean) else "")


def _notes(rows: Sequence[Summary]) -> list[str]:
    """What is left out of each method's means: a line for all its labels, which may be many."""
    left_out: dict[tuple[str, str], list[Summary]] = defaultdict(list)
    for row in rows:
        if row.label != "mean":  # it leaves out what its labels do
            left_out[row.method, row.metric].append(row)
    notes = []
    for (method, metric), of_labels in left_out.items():
        undefined, missed = (sum(getattr(row, what) for row in of_labels) for what in ("undefined", "missed"))
        if not undefined:
            continue
        what = f"† {method}, {METRICS[metric].title}: {undefined} case score(s) undefined and left out"
        if missed:
            what += f", {missed} of them missed structures: the mean is too good and not compared"
        notes.append(what)
    return notes
