"""The training loop: epochs out, one record each; its whole state can be saved and given back."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from spineloss.data.batches import Batch, pairs
from spineloss.losses import Loss
from spineloss.seeding import seed_of
from spineloss.training.greedy import Greedy, GreedySearch
from spineloss.training.optimisers import OptimiserName, build_optimiser
from spineloss.training.precision import Precision
from spineloss.training.schedule import poly_learning_rate
from spineloss.training.steps import Plain, Weighted
from spineloss.training.validation import Example, Validation
from spineloss.weighting import Policy


@dataclass(frozen=True)
class TrainingSettings:
    """What training depends on besides network, loss and data."""

    epochs: int
    learning_rate: float
    validate_every: int
    clip_gradient: float | None
    key: tuple[int, int]  # (seed, fold)
    optimiser: OptimiserName = "adam"
    warm_up: int = 0  # epochs


@dataclass(frozen=True)
class Epoch:
    """The record of one epoch: `steps` holds what each step recorded.

    `validation` is empty, and `example` none, where none was due.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    seconds: float
    compute_seconds: float  # forward, backward and optimiser
    steps: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, str | float]] = field(default_factory=list)
    example: Example | None = None

    def plain(self) -> dict[str, Any]:
        """The record as plain data; of its example the one slice is left."""
        plain = vars(self).copy()
        example = plain.pop("example")
        return plain | {"picture": None if example is None else example.picture}


class Training:
    """One network trained with one loss on one fold.

    Args:
        network: initial weights, on the CPU.
        loss: the loss.
        settings: see `TrainingSettings`.
        policy: weights the loss's terms while training; without one their weights stay.
        search: changes the loss's parameters while training; without one they stay. There is no policy then.
        batches: from the epoch's number to its batches.
        validate: scores the network.
        precision: the device, and the precision on it.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        policy: Policy | None = None,
        search: GreedySearch | None = None,
        *,
        batches: Callable[[int], Iterator[Batch]],
        validate: Callable[[nn.Module], Validation],
        precision: Precision,
    ) -> None:
        self.settings = settings
        self.batches = batches
        self.validate = validate
        # A fifth faster per step on the CPU; a GPU's half-precision convolutions like it too.
        self.network = network.to(precision.device, memory_format=torch.channels_last_3d)
        self.optimiser = build_optimiser(settings.optimiser, self.network.parameters(), settings.learning_rate)
        self.precision = precision
        plain = Plain(self.network, loss.to(precision.device), self.optimiser, precision, settings.clip_gradient)
        if search is not None:
            self.step = Greedy(plain, search, (*settings.key, "greedy"))
            self.batches = lambda epoch: pairs(batches(epoch))
        else:
            self.step = plain if policy is None else Weighted(plain, policy)
        self.done = 0

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, as tensors and plain data."""
        return {
            "done": self.done,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.state(),
            "step": self.step.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.done = state["done"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.precision.load(state["scaler"])
        self.step.load(state["step"])

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left, yielding each one's record when it is done.

        Raises:
            LossNotFinite: the loss or its gradient became NaN or infinite.
        """
        while self.done < self.settings.epochs:
            yield self._epoch()

    def _epoch(self) -> Epoch:
        start = time.perf_counter()
        epoch = self.done + 1
        settings = self.settings
        rate = poly_learning_rate(settings.learning_rate, self.done, settings.epochs, settings.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # For networks that draw (dropout): the stream of this epoch, whatever ran before.
        torch.manual_seed(seed_of(*self.settings.key, epoch, "network"))
        steps, compute = [], 0.0
        self.network.train()
        for batch in self.batches(epoch):
            began = time.perf_counter()
            steps.append(self.step(batch.to(self.precision.device)))
            compute += time.perf_counter() - began
        rows: list[dict[str, str | float]] = []
        example = None
        if epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs:
            validation = self.validate(self.network)
            rows, example = validation.rows, validation.example
            compute += validation.forward_seconds
        self.done = epoch
        return Epoch(
            epoch,
            sum(step.loss for step in steps) / len(steps),
            rate,
            time.perf_counter() - start,
            compute,
            [step.record for step in steps if step.record],
            rows,
            example,
        )
