"""A meta-loss learned before it is used: over several fresh networks in turn, the best one kept."""

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spineloss.data.batches import pairs
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset, Sample
from spineloss.errors import UserError
from spineloss.files import read_json, sealed, unsealed, write_atomically, write_csv, write_json
from spineloss.learned.imitation import imitate
from spineloss.learned.meta_loss import MetaLoss, read_meta_loss
from spineloss.search.card import Learned, write_card
from spineloss.search.fresh import Budget, train
from spineloss.search.split import prepare_search, write_split
from spineloss.search.tasks import HERE, Machines
from spineloss.text import parse
from spineloss.training.loop import Training
from spineloss.training.online import Online
from spineloss.training.precision import Precision, best_device
from spineloss.training.steps import LossNotFinite

META_RATE = 0.0003  # of the loss
SCORED = 3  # networks, each of its own initial weights and batches, that a frozen loss is scored by
PATIENCE = 6  # networks in turn that may bring nothing better


@dataclass(frozen=True)
class MetaSettings:
    """What the loss that is found depends on, besides the data.

    Args:
        imitate: text of the loss to start from.
        objective: text of the loss that judges each step on another batch.
        budget: of each network, and the seed of every random draw.
    """

    imitate: str
    objective: str
    budget: Budget


@dataclass(frozen=True)
class Round:
    """A network that the loss was learned with, and what the loss was worth then.

    Args:
        number: of the network; 0 is the start, before any.
        online_dice: mean validation Dice of that network; NaN for the start, or where it failed.
        frozen_dice: the same of `SCORED` networks trained with the loss as it then was, averaged: each time of the
            same initial weights and batches.
        best: whether no earlier loss was better.
        seconds: training and scoring.
    """

    number: int
    online_dice: float
    frozen_dice: float
    best: bool
    seconds: float

    def __str__(self) -> str:
        online = f"{100 * self.online_dice:.2f} while learning, " if self.number else ""
        best = ", the best so far" if self.best else ""
        return f"network {self.number}: validation Dice {online}{100 * self.frozen_dice:.2f} frozen{best}"


def learn(
    source: Path,
    settings: MetaSettings,
    folder: Path,
    *,
    minutes: float,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    machines: Machines = HERE,
) -> Iterator[Round]:
    """Learn a meta-loss on two thirds of the cases, yielding each round when its results are in the folder.

    It ends when the minutes are over or `PATIENCE` networks in turn brought no better validation Dice. Killed at
    any moment and started again, it goes on with the same numbers.

    Args:
        source: folder of volumes, or a CSV manifest.
        settings: see `MetaSettings`.
        folder: gets `meta.safetensors` (the best so far), `start.safetensors` (the imitation),
            `random.safetensors` (a control that nothing was taught), each for `meta(...)`; `meta.json`, which
            says where they are from; `split.json` and `rounds.csv`; in the end `card.md`.
        minutes: of all rounds together, earlier ones in the folder counted.
        progress: called with a line about what is being done before the first round.
        cache: of prepared cases; the user's by default.
        machines: that train the networks which a loss is scored by; the one it is learned with trains here.

    Raises:
        UserError: the data has problems or too few cases, or the folder holds another search.
    """
    for text in (settings.imitate, settings.objective):
        parse(text)  # a mistake in it is reported before the data is read
    budget = settings.budget
    data, cases = prepare_search(source, budget.grid, budget.seed, cache=cache, progress=progress)
    if len(cases.training) < 2 * budget.batch:
        raise UserError(f"{source} leaves {len(cases.training)} cases to learn on: lower the batch or add cases.")
    identity = {"settings": vars(settings) | {"budget": budget.plain()}, "data": data.digest}
    about = folder / "meta.json"
    if about.exists() and {key: read_json(about).get(key) for key in identity} != identity:
        raise UserError(f"{folder} holds a search with other settings or data: choose another folder.")
    write_split(folder, budget.seed, cases)
    write_json(about, identity)
    search = _Search(settings, data, cases.training, cases.validation, folder, machines)
    search.begin(progress)
    while search.goes_on(minutes):
        yield search.round()
    if search.rounds:
        write_card(folder, search.learned(), source, data, cases, budget)


@dataclass(frozen=True)
class Networks:
    """The fresh networks of a search, and the cases that they are trained and validated on."""

    budget: Budget
    training: Sequence[Sample]
    validation: Sequence[Sample]
    needs: frozenset[str]
    threads: int

    def fresh(self, draw: int, loss: MetaLoss, precision: Precision) -> Training:
        """A training that has not begun, of initial weights and batches by number."""
        return self.budget.fresh(draw, loss, self.training, self.validation, needs=self.needs, precision=precision)


def _frozen(subject: tuple[Networks, MetaLoss], draw: int) -> float:
    """The validation Dice of a network that is trained with the loss as it is; NaN where that fails."""
    networks, loss = subject
    torch.set_num_threads(networks.threads)
    precision = Precision(best_device())
    try:
        return train(networks.fresh(draw, loss.to(precision.device).requires_grad_(False), precision))
    except LossNotFinite:
        return math.nan


class _Search:
    """The loss while it is learned, and the best so far."""

    def __init__(
        self,
        settings: MetaSettings,
        data: Dataset,
        training: list[str],
        validation: list[str],
        folder: Path,
        machines: Machines,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.networks = Networks(
            settings.budget,
            [data.samples[case] for case in training],
            [data.samples[case] for case in validation],
            parse(settings.objective).needs,
            machines.threads,
        )
        self.machines = machines
        self.objective = parse(settings.objective)
        self.precision = Precision(best_device())
        self.rounds: list[Round] = []

    def begin(self, progress: Callable[[str], None]) -> None:
        """Go on from the folder's checkpoint, or start with the imitation and the controls."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            try:
                content = io.BytesIO(unsealed(path.read_bytes()))
            except ValueError as error:
                raise UserError(f"{path} is damaged: restore it, or delete the folder to search anew.") from error
            self._load(torch.load(content, map_location="cpu", weights_only=True))
            return
        progress(f"Imitating {self.settings.imitate}")
        MetaLoss(self.settings.budget.seed).write(self.folder / "random.safetensors")
        self._follow(imitate(parse(self.settings.imitate), self.settings.budget.seed))
        for name in ("start", "meta"):
            self.loss.write(self.folder / f"{name}.safetensors")

    def _follow(self, loss: MetaLoss) -> None:
        self.loss = loss.to(self.precision.device)
        # Meta-gradients are as small as a learning rate: Adam's usual floor would hide them.
        self.optimiser = torch.optim.Adam(self.loss.parameters(), lr=META_RATE, eps=1e-12)

    def goes_on(self, minutes: float) -> bool:
        """Whether there is time for another round, and hope."""
        since = next((age for age, each in enumerate(reversed(self.rounds)) if each.best), 0)
        return sum(each.seconds for each in self.rounds) < 60 * minutes and since < PATIENCE

    def round(self) -> Round:
        """Learn with one more network, score the loss, keep it if it is the best."""
        start, number = time.perf_counter(), len(self.rounds)
        online = frozen = float("nan")
        try:
            if number > 0:
                online = train(self._online(number))
            frozen = self._score()
        except LossNotFinite:
            pass
        failed = math.isnan(frozen)
        best = not failed and not any(each.frozen_dice >= frozen for each in self.rounds)
        if best:
            self.loss.write(self.folder / "meta.safetensors")
        if failed:
            self._follow(read_meta_loss(str(self.folder / "meta.safetensors")))
        self.rounds.append(Round(number, online, frozen, best, time.perf_counter() - start))
        write_csv(self.folder / "rounds.csv", map(vars, self.rounds), list(vars(self.rounds[0])))
        self._save()
        return self.rounds[-1]

    def learned(self) -> Learned:
        """What was found, for its card."""
        best = next((each for each in reversed(self.rounds) if each.best), self.rounds[0])
        first = self.rounds[0].frozen_dice
        module = read_meta_loss(str(self.folder / "meta.safetensors"))
        weights = sum(each.numel() for each in module.parameters())
        return Learned(
            f"a network of {weights} weights, its step judged by {self.settings.objective}",
            f'meta("{self.folder.resolve().name}/meta.safetensors")',
            "",
            module,
            sum(SCORED + (each.number > 0) for each in self.rounds),
            sum(each.seconds for each in self.rounds),
            f"Dice {100 * best.frozen_dice:.1f} % (mean of {SCORED} networks) after {best.number} networks taught "
            f"it; as an imitation of {self.settings.imitate}, before any, {100 * first:.1f} %",
        )

    def _online(self, number: int) -> Training:
        """A fresh network, of initial weights and batches of its own, and the loss learned while it trains."""
        draw = SCORED + number
        training = self.networks.fresh(draw, self.loss, self.precision)
        training.step = Online(training.step, self.objective, self.optimiser)
        batches = training.batches
        training.batches = lambda epoch: pairs(batches(epoch))
        return training

    def _score(self) -> float:
        """Mean validation Dice of the same fresh networks each time, trained with the loss as it is."""
        frozen = MetaLoss()
        frozen.load_state_dict(self.loss.state_dict())
        with self.machines.opened((self.networks, frozen), self.folder) as (_, train_each):
            return sum(train_each(_frozen, [(draw,) for draw in range(SCORED)])) / SCORED

    def _save(self) -> None:
        state = {
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rounds": [dict(vars(each)) for each in self.rounds],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = sealed(buffer.getvalue())
        write_atomically(self.folder / "checkpoint.pt", lambda path: path.write_bytes(content))

    def _load(self, state: dict[str, Any]) -> None:
        loss = MetaLoss()
        loss.load_state_dict(state["loss"])
        self._follow(loss)
        self.optimiser.load_state_dict(state["optimiser"])
        self.rounds = [Round(**each) for each in state["rounds"]]
