"""How far a study is: read from its folder, and kept up to date by the events of its training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spineloss.results.race_file import dropped_methods
from spineloss.results.run_folder import Run, epoch_row
from spineloss.results.study_folder import study_file
from spineloss.study.jobs import Event
from spineloss.study.method import Trial
from spineloss.study.settings import Study, load


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

    def after(self, event: Event) -> "RunStatus":
        """The status once an epoch of the run is done, or the run has failed."""
        if event.epoch is None:
            return self if event.rate is not None else replace(self, status="failed", reason=event.reason)
        row = epoch_row(event.epoch.plain())
        tried = self.epochs - event.epochs
        done = min(self.epochs_done + 1, tried) if event.rate is not None else tried + event.epoch.epoch
        counted = replace(
            self,
            reason=None,
            epochs_done=done,
            seconds_per_epoch=((self.seconds_per_epoch or 0.0) * (done - 1) + row["seconds"]) / done,
        )
        if event.rate is not None:
            return replace(counted, status="choosing a rate")
        last = event.epoch.epoch == event.epochs
        status, dice = "done" if last else "running", row.get("dice", self.dice)
        return replace(counted, status=status, train_loss=row["train_loss"], dice=dice)


class LiveStatus:
    """The runs of a study while it trains: read from its folder once, then told of each event."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = {(row.method, row.fold, row.repeat): row for row in read_status(folder)}

    def take(self, event: Event) -> list[RunStatus]:
        """Every run's status after an event."""
        key = (event.method, event.fold, event.repeat)
        self._rows[key] = self._rows[key].after(event)
        return _without_dropped(self._folder, list(self._rows.values()))


def read_status(folder: Path) -> list[RunStatus]:
    """The status of every run that a study's settings ask for.

    Raises:
        UserError: no study is there, or a file of a run is damaged.
    """
    study = load(study_file(folder))
    rows = [
        _run_status(study, trial, Run.of(folder, trial.name, fold, repeat), fold, repeat)
        for trial in study.trials
        for fold in range(study.folds)
        for repeat in range(study.repeats)
    ]
    return _without_dropped(folder, rows)


def _without_dropped(folder: Path, rows: Sequence[RunStatus]) -> list[RunStatus]:
    """The runs, those not begun of methods that a race has dropped as `dropped`."""
    dropped = dropped_methods(folder)
    return [
        replace(row, status="dropped") if row.status == "pending" and row.method in dropped else row
        for row in rows
    ]


def _run_status(study: Study, trial: Trial, run: Run, fold: int, repeat: int) -> RunStatus:
    rates = study.rates(trial.method)
    tried = [run.candidate(rate) for rate in rates] if len(rates) > 1 and not repeat else []
    record = run.record()
    status = record["status"]
    epochs = _epochs(run)
    if status == "pending" and any(candidate.record()["status"] != "pending" for candidate in tried):
        status = "choosing a rate"
    every = [epoch for each in tried for epoch in _epochs(each)] + epochs
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


def _epochs(run: Run) -> list[dict[str, float]]:
    """The epochs of a run that count: none of one that was set aside, to be trained again."""
    return [] if run.is_set_aside else run.epochs()


def seconds_left(rows: Sequence[RunStatus]) -> float | None:
    """Estimated seconds of training left, from each method's pace or else the mean; none before any epoch."""
    paces = {row.method: row.seconds_per_epoch for row in rows if row.seconds_per_epoch is not None}
    if not paces:
        return None
    mean = sum(paces.values()) / len(paces)
    return sum(
        (row.epochs - row.epochs_done) * paces.get(row.method, mean)
        for row in rows
        if row.status not in ("done", "dropped", "failed", "waiting")
    )


def summary(rows: Sequence[RunStatus]) -> str:
    """How many runs are done, and the time left."""
    rows = [row for row in rows if row.status != "dropped"]
    done, left = sum(row.status == "done" for row in rows), seconds_left(rows)
    ahead = "" if left is None else f", {duration(left)} of training left"
    return f"{done} of {len(rows)} runs done{ahead}"


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(20), duration(600), duration(9000)
    ('less than a minute', 'about 10 min', 'about 2.5 h')
    """
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 2 * 3600 else f"about {seconds / 3600:.1f} h"
