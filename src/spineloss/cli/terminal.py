"""What every command prints with: lines, tables, and the exit codes."""

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, emoji=False, soft_wrap=True)  # a file may be named a:100:b.nii.gz
FAILED = 1


def say(line: str) -> None:
    """Print a line; markup stays off, because a case or method may be named "[red]"."""
    # A file's name may be text in another encoding, which no terminal prints.
    console.print(line.encode("utf-8", "backslashreplace").decode(), markup=False)


def show(table: Table) -> None:
    """Print a table at least 120 wide: a number cut off by a narrow terminal is worse than a wrapped line."""
    Console(highlight=False, emoji=False, width=max(console.width, 120)).print(table)


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",")]
