"""The text form of a loss: `0.8*dice + 0.2*boundary`, `tversky(alpha=0.7, beta=0.3)`, `mypackage.MyLoss`."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from spineloss.grammar import Call, Text
from spineloss.learned.formula import Evolved
from spineloss.learned.meta_loss import read_meta_loss
from spineloss.losses import LOSSES, Compound, Loss
from spineloss.losses.foreign import Foreign

# What was learned from data.
LEARNED: dict[str, Callable[..., Loss]] = {"evolved": Evolved, "meta": read_meta_loss}


def parse(text: str) -> Loss:
    """The loss that a text describes; `parse(str(loss))` is the same loss.

    Args:
        text: weighted terms joined by `+`; a term is a name of `LOSSES` or the import path of an `nn.Module`
            class, with arguments in parentheses where they differ from its defaults;
            or `evolved(...)`, `meta(...)`.

    Raises:
        UserError: the text is malformed, or a name or value is unknown; the nearest known one is told.

    >>> str(parse("0.8*dice + 0.2*boundary"))
    '0.8*dice + 0.2*boundary'
    >>> str(parse("tversky(beta=0.4)"))
    'tversky(alpha=0.7, beta=0.4)'
    """
    terms = [(weight, _loss(call)) for weight, call in Text("loss", text).sum()]
    if len(terms) == 1 and terms[0][0] is None:
        return terms[0][1]
    return Compound([(1.0 if weight is None else weight, loss) for weight, loss in terms])


def _loss(call: Call) -> Loss:
    if call.name in LEARNED:
        return call.make(LEARNED)
    return _foreign(call) if "." in call.name else call.make(LOSSES)


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _foreign(call: Call) -> Loss:
    try:
        found = _imported(call.name)
    except (ImportError, AttributeError) as error:
        raise call.source.error(f"{call.name} cannot be imported ({error})") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise call.source.error(f"{call.name} is not a class of torch.nn.Module")
    try:
        module = found(**call.arguments)
    except (TypeError, ValueError) as error:
        raise call.source.error(f"{call.name} cannot be made with these arguments ({error})") from error
    return module if isinstance(module, Loss) else Foreign(call.name, call.arguments, module)
