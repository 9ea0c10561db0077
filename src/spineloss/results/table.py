"""The table of a study, read from its folder: mean and standard deviation by method and metric."""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from spineloss.errors import UserError
from spineloss.files import csv_text, read_json, write_csv
from spineloss.metrics import METRICS
from spineloss.results.text_table import Cell, Format, lay_out, refuse_unknown

EpochChoice = Literal["last", "best", "optimistic"]
COLUMNS = ["method", "epoch", "label", "metric", "mean", "std", "folds", "undefined"]
TITLES = {
    "last": "at the last epoch",
    "best": "at the epoch chosen by validation Dice",
    "optimistic": "each metric at its own best epoch (optimistic: chosen on the cases it is measured on)",
}


@dataclass(frozen=True)
class Record:
    """A finished run: its scores by epoch, then by (case, label), then by metric."""

    method: str
    order: int
    fold: int
    scores: dict[int, dict[tuple[str, str], dict[str, float]]]
    repeat: int = 0


@dataclass(frozen=True)
class Row:
    """A mean over folds of one metric, its standard deviation, and the case scores left out as undefined."""

    method: str
    label: str
    metric: str
    mean: float
    std: float
    folds: int
    undefined: int


def read_records(study: Path) -> list[Record]:
    """The finished runs of a study, in the order of its methods.

    Raises:
        UserError: no study is there.
    """
    if not (study / "study.yaml").exists():
        raise UserError(f"{study} holds no study: name a folder with a study.yaml.")
    records = []
    for path in study.glob("runs/*/*/run.json"):
        run = read_json(path)
        if run["status"] == "done":
            records.append(
                Record(
                    run["method"],
                    run["order"],
                    run["fold"],
                    _scores(path.parent / "validation.csv"),
                    run["repeat"],
                )
            )
    return sorted(records, key=lambda record: (record.order, record.method, record.fold, record.repeat))


def _scores(path: Path) -> dict[int, dict[tuple[str, str], dict[str, float]]]:
    scores: dict[int, dict[tuple[str, str], dict[str, float]]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values = {metric: float(row[metric]) if row[metric] else math.nan for metric in METRICS}
            scores[int(row["epoch"])][row["case"], row["label"]] = values
    return dict(scores)


def summarise(records: Sequence[Record], epoch: EpochChoice = "last") -> list[Row]:
    """Mean per case over repeats, over the cases of a fold, then mean and sample deviation (ddof 1) over folds.

    Args:
        records: of `read_records`.
        epoch: `last`; `best`, of each run by mean validation Dice; or `optimistic`, each metric's own best.

    Raises:
        UserError: an unknown choice of epoch.
    """
    if epoch not in get_args(EpochChoice):
        raise UserError(f"There is no epoch {epoch!r}: choose {', '.join(get_args(EpochChoice))}.")
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.method].append(record)
    return [row for method, runs in groups.items() for row in _method_rows(method, runs, epoch)]


def _method_rows(method: str, runs: Sequence[Record], epoch: EpochChoice) -> list[Row]:
    first = next(iter(runs[0].scores.values()))
    labels = list(dict.fromkeys(label for _, label in first))
    # With several labels, their average a case comes first.
    shown = (
        [("mean", labels), *((label, [label]) for label in labels)] if len(labels) > 1 else [(labels[0], labels)]
    )
    rows = []
    for name, chosen in shown:
        for metric in METRICS:
            means, undefined = [], 0
            for fold in sorted({run.fold for run in runs}):
                repeats = [run for run in runs if run.fold == fold]
                scores = [run.scores[chosen_epoch(run, metric, epoch)] for run in repeats]
                mean, left_out = _fold_mean(scores, metric, chosen)
                undefined += left_out
                if not math.isnan(mean):
                    means.append(mean)
            rows.append(Row(method, name, metric, _mean(means), _std(means), len(means), undefined))
    return rows


def chosen_epoch(run: Record, metric: str, choice: EpochChoice) -> int:
    """The epoch of a run that a choice of epoch takes for a metric."""
    if choice == "last":
        return max(run.scores)
    decisive = "dice" if choice == "best" else metric
    sign = 1 if METRICS[decisive].higher_is_better else -1

    def quality(epoch: int) -> float:
        scores = run.scores[epoch]
        mean, _ = _fold_mean([scores], decisive, sorted({label for _, label in scores}))
        return -math.inf if math.isnan(mean) else sign * mean

    return max(sorted(run.scores), key=quality)


def _fold_mean(
    repeats: Sequence[dict[tuple[str, str], dict[str, float]]], metric: str, labels: Sequence[str]
) -> tuple[float, int]:
    by_case: dict[str, list[float]] = defaultdict(list)
    for scores in repeats:
        for (case, label), values in scores.items():
            if label in labels:
                by_case[case].append(values[metric])
    undefined = sum(math.isnan(value) for values in by_case.values() for value in values)
    means = [_mean([value for value in values if not math.isnan(value)]) for values in by_case.values()]
    return _mean([mean for mean in means if not math.isnan(mean)]), undefined


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _std(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def write_table(study: Path) -> None:
    """Write `table.csv`: every choice of epoch, shares in [0, 1], distances in mm."""
    records = read_records(study)
    rows = [
        {**vars(row), "epoch": choice} for choice in get_args(EpochChoice) for row in summarise(records, choice)
    ]
    write_csv(study / "table.csv", rows, COLUMNS)


def render(
    rows: Sequence[Row],
    format: Format = "text",
    *,
    epoch: EpochChoice = "last",
    folds: int = 0,
    remarks: Sequence[str] = (),
) -> str:
    """The rows as a table: a line a method and label, a column a metric, the best mean of each marked.

    Args:
        rows: of `summarise`.
        format: `text` (best between asterisks), `markdown`, `csv` or `latex`.
        epoch: what the rows were summarised at, for the title.
        folds: of the study; methods with fewer finished are marked. 0 marks none.
        remarks: lines below the table.

    Raises:
        UserError: an unknown format.
    """
    refuse_unknown(format)
    if format == "csv":
        return csv_text([{**vars(row), "epoch": epoch} for row in rows], COLUMNS).rstrip("\n")
    if not rows:
        return "No run is finished yet."
    head, lines = _cells(rows, folds)
    title = f"Mean ± standard deviation over folds, {TITLES[epoch]}"
    return lay_out(title, head, lines, [*_notes(rows), *remarks], format)


def _cells(rows: Sequence[Row], folds: int) -> tuple[list[str], list[list[Cell]]]:
    lines: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        lines[row.method, row.label][row.metric] = row
    labels = {label for _, label in lines}
    best = {(label, metric): _best(rows, label, metric) for label in labels for metric in METRICS}
    head = ["Method", *(["Label"] if len(labels) > 1 else [])]
    head += [metric.title + (" (mm)" if metric.unit == "mm" else "") for metric in METRICS.values()]
    table = []
    for (method, label), found in lines.items():
        finished = max(row.folds for row in found.values())
        name = method if finished >= folds else f"{method} ({finished}/{folds} folds)"
        cells = [Cell(name), *([Cell(label)] if len(labels) > 1 else [])]
        cells += [Cell(_number(found[metric]), found[metric].mean == best[label, metric]) for metric in METRICS]
        table.append(cells)
    return head, table


def _best(rows: Sequence[Row], label: str, metric: str) -> float | None:
    means = [row.mean for row in rows if (row.label, row.metric) == (label, metric) and not math.isnan(row.mean)]
    choose = max if METRICS[metric].higher_is_better else min
    return choose(means, default=None)


def _number(row: Row) -> str:
    scale = METRICS[row.metric].scale
    if math.isnan(row.mean):
        return "undefined"
    mark = "†" if row.undefined else ""
    std = "" if math.isnan(row.std) else f" ± {scale * row.std:.2f}"
    return f"{scale * row.mean:.2f}{std}{mark}"


def _notes(rows: Sequence[Row]) -> list[str]:
    return [
        f"† {row.method}, {METRICS[row.metric].title}: {row.undefined} case score(s) undefined and left out"
        for row in rows
        if row.undefined and row.label in ("all", "mean")
    ]
