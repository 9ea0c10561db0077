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


def refuse_unknown(format: str) -> None:
    """Raise a `UserError` for anything but a `Format`."""
    if format not in get_args(Format):
        raise UserError(f"There is no format {format!r}: choose {', '.join(get_args(Format))}.")


def lay_out(
    title: str, head: Sequence[str], lines: Sequence[Sequence[Cell]], notes: Sequence[str], format: Format
) -> str:
    """A table under its title, the best cells marked, the notes below.

    Args:
        title: a line.
        head: the columns' names.
        lines: of as many cells as columns.
        notes: a line each.
        format: `text` (best between asterisks), `markdown` or `latex` (best in bold).
    """
    return {"text": _text, "markdown": _markdown, "latex": _latex}[format](title, head, lines, notes)


def bullets(lines: Sequence[str], format: Format) -> str:
    """Lines as a list, for any format but `csv`."""
    if format == "latex":
        items = [rf"\item {escape(line, format)}" for line in lines]
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


def _text(title: str, head: Sequence[str], lines: Sequence[Sequence[Cell]], notes: Sequence[str]) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "text")
        return f"*{text}*" if cell.best else text

    rows = [list(head), *([shown(cell) for cell in line] for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    laid = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([escape(title, "text"), laid[0], rule, *laid[1:], *(escape(note, "text") for note in notes)])


def _markdown(title: str, head: Sequence[str], lines: Sequence[Sequence[Cell]], notes: Sequence[str]) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "markdown")
        return f"**{text}**" if cell.best else text

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    body = [line([shown(cell) for cell in row]) for row in lines]
    rule = line(["---"] + ["---:"] * (len(head) - 1))
    below = ["", *(escape(note, "markdown") for note in notes)] if notes else []
    return "\n".join([escape(title, "markdown"), "", line(head), rule, *body, *below])


def _latex(title: str, head: Sequence[str], lines: Sequence[Sequence[Cell]], notes: Sequence[str]) -> str:
    def shown(cell: Cell) -> str:
        text = escape(cell.text, "latex")
        return rf"\textbf{{{text}}}" if cell.best else text

    body = [" & ".join(shown(cell) for cell in row) + r" \\" for row in lines]
    return "\n".join(
        [
            f"% {escape(title, 'latex')}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(escape(text, "latex") for text in head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {escape(note, 'latex')}" for note in notes),
        ]
    )
