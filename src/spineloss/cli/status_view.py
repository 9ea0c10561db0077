"""The runs of a study on a terminal: as a table, and live while it trains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from spineloss.study.status import RunStatus


def run_table(rows: Sequence["RunStatus"]) -> Table:
    """One line per run: the loss is the last epoch's, Dice the last validation's in percent."""
    lines = Table("method", "fold", "status")
    for numbers in ("epochs", "loss", "Dice", "s/epoch"):
        lines.add_column(numbers, no_wrap=True, justify="right")
    for row in rows:
        # As text: a method may be named "[red]".
        lines.add_row(
            Text(row.method),
            f"{row.fold}, repeat {row.repeat}" if row.repeat else str(row.fold),
            Text(row.status if row.reason is None else f"{row.status}: {row.reason}"),
            f"{row.epochs_done}/{row.epochs}",
            "" if row.train_loss is None else f"{row.train_loss:.4f}",
            "" if row.dice is None else f"{100 * row.dice:.2f}",
            "" if row.seconds_per_epoch is None else f"{row.seconds_per_epoch:.1f}",
        )
    return lines


def view(rows: Sequence["RunStatus"], fold: int) -> Group:
    """What a running study looks like: the runs of the fold at work, and how far all folds are."""
    from spineloss.study.status import summary

    asked = [row for row in rows if row.status != "dropped"]
    epochs, done = sum(row.epochs for row in asked), sum(row.epochs_done for row in asked)
    return Group(
        run_table([row for row in rows if row.fold == fold]),
        Padding(ProgressBar(total=epochs, completed=done)),
        Text(summary(rows)),
    )
