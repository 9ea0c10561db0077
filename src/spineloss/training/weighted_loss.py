"""A loss for anyone's training loop whose terms are weighted by a policy while it trains."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed, nn

from spineloss.errors import UserError
from spineloss.losses import Loss, WeightedSum
from spineloss.weighting import State, Terms, parse_weighting

Volumes = torch.Tensor | Sequence[torch.Tensor]


class WeightedLoss(nn.Module):
    """A sum of losses whose weights change while training; called like any loss.

    Each call in training mode and with gradients is one training step of the policy. Any other call (`eval()`, or
    under `torch.no_grad()`) is a validation: it has the weights of the last step and changes nothing. The policy's
    state is in the `state_dict`. Where several processes train, the policy sees the mean of their terms, so that
    all have the same weights.

    Args:
        loss: a sum of two terms or more; its own weights are the policy's prior.
        weighting: the policy's text, such as `softadapt(beta=0.1)`, `cov` or `rebalance`.
        epoch: steps per epoch, where the text says `epoch`.
        run: steps of the whole run, where the text says `run`, or nothing (rebalance).

    Raises:
        UserError: the loss is no sum, or the weighting is not understood.

    >>> from spineloss.text import loss
    >>> weighted = WeightedLoss(loss("dice + boundary"), "rebalance(start=0, end=1)", epoch=1, run=2)
    >>> logits, target = torch.zeros(1, 1, 4, 4, requires_grad=True), torch.eye(4)[None, None]
    >>> weighted(logits, target).backward(); weighted.weights
    {'dice': 1.0, 'boundary': 0.0}
    >>> weighted(logits, target).backward(); weighted.weights
    {'dice': 0.0, 'boundary': 1.0}
    """

    def __init__(self, loss: Loss, weighting: str, *, epoch: int = 1, run: int = 1) -> None:
        super().__init__()
        if not isinstance(loss, WeightedSum):
            raise UserError(f"The weighting {weighting!r} needs a sum of losses, and {loss} is none.")
        self.loss = loss
        self.policy = parse_weighting(weighting, epoch=epoch, run=run)
        self.state: State = self.policy.init(loss.names, loss.weights)
        self.weights: Terms = dict(zip(loss.names, loss.weights, strict=True))

    def forward(self, logits: Volumes, target: Volumes, **context: Any) -> torch.Tensor:
        """The weighted sum of the terms, each above its least value; arguments are those of `Loss.forward`."""
        terms = self._terms(logits, target, **context)
        if self.training and torch.is_grad_enabled():
            values = _seen(terms)
            # Half precision may overflow: the loop's scaler skips that step, and so does the policy.
            if all(map(math.isfinite, values.values())):
                self.weights, self.state = self.policy.update(self.state, values)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def _terms(self, logits: Volumes, target: Volumes, **context: Any) -> dict[str, torch.Tensor]:
        if isinstance(logits, torch.Tensor):
            return self.loss.excesses(self.loss.inputs(logits, target, **context))
        levels = self.loss.inputs_of_levels(logits, target, **context)
        parts = [(weight, self.loss.excesses(each)) for weight, each in levels]
        return {name: sum(weight * part[name] for weight, part in parts) for name in self.loss.names}

    def get_extra_state(self) -> dict[str, Any]:
        """The policy's state and the last weights, as plain data."""
        return {"state": self.state, "weights": self.weights}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_extra_state`."""
        self.state, self.weights = state["state"], state["weights"]

    def extra_repr(self) -> str:
        return f"weighting={self.policy}"


def _seen(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """The terms' values, the mean over all processes."""
    values = torch.stack([term.detach() for term in terms.values()])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return dict(zip(terms, values.tolist(), strict=True))
