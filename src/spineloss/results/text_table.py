"""A table as text, Markdown or LaTeX, whatever the names in it are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spineloss.errors import UserError

Format = Literal["text", "markdown", "csv", "latex"]


@dataclass(frozen=True)
class Cell:
    """A cell's text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class TextTable:
    """A title, the columns' names, lines of as many cells as columns, and notes below, a line each."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


def refuse_unknown_format(format: str) -> None:
    """Raise a `UserError` for anything but a `Format`."""
    if format not in get_args(Format):
        raise UserError(f"There is no format {format!r}: choose {', '.join(get_args(Format))}.")


def lay_out(table: TextTable, format: Format) -> str:
    """A table under its title, the best cells marked, the notes below.

    Args:
        table: to lay out.
        format: `text` (best between asterisks), `markdown` or `latex` (best in bold).
    """
    return {"text": _text, "markdown": _markdown, "latex": _latex}[format](table)


def bullets(lines: Sequence[str], format: Format) -> str:
    """Lines as a list, for any format but `csv`."""
    if format == "latex":
        items = [rf"\item {_after_command(escape(line, format))}" for line in lines]
        return "\n".join([r"\begin{itemize}", *items, r"\end{itemize}"])
    return "\n".join(f"- {escape(line, format)}" for line in lines)


def escape(text: str, format: Format) -> str:
    """A text on one line that the format shows as it is."""
    line = re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in text))
    if format == "markdown":
        return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", line)
    if format == "latex":
        return "".join(_LATEX.get(letter, letter) for letter in line)
    return line


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "−": "$-$",
    "<": "$<$",
    ">": "$>$",
}


def _text(table: TextTable) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "text")
        return f"*{text}*" if cell.best else text

    rows = [list(table.head), *([shown(cell) for cell in line] for line in table.lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    laid = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    notes = (escape(note, "text") for note in table.notes)
    return "\n".join([escape(table.title, "text"), laid[0], rule, *laid[1:], *notes])


def _markdown(table: TextTable) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "markdown")
        return f"**{text}**" if cell.best else text

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    body = [line([shown(cell) for cell in row]) for row in table.lines]
    rule = line(["---"] + ["---:"] * (len(table.head) - 1))
    below = ["", *(escape(note, "markdown") for note in table.notes)] if table.notes else []
    return "\n".join([escape(table.title, "markdown"), "", line(table.head), rule, *body, *below])


def _latex(table: TextTable) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "latex")
        return rf"\textbf{{{text}}}" if cell.best else text

    body = [_after_command(" & ".join(shown(cell) for cell in row)) + r" \\" for row in table.lines]
    return "\n".join(
        [
            f"% {escape(table.title, 'latex')}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            " & ".join(escape(text, "latex") for text in table.head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {escape(note, 'latex')}" for note in table.notes),
        ]
    )


def _after_command(text: str) -> str:
    """A text that the command before it does not take for its star or its optional argument."""
    return f"{{}}{text}" if text.startswith(("[", "*")) else text
