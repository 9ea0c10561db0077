"""The catalogue of the library's losses, read from their classes: docstring, signature and declared parameters."""

import inspect
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args, get_origin

from spineloss.errors import UserError
from spineloss.losses import LOSSES
from spineloss.losses.base import Loss

SECTION = re.compile(r"^(Args|References):\n", re.MULTILINE)
ARGUMENT = re.compile(r"^ {4}(\w+): ((?:.+\n?)(?:^ {5,}.+\n?)*)", re.MULTILINE)
DOCTEST = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


@dataclass(frozen=True)
class Argument:
    """An argument of a loss as text: its default, the range of its values and its meaning."""

    name: str
    default: str
    range: str
    meaning: str


@dataclass(frozen=True)
class Entry:
    """What is told of one loss."""

    name: str
    category: str
    formula: str
    arguments: tuple[Argument, ...]
    paper: str
    example: str

    def text(self) -> str:
        """The entry without its arguments."""
        lines = [f"{self.name} ({self.category})", "", self.formula, ""]
        lines += [f"Paper: {self.paper}"] if self.paper else []
        return "\n".join([*lines, f"Example: {self.example}"])


def entry(name: str) -> Entry:
    """What is known of a loss.

    Args:
        name: of `LOSSES`.

    Raises:
        UserError: there is no such loss; the nearest known one is told.

    >>> entry("tversky").category
    'region'
    """
    if name not in LOSSES:
        near = get_close_matches(name, LOSSES, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no loss {name!r}; the nearest known one is {near!r}.")
    loss = LOSSES[name]
    sections = _sections(loss)
    return Entry(
        name=name,
        # Losses live in one module a category of the seed's Fig. 2.2.
        category=loss.__module__.rpartition(".")[2],
        formula=sections["formula"].strip(),
        arguments=_arguments(loss, sections.get("Args", "")),
        paper=" ".join(sections.get("References", "").split()),
        example=str(loss()),
    )


def entries() -> list[Entry]:
    """Every loss of the library."""
    return [entry(name) for name in LOSSES]


def _sections(loss: type[Loss]) -> dict[str, str]:
    formula, *named = SECTION.split(DOCTEST.sub("", inspect.getdoc(loss) or ""))
    return {"formula": formula, **dict(zip(named[::2], named[1::2], strict=True))}


def _arguments(loss: type[Loss], section: str) -> tuple[Argument, ...]:
    meanings = {name: " ".join(meaning.split()) for name, meaning in ARGUMENT.findall(section)}
    return tuple(
        Argument(name, _short(argument.default), _range(loss, argument), meanings[name])
        for name, argument in inspect.signature(loss, eval_str=True).parameters.items()
        if argument.kind is not argument.VAR_KEYWORD
    )


def _short(default: object) -> str:
    return f"{default:.4g}" if isinstance(default, float) else str(default)


def _range(loss: type[Loss], argument: inspect.Parameter) -> str:
    for parameter in loss.declared:
        if parameter.name == argument.name:
            return f"{parameter.low:g} to {parameter.high:g}"
    return " or ".join(get_args(argument.annotation)) if get_origin(argument.annotation) is Literal else ""
