"""What one optimiser step does with one batch."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from spineloss.data.batches import Batch
from spineloss.losses import Loss, WeightedSum
from spineloss.training.precision import GradientNotFinite, Precision
from spineloss.weighting import Policy, State, step_record


class LossNotFinite(ArithmeticError):
    """The training loss, its gradient, or what the network makes of a case, became NaN or infinite."""


@dataclass(frozen=True)
class Step:
    """What a step found: the loss before it, and the numbers that it records, by name."""

    loss: float
    record: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plain:
    """Forward, loss, backward, optimiser.

    Args:
        network: from images to logits.
        loss: called in float32.
        optimiser: of the network's parameters.
        precision: of the forward pass.
        clip_gradient: largest gradient norm, or none.
    """

    network: nn.Module
    loss: Loss
    optimiser: torch.optim.Optimizer
    precision: Precision
    clip_gradient: float | None

    def __call__(self, batch: Batch) -> Step:
        """Take one step.

        Raises:
            LossNotFinite: the loss or its gradient is NaN or infinite; the step is not taken.
        """
        logits = self.precision.logits(self.network, batch.image)
        value = sum(share * self.loss(logits, target.truth, **target.context()) for share, target in batch.targets)
        return Step(self.descend(value))

    def state(self) -> dict[str, Any]:
        """What the next step depends on besides network and optimiser: nothing."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""

    def descend(self, value: torch.Tensor) -> float:
        """Take the optimiser's step down a scalar of the network's graph, and return the scalar.

        Raises:
            LossNotFinite: it or its gradient is NaN or infinite; the step is not taken.
        """
        seen = value.item()
        if not torch.isfinite(value):
            raise LossNotFinite(f"the training loss became {seen}")
        self.optimiser.zero_grad(set_to_none=True)
        self.precision.backward(value)
        self.update()
        return seen

    def update(self) -> None:
        """Take the optimiser's step down the gradients that the parameters hold, scaled by the precision's scale.

        Raises:
            LossNotFinite: a gradient is NaN or infinite; the step is not taken.
        """
        try:
            self.precision.step(self.optimiser, self.clip_gradient)
        except GradientNotFinite as error:
            raise LossNotFinite(f"the training loss is finite, but {error}") from error


class Weighted:
    """A plain step whose terms are weighted by a policy.

    MixUp's two targets give one value per term, mixed by their shares; the policy is asked once per step.

    Args:
        plain: the step; its loss is a weighted sum, whose own weights are the policy's prior.
        policy: the weighting.
    """

    def __init__(self, plain: Plain, policy: Policy) -> None:
        self.plain = plain
        self.loss: WeightedSum = plain.loss
        self.policy = policy
        self.weighting: State = policy.init(self.loss.names, self.loss.weights)

    def __call__(self, batch: Batch) -> Step:
        """Take one step; the record holds each term's value, above its least, and weight.

        Raises:
            LossNotFinite: a term is NaN or infinite; the step is not taken.
        """
        logits = self.plain.precision.logits(self.plain.network, batch.image)
        parts = [
            (share, self.loss.excesses(self.loss.inputs(logits, target.truth, **target.context())))
            for share, target in batch.targets
        ]
        terms = {name: sum(share * part[name] for share, part in parts) for name in self.loss.names}
        values = {name: term.item() for name, term in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise LossNotFinite(f"the term {name} of the training loss became {value}")
        weights, after = self.policy.update(self.weighting, values)
        seen = self.plain.descend(sum(weights[name] * term for name, term in terms.items()))
        self.weighting = after
        return Step(seen, step_record(values, weights))

    def state(self) -> dict[str, Any]:
        """The policy's state."""
        return self.weighting

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.weighting = state
