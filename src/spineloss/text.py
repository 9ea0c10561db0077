"""The text form of a loss: `0.8*dice + 0.2*boundary`, `tversky(alpha=0.7, beta=0.3)`, `mypackage.MyLoss`."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from spineloss.errors import first_line
from spineloss.grammar import Call, Text
from spineloss.kernels.plain_sums import Activation
from spineloss.learned.formula import Evolved
from spineloss.learned.meta_loss import read_meta_loss
from spineloss.losses import LOSSES, Compound, Loss
from spineloss.losses.base import arguments_of
from spineloss.losses.convention import Convention
from spineloss.losses.deep_supervision import LevelWeights
from spineloss.losses.foreign import Foreign

_imports: ContextVar[bool] = ContextVar("imports", default=True)


@contextmanager
def no_imports() -> Iterator[None]:
    """Inside, a text that names a class by its import path is refused: nothing that it names is executed."""
    before = _imports.set(False)
    try:
        yield
    finally:
        _imports.reset(before)


def parse(text: str, folder: Path = Path()) -> Loss:
    """The loss that a text describes; `parse(str(loss))` is the same loss.

    Args:
        text: weighted terms joined by `+`; a term is a name of `LOSSES` or the import path of an `nn.Module`
            class, with arguments in parentheses where they differ from its defaults;
            or `evolved(...)`, `meta(...)`.
        folder: where relative paths in the text start.

    Raises:
        UserError: the text is malformed, or a name or value is unknown; the message suggests the closest match.

    >>> str(parse("0.8*dice + 0.2*boundary"))
    '0.8*dice + 0.2*boundary'
    >>> str(parse("tversky(beta=0.4)"))
    'tversky(alpha=0.7, beta=0.4)'
    """
    terms = [(weight, _loss(call, folder)) for weight, call in Text("loss", text).sum()]
    if len(terms) == 1 and terms[0][0] is None:
        return terms[0][1]
    return Compound([(1.0 if weight is None else weight, loss) for weight, loss in terms])


def loss(
    text: str,
    *,
    activation: Activation = Convention.activation,
    ignore: int | None = Convention.ignore,
    background: bool = Convention.background,
    class_weights: Sequence[float] | None = Convention.class_weights,
    levels: LevelWeights = Convention.levels,
) -> Loss:
    """The module that a text describes, for any trainer.

    Args:
        text: as of `parse`; `str` of the loss is the text alone.
        activation: `sigmoid`, every channel alone, or `softmax`, exclusive classes.
        ignore: a target value that counts nowhere, such as 255; see `Convention`.
        background: False leaves channel 0 out of overlap and distance terms.
        class_weights: one number per class.
        levels: weights of deep supervision's levels: `nnunet`, `monai` or one number per level.

    Returns:
        An `nn.Module`, called with (logits, target): see `Loss.forward`.

    Raises:
        UserError: the text is malformed, or a name or value is unknown.

    >>> import torch
    >>> module = loss("dice + cross_entropy", activation="softmax", ignore=255, background=False)
    >>> logits, labels = torch.randn(2, 4, 8, 16, 16), torch.randint(4, (2, 1, 8, 16, 16))
    >>> module(logits, labels).shape, str(module)
    (torch.Size([]), '1.0*dice + 1.0*cross_entropy')
    """
    convention = Convention(
        activation=activation, ignore=ignore, background=background, class_weights=class_weights, levels=levels
    )
    return parse(text).with_convention(convention)


def _loss(call: Call, folder: Path) -> Loss:
    if "." not in call.name:
        _refuse_convention(call)

    def meta(path: str, digest: str = "") -> Loss:
        return read_meta_loss(path, digest, folder)

    learned: dict[str, Callable[..., Loss]] = {"evolved": Evolved, "meta": meta}
    if call.name in learned:
        return call.make(learned)
    return _foreign(call) if "." in call.name else call.make(LOSSES)


def _refuse_convention(call: Call) -> None:
    """Refuse in a term what every term of a loss has in common."""
    for field in fields(Convention):
        if field.name in call.arguments:
            raise call.source.error(
                f"{field.name} belongs to the whole loss: spineloss.loss(text, {field.name}=...)"
            )


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _foreign(call: Call) -> Loss:
    if not _imports.get():
        raise call.source.error(f"{call.name} imports code, which --no-imports refuses")
    try:
        found = _imported(call.name)
    # Whatever its module does as it is imported, an exit too, is a mistake in the text.
    except (Exception, SystemExit) as error:
        raise call.source.error(f"{call.name} cannot be imported ({first_line(error)})") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise call.source.error(f"{call.name} is not a class of torch.nn.Module")
    if issubclass(found, Loss):
        _refuse_convention(call)
    try:
        module = found(**call.arguments)
    except (Exception, SystemExit) as error:
        raise call.source.error(f"{call.name} does not take these arguments ({first_line(error)})") from error
    if not isinstance(module, Loss):
        return Foreign(call.name, call.arguments, module)
    _refuse_unwritten(call, type(module))
    # Its own `name` may be its parent's, or another loss's here: its text is the path that it was found by.
    module.name = call.name  # type: ignore[misc]  # of this instance
    return module


def _refuse_unwritten(call: Call, found: type[Loss]) -> None:
    """Refuse an argument that the loss's text would not show."""
    declared = {item.name for item in arguments_of(found)}
    for name in call.arguments.keys() - declared:
        raise call.source.error(f"{call.name} does not declare {name} by parameter(), constant() or choice()")
