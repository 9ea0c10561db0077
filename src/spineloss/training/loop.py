"""The training loop: epochs out, one record each; its whole state can be saved and given back."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from spineloss.data.batches import Batch, pairs
from spineloss.seeding import seed_of
from spineloss.training.greedy import Greedy, GreedySearch
from spineloss.training.optimisers import OptimiserName, build_optimiser
from spineloss.training.phases import Phase, trained_part
from spineloss.training.precision import Precision
from spineloss.training.schedule import poly_learning_rate
from spineloss.training.steps import Plain, Weighted
from spineloss.training.validation import Example, Validation
from spineloss.weighting import Policy


@dataclass(frozen=True)
class TrainingSettings:
    """What training depends on besides network, losses and data."""

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
    """One network trained on one fold, with one loss or with those of its phases.

    Each phase begins with a new optimiser, at the learning rate where it starts to fall.

    Args:
        network: initial weights, on the CPU.
        phases: what is trained with which loss, one after the other. Of several, or of a part, the network is the
            U-Net.
        settings: see `TrainingSettings`.
        policy: weights the loss's terms while training; without one their weights stay. There is one phase then.
        search: changes the loss's parameters while training; without one they stay. There is one phase and no
            policy then.
        batches: from the epoch's number to its batches.
        validate: scores the network.
        precision: the device, and the precision on it.
    """

    def __init__(
        self,
        network: nn.Module,
        phases: Sequence[Phase],
        settings: TrainingSettings,
        policy: Policy | None = None,
        search: GreedySearch | None = None,
        *,
        batches: Callable[[int], Iterator[Batch]],
        validate: Callable[[nn.Module], Validation],
        precision: Precision,
    ) -> None:
        self.phases = phases
        self.settings = settings
        self.policy = policy
        self.search = search
        self.batches = batches if search is None else lambda epoch: pairs(batches(epoch))
        self.validate = validate
        # A fifth faster per step on the CPU; a GPU's half-precision convolutions like it too.
        self.network = network.to(precision.device, memory_format=torch.channels_last_3d)
        self.precision = precision
        self.done = 0
        self._begin(0)

    def _begin(self, number: int) -> None:
        """Set up a phase: what is trained, its optimiser and its step."""
        self.phase, settings = number, self.settings
        phase = self.phases[number]
        self.trained = self.network
        if len(self.phases) > 1 or phase.part != "all":
            self.trained = trained_part(self.network, phase.part, seed_of(*settings.key, number, "head"))
        trained = [parameter for parameter in self.trained.parameters() if parameter.requires_grad]
        self.optimiser = build_optimiser(settings.optimiser, trained, settings.learning_rate)
        loss = phase.loss.to(self.precision.device)
        plain = Plain(self.trained, loss, self.optimiser, self.precision, settings.clip_gradient)
        if self.search is not None:
            self.step = Greedy(plain, self.search, (*settings.key, "greedy"))
        else:
            self.step = plain if self.policy is None else Weighted(plain, self.policy)

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, as tensors and plain data."""
        return {
            "done": self.done,
            "phase": self.phase,
            "network": self.network.state_dict(),
            "head": {} if self.trained is self.network else self.trained[-1].state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.state(),
            "step": self.step.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.done = state["done"]
        if state.get("phase", 0) != self.phase:  # checkpoints were without phases once
            self._begin(state["phase"])
        self.network.load_state_dict(state["network"])
        if self.trained is not self.network:
            self.trained[-1].load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.precision.load(state["scaler"])
        self.step.load(state["step"])

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left, yielding each one's record when it is done.

        Raises:
            LossNotFinite: the loss or its gradient became NaN or infinite.
        """
        before = 0  # epochs of earlier phases
        for number, phase in enumerate(self.phases):
            while self.done < before + phase.epochs:
                if number != self.phase:
                    self._begin(number)
                yield self._epoch(self.done - before)
            before += phase.epochs

    def _epoch(self, of_phase: int) -> Epoch:
        start = time.perf_counter()
        epoch = self.done + 1
        settings, phase = self.settings, self.phases[self.phase]
        rate = poly_learning_rate(settings.learning_rate, of_phase, phase.epochs, settings.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # For networks that draw (dropout): the stream of this epoch, whatever ran before.
        torch.manual_seed(seed_of(*settings.key, epoch, "network"))
        steps, compute = [], 0.0
        self.network.train()
        for batch in self.batches(epoch):
            began = time.perf_counter()
            steps.append(self.step(batch.to(self.precision.device)))
            compute += time.perf_counter() - began
        rows: list[dict[str, str | float]] = []
        example = None
        last = sum(phase.epochs for phase in self.phases)
        if epoch % settings.validate_every == 0 or epoch == last:
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
