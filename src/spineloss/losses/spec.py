"""The text form of a loss: `0.8*dice + 0.2*boundary`, `tversky(alpha=0.7, beta=0.3)`, `mypackage.MyLoss`."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from spineloss.evidence import Evidence
from spineloss.grammar import Call, Text, Value
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

# What was learned from data: imported when a text names it, for it builds on this room.
LEARNED = {"evolved": "spineloss.learned.expression.Evolved", "meta": "spineloss.learned.network.read"}


class Foreign(Loss):
    """Anyone's loss module, called with logits and target alone.

    Args:
        name: its import path.
        arguments: of its class.
        module: the loss itself.
    """

    def __init__(self, name: str, arguments: Mapping[str, Value], module: nn.Module) -> None:
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
        return call.make({call.name: _imported(LEARNED[call.name])})
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
