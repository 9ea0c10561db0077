"""How far a study is, read from its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spineloss.results.run_folder import Run
from spineloss.results.study_folder import study_file
from spineloss.study.settings import Study, Trial, load


@dataclass(frozen=True)
class RunStatus:
    """One run: its status, epochs done of all, mean seconds per epoch, last training loss, last validation Dice.

    The last three are none before there is one. Epochs count those that try out learning rates.
    """

    method: str
    fold: int
    status: str
    reason: str | None
    epochs_done: int
    epochs: int
    seconds_per_epoch: float | None
    train_loss: float | None
    dice: float | None
    repeat: int = 0


def read_status(folder: Path) -> list[RunStatus]:
    """The status of every run that a study's settings ask for.

    Raises:
        UserError: no study is there.
    """
    study = load(study_file(folder))
    return [
        _run_status(study, trial, Run.of(folder, trial.name, fold, repeat), fold, repeat)
        for trial in study.trials
        for fold in range(study.folds)
        for repeat in range(study.repeats)
    ]


def _run_status(study: Study, trial: Trial, run: Run, fold: int, repeat: int) -> RunStatus:
    rates = study.rates(trial.method)
    tried = [run.candidate(rate) for rate in rates] if len(rates) > 1 and not repeat else []
    record, epochs = run.record(), run.epochs()
    status = record["status"]
    if status == "pending" and any(candidate.record()["status"] != "pending" for candidate in tried):
        status = "choosing a rate"
    every = [epoch for each in (*tried, run) for epoch in each.epochs()]
    return RunStatus(
        trial.name,
        fold,
        status,
        record.get("reason"),
        len(every),
        study.epochs * (1 + len(tried)),
        sum(epoch["seconds"] for epoch in every) / len(every) if every else None,
        epochs[-1]["train_loss"] if epochs else None,
        next((epoch["dice"] for epoch in reversed(epochs) if "dice" in epoch), None),
        repeat,
    )


def seconds_left(rows: Sequence[RunStatus]) -> float | None:
    """Estimated seconds of training left, from each method's pace or else the mean; none before any epoch."""
    paces = {row.method: row.seconds_per_epoch for row in rows if row.seconds_per_epoch is not None}
    if not paces:
        return None
    mean = sum(paces.values()) / len(paces)
    return sum(
        (row.epochs - row.epochs_done) * paces.get(row.method, mean)
        for row in rows
        if row.status not in ("done", "failed")
    )


def summary(rows: Sequence[RunStatus]) -> str:
    """How many runs are done, and the time left."""
    done, left = sum(row.status == "done" for row in rows), seconds_left(rows)
    ahead = "" if left is None else f", {_duration(left)} of training left"
    return f"{done} of {len(rows)} runs done{ahead}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 2 * 3600 else f"about {seconds / 3600:.1f} h"
