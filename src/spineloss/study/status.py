"""How far a study is, read from its folder, and that as a view of a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spineloss.errors import UserError
from spineloss.results.run_folder import Run
from spineloss.study.settings import load


@dataclass(frozen=True)
class RunStatus:
    """One run: its status, epochs done of all, mean seconds an epoch, last training loss, last validation Dice.

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


def table(rows: Sequence[RunStatus]) -> Table:
    """A line a run: the loss is the last epoch's, Dice the last validation's in percent."""
    lines = Table("method", "fold", "status")
    for numbers in ("epochs", "loss", "Dice", "s/epoch"):
        lines.add_column(numbers, no_wrap=True, justify="right")
    for row in rows:
        # As text: a method may be named "[red]".
        lines.add_row(
            Text(row.method),
            str(row.fold),
            Text(row.status if row.reason is None else f"{row.status}: {row.reason}"),
            f"{row.epochs_done}/{row.epochs}",
            "" if row.train_loss is None else f"{row.train_loss:.4f}",
            "" if row.dice is None else f"{100 * row.dice:.2f}",
            "" if row.seconds_per_epoch is None else f"{row.seconds_per_epoch:.1f}",
        )
    return lines


def summary(rows: Sequence[RunStatus]) -> str:
    """How many runs are done, and the time left."""
    done, left = sum(row.status == "done" for row in rows), seconds_left(rows)
    ahead = "" if left is None else f", {_duration(left)} of training left"
    return f"{done} of {len(rows)} runs done{ahead}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 2 * 3600 else f"about {seconds / 3600:.1f} h"


def view(rows: Sequence[RunStatus], fold: int) -> Group:
    """What a running study looks like: the runs of the fold at work, and how far all folds are."""
    epochs = sum(row.epochs_done for row in rows)
    return Group(
        table([row for row in rows if row.fold == fold]),
        Padding(ProgressBar(total=sum(row.epochs for row in rows), completed=epochs)),
        Text(summary(rows)),
    )
