"""A loss with MONAI's `reduction`, for code that asks for it; all other code takes `spineloss.loss` as it is."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.losses import Loss
from spineloss.losses.compound import WeightedSum
from spineloss.text import loss as loss_of

Reduction = Literal["mean", "sum", "none"]


class MonaiLoss(nn.Module):
    """A loss that gives its mean, its sum or each sample and class, as MONAI's classes do.

    Args:
        text: of the loss, as of `spineloss.loss`.
        reduction: `mean`, the loss itself; `none`, the value of each sample and class, (N, C, 1, ...) as MONAI's
            DiceLoss has it; or `sum`, theirs. A background that the loss leaves out has no value.
        convention: the keyword arguments of `spineloss.loss`.

    Raises:
        UserError: the text or an argument is not understood; or values are wanted of a sum of which one term
            leaves the background out and another keeps it.

    >>> logits, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
    >>> MonaiLoss("dice", reduction="none", activation="softmax")(logits, labels).shape
    torch.Size([2, 3, 1, 1])
    """

    def __init__(self, text: str, *, reduction: Reduction = "mean", **convention: Any) -> None:
        super().__init__()
        if reduction not in get_args(Reduction):
            raise UserError(f"reduction={reduction!r} is unknown; it is 'mean', 'sum' or 'none'.")
        self.loss = loss_of(text, **convention)
        self.reduction = reduction
        keeping = {True} if self.loss.convention.background else _keeping(self.loss)
        if reduction != "mean" and len(keeping) > 1:
            raise UserError(
                f"reduction={reduction!r} has no values of {text} with background=False, as one term keeps the "
                "background and another leaves it out: take a MonaiLoss of each."
            )
        self._first = 0 if True in keeping else 1

    def forward(
        self, logits: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor | Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The reduced loss; logits and target as of any loss, lists only where the reduction is `mean`."""
        if self.reduction == "mean":
            return self.loss(logits, target)
        values = self.loss.per_sample(logits, target)[:, self._first :]
        return values.sum() if self.reduction == "sum" else values.reshape(*values.shape, *[1] * (logits.ndim - 2))


def _keeping(loss: Loss) -> set[bool]:
    """Whether terms keep a background that is to be left out: more than one answer where they differ."""
    if isinstance(loss, WeightedSum):
        return set().union(*map(_keeping, loss.losses))
    return {loss.keeps_background}
