"""How far a study is, read from its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spineloss.errors import UserError
from spineloss.results.run_folder import Run
from spineloss.study.settings import load


@dataclass(frozen=True)
class RunStatus:
    """One run: its status, epochs done of all, mean seconds per epoch, last training loss, last validation Dice.

    The last three are none before there is one.
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


def read_status(folder: Path) -> list[RunStatus]:
    """The status of every run that a study's settings ask for.

    Raises:
        UserError: no study is there.
    """
    path = folder / "study.yaml"
    if not path.exists():
        raise UserError(f"{folder} holds no study: name a folder with a study.yaml.")
    study = load(path)
    rows = []
    for trial in study.trials:
        for fold in range(study.folds):
            run = Run.of(folder, trial.name, fold)
            record, epochs = run.record(), run.epochs()
            rows.append(
                RunStatus(
                    trial.name,
                    fold,
                    record["status"],
                    record.get("reason"),
                    len(epochs),
                    study.epochs,
                    sum(epoch["seconds"] for epoch in epochs) / len(epochs) if epochs else None,
                    epochs[-1]["train_loss"] if epochs else None,
                    next((epoch["dice"] for epoch in reversed(epochs) if "dice" in epoch), None),
                )
            )
    return rows


def seconds_left(rows: Sequence[RunStatus]) -> float | None:
    """Estimated seconds of training left, from each method's pace or else the mean; none before any epoch."""
    paces = {row.method: row.seconds_per_epoch for row in rows if row.seconds_per_epoch is not None}
    if not paces:
        return None
    mean = sum(paces.values()) / len(paces)
    return sum(
        (row.epochs - row.epochs_done) * paces.get(row.method, mean)
        for row in rows
        if row.status in ("pending", "running")
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
