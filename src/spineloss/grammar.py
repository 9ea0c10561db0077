"""The grammar of texts that name things with arguments: `0.8*dice + 0.2*boundary`, `meta(x/meta.safetensors)`.

sum      = term {"+" term}
term     = [number "*"] call
call     = name ["(" [argument {"," argument}] ")"]
argument = word "=" (number | "true" | "false" | word) | path | formula
path     = letters, digits and `_.~-` with a slash among them, or anything in double quotes
formula  = number | word ["(" formula {"," formula} ")"]
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypeVar

from spineloss.errors import UserError

TOKEN = re.compile(
    r"\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<path>[\w.~-]*/[\w.~/-]*)"
    r"|(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][\w.]*)|(?P<sign>[-*+(),=]))"
)
BOOLEANS = {"true": True, "false": False}
DEEPEST = 50  # level of a formula: the reader calls itself once per level
LONGEST = 10_000  # characters of a text
QUOTED = 150  # characters of a text that a message repeats, and of a name or number
WHOLE = 15  # digits of a whole number: a longer one is no number of steps, and may be too large for a float


@dataclass(frozen=True)
class Formula:
    """A number, a name, or a name applied to formulas: `add(p, 0.5)`."""

    head: float | str
    arguments: tuple["Formula", ...] = ()

    def nodes(self) -> Iterator["Formula"]:
        """The formula and every one inside it, each before its arguments."""
        yield self
        for argument in self.arguments:
            yield from argument.nodes()

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.arguments))
        return f"{self.head}({inside})" if inside else str(self.head)


Value = float | bool | str | Formula
Named = TypeVar("Named")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Text:
    """A text, and what it is meant to be: `loss`, `weighting`."""

    kind: str
    text: str

    def error(self, complaint: str) -> UserError:
        """A mistake in it, as a sentence."""
        return UserError(f"The {self.kind} {shortened(self.text)!r} is not understood: {complaint}.")

    def sum(self) -> list[tuple[float | None, "Call"]]:
        """Its terms and their weights, none where none is written.

        Raises:
            UserError: the text is malformed.
        """
        return _Reader(self).sum()

    def call(self) -> "Call":
        """Its one call.

        Raises:
            UserError: the text is malformed, or is more than a call.
        """
        return _Reader(self).only(_Reader.call)

    def formula(self) -> Formula:
        """Its one formula.

        Raises:
            UserError: the text is malformed, or is more than a formula.
        """
        return _Reader(self).only(_Reader.formula)


@dataclass(frozen=True)
class Call:
    """A name and its arguments, as written in a text."""

    source: Text
    name: str
    arguments: Mapping[str, Value] = field(default_factory=dict)

    def given(self, arguments: Mapping[str, Value]) -> "Call":
        """The same call with other arguments."""
        return replace(self, arguments=arguments)

    def make(self, known: Mapping[str, Callable[..., Named]]) -> Named:
        """What is known by the name, called; an argument is a word where its default or its annotation is one.

        Raises:
            UserError: the name or an argument is unknown or missing, or a word where a number is meant.
        """
        if self.name not in known:
            near = get_close_matches(self.name, known, n=1, cutoff=0.0)[0]
            raise self.source.error(
                f"there is no {self.source.kind} {self.name!r}; the nearest known one is {near!r}"
            )
        parameters = inspect.signature(known[self.name]).parameters
        for key, parameter in parameters.items():
            needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if needed and key not in self.arguments:
                raise self.source.error(f"{self.name} needs a {key} in parentheses")
        for key, value in self.arguments.items():
            if key not in parameters:
                near = get_close_matches(key, parameters, n=1, cutoff=0.0)
                hint = f"the nearest known one is {near[0]!r}" if near else "it has none"
                raise self.source.error(f"{self.name} has no parameter {key!r}; {hint}")
            wanted = _kind_wanted(parameters[key])
            if _kind(value) != wanted:
                raise self.source.error(f"{key}={value} is not {wanted}")
        return known[self.name](**self.arguments)


def _kind_wanted(parameter: inspect.Parameter) -> str:
    if parameter.annotation is Formula:
        return "a formula"
    return "a word" if isinstance(parameter.default, str) or parameter.annotation is str else "a number"


def _kind(value: Value) -> str:
    if isinstance(value, Formula):
        return "a formula"
    return "a word" if isinstance(value, str | bool) else "a number"


class _Reader:
    def __init__(self, source: Text) -> None:
        self.source = source
        self.tokens = self._tokens()
        self.position = 0

    def _tokens(self) -> list[tuple[str, str]]:
        if len(self.source.text) > LONGEST:
            raise self.source.error(f"it is longer than {LONGEST} characters")
        tokens, position, text = [], 0, self.source.text.rstrip()
        while position < len(text):
            match = TOKEN.match(text, position)
            if match is None:
                raise self.source.error(f"there is something unexpected at {shortened(text[position:].strip())!r}")
            kind = match.lastgroup or ""
            if kind in ("word", "number") and len(match[kind]) > QUOTED:
                raise self.source.error(f"{shortened(match[kind])!r} is longer than {QUOTED} characters")
            tokens.append(("path" if kind == "quoted" else kind, match[kind]))
            position = match.end()
        return tokens

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def _take(self, kind: str, value: str | None = None) -> str:
        found, text = self._peek()
        if found != kind or (value is not None and text != value):
            wanted = repr(value) if value else "the end" if kind == "end" else f"a {kind}"
            where = f"before {shortened(text)!r}" if text else "at the end"
            raise self.source.error(f"{wanted} is expected {where}")
        self.position += 1
        return text

    def sum(self) -> list[tuple[float | None, Call]]:
        terms = [self._term()]
        while self._peek()[0] != "end":
            # "a +2*b" reads its sign as part of the number.
            if not (self._peek()[0] == "number" and self._peek()[1].startswith("+")):
                self._take("sign", "+")
            terms.append(self._term())
        return terms

    def only(self, read: Callable[["_Reader"], Read]) -> Read:
        found = read(self)
        self._take("end")
        return found

    def _term(self) -> tuple[float | None, Call]:
        weight = None
        if self._peek()[0] == "number":
            weight = float(self._take("number"))
            self._take("sign", "*")
        return weight, self.call()

    def call(self) -> Call:
        name = self._take("word")
        arguments: dict[str, Value] = {}
        if self._peek() == ("sign", "("):
            self._take("sign", "(")
            while self._peek() != ("sign", ")"):
                if arguments:
                    self._take("sign", ",")
                key, value = self._argument()
                if key in arguments:
                    raise self.source.error(f"{name} is given its {key} twice")
                arguments[key] = value
            self._take("sign", ")")
        return Call(self.source, name, arguments)

    def _argument(self) -> tuple[str, Value]:
        if self._peek()[0] == "path":
            return "path", self._take("path")
        if self.tokens[self.position + 1 : self.position + 2] != [("sign", "=")]:
            return "formula", self.formula()
        key = self._take("word")
        self._take("sign", "=")
        return key, self._value()

    def formula(self, level: int = 1) -> Formula:
        if level > DEEPEST:
            raise self.source.error(f"it is nested more than {DEEPEST} levels deep")
        if self._peek()[0] == "number":
            return Formula(self._number())
        name = self._take("word")
        arguments = []
        if self._peek() == ("sign", "("):
            while self._peek() != ("sign", ")"):
                self._take("sign", "," if arguments else "(")
                arguments.append(self.formula(level + 1))
            self._take("sign", ")")
        return Formula(name, tuple(arguments))

    def _value(self) -> Value:
        if self._peek()[0] == "number":
            return self._number()
        word = self._take("word")
        # In Python's spelling too: the word "False" would count as true.
        return BOOLEANS.get(word.lower(), word)

    def _number(self) -> float:
        text = self._take("number")
        # Windows and orders are counted: what is written whole stays whole.
        if text.lstrip("+-").isdigit() and len(text) <= WHOLE:
            return int(text)
        if math.isinf(float(text)):
            raise self.source.error(f"{text!r} is larger than any number here")
        return float(text)


def shortened(text: str) -> str:
    """A text as a message repeats it: its beginning, where it is long."""
    # Escaped, a character that cannot be printed is up to ten.
    most = QUOTED if text[:QUOTED].isprintable() else QUOTED // 10
    return text if len(text) <= most else f"{text[:most]}..."
