"""The catalogue of the library's losses, read from their classes: docstring and declared arguments."""

import inspect
import re
from dataclasses import dataclass
from difflib import get_close_matches

from spineloss.errors import UserError
from spineloss.losses import LOSSES
from spineloss.losses.base import Loss, arguments_of, range_of, short

SECTION = re.compile(r"^(Args|References):\n", re.MULTILINE)
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
    """One loss of the catalogue."""

    name: str
    category: str
    formula: str
    equation: str
    use: str
    arguments: tuple[Argument, ...]
    paper: str
    example: str

    def text(self) -> str:
        """The entry without its arguments."""
        lines = [f"{self.name} ({self.category})", "", self.formula, ""]
        lines += [f"Use: {self.use}"] if self.use else []
        lines += [f"Paper: {self.paper}"] if self.paper else []
        return "\n".join([*lines, f"Example: {self.example}"])


def entry(name: str) -> Entry:
    """What is known of a loss.

    Args:
        name: of `LOSSES`.

    Raises:
        UserError: there is no such loss; the message suggests the closest match.

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
        category=loss.category,
        formula=sections["formula"].strip(),
        equation=loss.equation,
        use=loss.use,
        arguments=tuple(
            Argument(item.name, short(item.default), range_of(item), item.metadata["meaning"])
            for item in arguments_of(loss)
        ),
        paper=" ".join(sections.get("References", "").split()),
        example=str(loss()),
    )


def entries() -> list[Entry]:
    """Every loss of the library."""
    return [entry(name) for name in LOSSES]


def _sections(loss: type[Loss]) -> dict[str, str]:
    formula, *named = SECTION.split(DOCTEST.sub("", inspect.getdoc(loss) or ""))
    return {"formula": formula, **dict(zip(named[::2], named[1::2], strict=True))}
