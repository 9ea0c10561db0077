"""The text form of a loss: `0.8*dice + 0.2*boundary`, `tversky(alpha=0.7, beta=0.3)`, `mypackage.MyLoss`.

sum   = term {"+" term}
term  = [number "*"] call
call  = name ["(" [argument {"," argument}] ")"]
argument = word "=" (number | "true" | "false" | word)
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from difflib import get_close_matches

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.evidence import Evidence
from spineloss.losses.base import Loss
from spineloss.losses.compound import Compound, DiceCrossEntropy, DiceFocal, TverskyFocal
from spineloss.losses.distance import Boundary, Hausdorff
from spineloss.losses.distribution import CrossEntropy, Focal
from spineloss.losses.region import Asymmetric, Dice, Effectiveness, IoU, Tversky

LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        CrossEntropy,
        Focal,
        Dice,
        IoU,
        Tversky,
        Asymmetric,
        Effectiveness,
        Boundary,
        Hausdorff,
        TverskyFocal,
        DiceCrossEntropy,
        DiceFocal,
    )
}

TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_][\w.]*)|(?P<sign>[-*+(),=]))"
)
BOOLEANS = {"true": True, "false": False}


class Foreign(Loss):
    """Anyone's loss module, called with logits and target alone.

    Args:
        name: its import path.
        arguments: of its class.
        module: the loss itself.
    """

    def __init__(self, name: str, arguments: Mapping[str, float | bool | str], module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self._arguments = dict(arguments)
        self.module = module

    def compute(self, evidence: Evidence) -> torch.Tensor:
        return self.module(evidence.logits.to(evidence.wide), evidence.target.to(evidence.wide))

    def settings(self) -> Mapping[str, float | str]:
        return {
            key: str(value).lower() if isinstance(value, bool) else value for key, value in self._arguments.items()
        }


def parse(text: str) -> Loss:
    """The loss that a text describes; `parse(str(loss))` is the same loss.

    Args:
        text: weighted terms joined by `+`; a term is a name of `LOSSES` or the import path of an `nn.Module`
            class, with arguments in parentheses where they differ from its defaults.

    Raises:
        UserError: the text is malformed, or a name or value is unknown; the nearest known one is told.

    >>> str(parse("0.8*dice + 0.2*boundary"))
    '0.8*dice + 0.2*boundary'
    >>> str(parse("tversky(beta=0.4)"))
    'tversky(alpha=0.7, beta=0.4)'
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.position = 0

    def _tokens(self) -> list[tuple[str, str]]:
        tokens, position, text = [], 0, self.text.rstrip()
        while position < len(text):
            match = TOKEN.match(text, position)
            if match is None:
                raise self._error(f"there is something unexpected at {text[position:].strip()!r}")
            tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            position = match.end()
        return tokens

    def _error(self, complaint: str) -> UserError:
        return UserError(f"The loss {self.text!r} is not understood: {complaint}.")

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def _take(self, kind: str, value: str | None = None) -> str:
        found, text = self._peek()
        if found != kind or (value is not None and text != value):
            wanted = repr(value) if value else f"a {kind}"
            raise self._error(f"{wanted} is expected {f'before {text!r}' if text else 'at the end'}")
        self.position += 1
        return text

    def parse(self) -> Loss:
        terms = [self._term()]
        while self._peek()[0] != "end":
            # "a +2*b" reads its sign as part of the number.
            if not (self._peek()[0] == "number" and self._peek()[1].startswith("+")):
                self._take("sign", "+")
            terms.append(self._term())
        if len(terms) == 1 and terms[0][0] is None:
            return terms[0][1]
        return Compound([(1.0 if weight is None else weight, loss) for weight, loss in terms])

    def _term(self) -> tuple[float | None, Loss]:
        weight = None
        if self._peek()[0] == "number":
            weight = float(self._take("number"))
            self._take("sign", "*")
        return weight, self._call()

    def _call(self) -> Loss:
        name = self._take("word")
        arguments: dict[str, float | bool | str] = {}
        if self._peek() == ("sign", "("):
            self._take("sign", "(")
            while self._peek() != ("sign", ")"):
                if arguments:
                    self._take("sign", ",")
                key = self._take("word")
                self._take("sign", "=")
                arguments[key] = self._argument()
            self._take("sign", ")")
        return self._build(name, arguments)

    def _argument(self) -> float | bool | str:
        if self._peek()[0] == "number":
            return float(self._take("number"))
        word = self._take("word")
        # In Python's spelling too: the word "False" would count as true.
        return BOOLEANS.get(word.lower(), word)

    def _build(self, name: str, arguments: dict[str, float | bool | str]) -> Loss:
        if "." in name:
            return self._foreign(name, arguments)
        if name not in LOSSES:
            near = get_close_matches(name, LOSSES, n=1, cutoff=0.0)[0]
            raise self._error(f"there is no loss {name!r}; the nearest known one is {near!r}")
        known = list(inspect.signature(LOSSES[name]).parameters)
        for key, value in arguments.items():
            if key not in known:
                near = get_close_matches(key, known, n=1, cutoff=0.0)
                hint = f"the nearest known one is {near[0]!r}" if near else "it has none"
                raise self._error(f"{name} has no parameter {key!r}; {hint}")
            word = key in ("over", "unit")
            if isinstance(value, str | bool) != word:
                raise self._error(f"{key}={value} is not {'a word' if word else 'a number'}")
        return LOSSES[name](**arguments)

    def _foreign(self, name: str, arguments: dict[str, float | bool | str]) -> Loss:
        package, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(package), attribute)
        except (ImportError, AttributeError) as error:
            raise self._error(f"{name} cannot be imported ({error})") from error
        if not (inspect.isclass(found) and issubclass(found, nn.Module)):
            raise self._error(f"{name} is not a class of torch.nn.Module")
        try:
            module = found(**arguments)
        except (TypeError, ValueError) as error:
            raise self._error(f"{name} cannot be made with these arguments ({error})") from error
        return module if isinstance(module, Loss) else Foreign(name, arguments, module)
