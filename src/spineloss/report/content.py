"""What a finished study says, as plain data: the report's numbers, without its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spineloss.errors import UserError
from spineloss.metrics import METRICS
from spineloss.results.comparison import (
    Result,
    compare_study,
    refuse_unknown_metrics,
    refuse_unmeasured_metrics,
)
from spineloss.results.convergence import Convergence
from spineloss.results.learning_rates import rates_in_words, read_choices
from spineloss.results.race_course import Course, read_course
from spineloss.results.rate_ranges import RateRange, open_ends_in_words, rate_ranges
from spineloss.results.records import Record, case_values, is_missed, measured, read_records, run_curve
from spineloss.results.run_folder import Run
from spineloss.results.score_text import score
from spineloss.results.sentences import answer_sentences, caution, verdict_words
from spineloss.results.study_folder import read_folds, tested_in_words
from spineloss.results.surface import Surface
from spineloss.results.table import Summary, best_rows, summarise
from spineloss.results.trained_on import hardware_in_words
from spineloss.study.settings import Study, load
from spineloss.study.status import RunStatus, read_status
from spineloss.thesis.published import published

CURVES = ("train_loss", "learning_rate", *METRICS)


@dataclass(frozen=True)
class Score:
    """A number of the table: as it is shown, as it is sorted, whether it is best, and its mark of significance."""

    text: str
    value: float
    best: bool
    mark: str
    words: str


@dataclass(frozen=True)
class MethodRow:
    """A method's scores by metric, over its finished folds, and the published ones that the study asks for."""

    method: str
    folds: int
    scores: dict[str, Score]
    published: dict[str, str]


@dataclass(frozen=True)
class Content:
    """All of it: `values` by metric, method and case; `curves` by method, column and run, epoch -> value.

    `missed` has by method and metric the epochs at which a run missed a structure, which its curve leaves out.
    `metrics` decide, in their order; without a second method nothing is compared, and `results` is empty.
    `ranges` are of the learning rates where methods chose theirs, `rates` the same in words; `race` is none where
    no race was run, and `anatomy` where none of the thesis's results stand beside.
    """

    name: str
    folder: Path
    study: Study
    methods: list[str]
    answer: list[str]
    table: list[MethodRow]
    metrics: list[str]
    results: dict[str, Result]
    values: dict[str, dict[str, dict[str, float]]]
    rows: list[Summary]
    curves: dict[str, dict[str, list[dict[int, float]]]]
    missed: dict[str, dict[str, set[int]]]
    statuses: list[RunStatus]
    folds: list[list[str]]
    records: dict[tuple[str, int, int], dict[str, Any]]
    landscapes: dict[str, Surface]
    ranges: list[RateRange]
    hardware: list[str]
    rates: list[str]
    patients: int
    race: Course | None
    anatomy: str | None

    def summary(self, method: str, metric: str) -> Summary:
        """What the table has of a method: the first of its summaries is the average over its labels."""
        return next(row for row in self.rows if (row.method, row.metric) == (method, metric))

    @property
    def cases(self) -> list[str]:
        """Every case that a finished run was measured on."""
        return sorted({case for found in self.values[self.decisive].values() for case in found})

    @property
    def convergence(self) -> Convergence | None:
        """Whether training had converged by the deciding metric; none with one method."""
        return self.results[self.decisive].convergence if self.results else None

    @property
    def decisive(self) -> str:
        """The metric that decides first."""
        return self.metrics[0]


def read_content(
    folder: Path,
    metrics: Sequence[str] = ("dice",),
    reference: str | None = None,
    margins: Sequence[float] = (),
) -> Content:
    """Read a study's folder.

    Args:
        folder: the study's.
        metrics: which decide, in this order.
        reference: the method to compare with; if none, the one with the best mean of the first metric.
        margins: of equivalence, as `compare_study` takes them.

    Raises:
        UserError: no study is there, no run of it is finished, or what decides is unknown or has no value.
    """
    refuse_unknown_metrics(metrics)
    statuses = read_status(folder)
    study = load(folder / "study.yaml")
    records = read_records(folder)
    if not records:
        raise UserError(f"{folder} has no finished run yet: finish it with `spineloss study run`.")
    refuse_unmeasured_metrics(records, metrics)
    methods = list(dict.fromkeys(record.method for record in records))
    runs = {method: [record for record in records if record.method == method] for method in methods}
    others = [metric for metric in measured(records) if metric not in metrics]
    compared = compare_study(records, metrics, reference, margins, beside=others) if len(methods) > 1 else []
    results = {result.metric: result for result in compared}
    rows = summarise(records, "last")
    choices = read_choices(folder)
    ranges = rate_ranges(choices)
    anatomy = study.beside and study.beside.removeprefix("thesis-")
    return Content(
        name=folder.resolve().name,
        folder=folder,
        study=study,
        methods=methods,
        answer=[
            *_answer([results[metric] for metric in metrics] if results else [], methods),
            *tested_in_words(folder),
        ],
        table=_table(methods, rows, results, published(anatomy) if anatomy else {}),
        metrics=list(metrics),
        results=results,
        values={metric: case_values(records, metric, patients=False) for metric in measured(records)},
        rows=rows,
        curves={method: _curves(folder, of_method) for method, of_method in runs.items()},
        missed={method: _missed(of_method) for method, of_method in runs.items()},
        statuses=statuses,
        folds=read_folds(folder)["folds"],
        records={
            (record.method, record.fold, record.repeat): Run.of(
                folder, record.method, record.fold, record.repeat
            ).record()
            for record in records
        },
        landscapes={
            f"{record.method}, fold {record.fold}": surface
            for record in records
            if not record.repeat and (surface := Run.of(folder, record.method, record.fold).landscape())
        },
        ranges=ranges,
        hardware=hardware_in_words(folder),
        rates=[*rates_in_words(choices), *open_ends_in_words(ranges)],
        patients=len(set().union(*case_values(records, metrics[0]).values())),
        race=read_course(folder),
        anatomy=anatomy,
    )


def _answer(deciding: Sequence[Result], methods: Sequence[str]) -> list[str]:
    if not deciding:
        return [f"Only {methods[0]} is finished: a second method is needed to compare it with."]
    return answer_sentences(deciding)


def _table(
    methods: Sequence[str],
    rows: Sequence[Summary],
    results: dict[str, Result],
    theirs: dict[str, dict[str, str]],
) -> list[MethodRow]:
    # The first of a method's summaries is the average over its labels.
    shown = {(row.method, row.metric): row for row in reversed(rows)}
    return [
        MethodRow(
            method,
            max(row.folds for row in rows if row.method == method),
            {
                metric: _score(shown[method, metric], [shown[other, metric] for other in methods], results)
                for metric in dict.fromkeys(row.metric for row in rows)
            },
            theirs.get(method, {}),
        )
        for method in methods
    ]


def _score(row: Summary, rows: Sequence[Summary], results: dict[str, Result]) -> Score:
    """A method's score as the table shows it, beside those of all methods."""
    text, best = score(row.metric, row.mean, row.std), row in best_rows(rows)
    missed = f"{row.missed} missed structures are left out of the mean" if row.missed else ""
    text += "†" if missed else ""
    comparison = results[row.metric].comparison if row.metric in results else None
    contrast = comparison.contrasts.get(row.method) if comparison else None
    if comparison is None or contrast is None:
        return Score(text, row.mean, best, "", missed)
    mark = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": ""}[contrast.verdict]
    words = [verdict_words(contrast, comparison.unit), f"against {comparison.reference}"]
    words += [f"p = {contrast.p_holm:.2g}", caution(contrast) or "", missed]
    return Score(text, row.mean, best, mark, "; ".join(filter(None, words)))


def _curves(folder: Path, records: Sequence[Record]) -> dict[str, list[dict[int, float]]]:
    """Column -> run -> epoch -> value; a metric's mean is over what the table's is over."""
    curves: dict[str, list[dict[int, float]]] = {column: [] for column in CURVES}
    for record in records:
        epochs = Run.of(folder, record.method, record.fold, record.repeat).epochs()
        for column, runs in curves.items():
            if column in METRICS:
                runs.append(run_curve(record, column))
            else:
                runs.append({int(epoch["epoch"]): epoch[column] for epoch in epochs})
    return curves


def _missed(records: Sequence[Record]) -> dict[str, set[int]]:
    validated = [(epoch, cases.values()) for record in records for epoch, cases in record.scores.items()]
    return {
        metric: {epoch for epoch, cases in validated if any(is_missed(scores, metric) for scores in cases)}
        for metric in METRICS
    }
