"""How far a study is, read from its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spineloss.errors import UserError
from spineloss.study.runs import Run
from spineloss.study.specification import load


@dataclass(frozen=True)
class RunStatus:
    """One run: its status, epochs done of all, and mean seconds an epoch (none before the first)."""

    method: str
    fold: int
    status: str
    reason: str | None
    epochs_done: int
    epochs: int
    seconds_per_epoch: float | None


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
            record = run.record()
            rows.append(
                RunStatus(
                    trial.name,
                    fold,
                    record["status"],
                    record.get("reason"),
                    run.epochs_done(),
                    study.epochs,
                    run.seconds_per_epoch(),
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
