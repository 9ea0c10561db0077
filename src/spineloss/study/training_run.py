"""One run of a study: what it trains, on which cases, and how its folder comes about."""

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from spineloss import networks
from spineloss.data import folds
from spineloss.data.batches import Augment, training_batches
from spineloss.data.dataset import Dataset, Sample
from spineloss.errors import UserError
from spineloss.results.learning_rates import Candidate, chosen, read_candidate
from spineloss.results.run_folder import Run, signature
from spineloss.seeding import seed_of
from spineloss.study.recipe import Recipe, needs_adaptive, recipe
from spineloss.study.settings import Study, Trial
from spineloss.training.loop import Epoch, Training, TrainingSettings
from spineloss.training.precision import Precision, best_device
from spineloss.training.steps import LossNotFinite
from spineloss.training.validation import validate

INNER_FOLDS = 4  # a quarter of a fold's training cases judges the learning rates


@dataclass(frozen=True)
class Event:
    """An epoch done, or a run failed (then `epoch` is none and `reason` says why).

    `rate` is the learning rate that the run tries out on the fold's inner split; none for the fold's own run.
    """

    method: str
    fold: int
    epochs: int
    epoch: Epoch | None = None
    reason: str | None = None
    repeat: int = 0
    rate: float | None = None

    def run(self, folder: Path) -> Run:
        """The run that it is of, in the study's folder."""
        run = Run.of(folder, self.method, self.fold, self.repeat)
        return run if self.rate is None else run.candidate(self.rate)

    @property
    def place(self) -> str:
        """Method, fold, and repeat and learning rate where there are several, in words."""
        repeat = f" repeat {self.repeat}" if self.repeat else ""
        rate = "" if self.rate is None else f" at rate {self.rate:g}"
        return f"{self.method} fold {self.fold}{repeat}{rate}"


@dataclass(frozen=True)
class Job:
    """One training of a study: a trial on a fold, in one of its repeats.

    With a `rate` it tries that learning rate, on the inner split of the fold's training cases.
    """

    trial: Trial
    order: int
    fold: int
    repeat: int = 0
    rate: float | None = None

    def event(self, study: Study, epoch: Epoch | None = None, reason: str | None = None) -> Event:
        """What happened in it."""
        return Event(self.trial.name, self.fold, study.epochs, epoch, reason, self.repeat, self.rate)


def jobs(study: Study) -> Iterator[Job]:
    """Every training of a study, each after those that it needs: repeat by repeat, fold by fold."""
    for repeat in range(study.repeats):
        for fold in range(study.folds):
            for order, trial in enumerate(study.trials):
                rates = study.rates(trial.method)
                # A fold's rate is chosen once, for all of its repeats.
                for rate in rates if len(rates) > 1 and not repeat else ():
                    yield Job(trial, order, fold, repeat, rate)
                yield Job(trial, order, fold, repeat)


@dataclass(frozen=True)
class Workshop:
    """What every run of a study needs: its settings, its folder, its data, the validation cases of each fold."""

    study: Study
    folder: Path
    data: Dataset
    folds: Sequence[Sequence[str]]

    def run_of(self, job: Job) -> Run:
        """The folder of a job."""
        return job.event(self.study).run(self.folder)

    def cases(self, job: Job) -> tuple[list[str], list[str]]:
        """Ids of the cases that a job trains on, and of those that it validates on."""
        held_out = set(self.folds[job.fold])
        train = [case for case in self.data.samples if case not in held_out]
        if job.rate is None:
            return train, list(self.folds[job.fold])
        groups = {self.data.groups[case] for case in train}
        if len(groups) < 2:
            raise UserError(
                f"Fold {job.fold} trains on one patient: to choose a learning rate it needs two; set a single one."
            )
        seed = seed_of(self.study.seed, job.fold, "inner split") % 2**32
        inner = folds.split(train, min(INNER_FOLDS, len(groups)), seed, self.data.groups)[0]
        return [case for case in train if case not in inner], inner

    def train(self, job: Job) -> Iterator[Event]:
        """Train a job if it is not done, yielding each epoch as an event; the jobs it needs come before."""
        run, study = self.run_of(job), self.study
        candidates = self._candidates(job)
        try:
            rate = job.rate if job.rate is not None else self._rate(job, candidates)
            adaptive = self._adaptive(job)
        except NotReady as error:
            run.write_record(_place(job) | {"status": "failed", "reason": str(error)})
            yield job.event(study, reason=str(error))
            return
        train, validation = self.cases(job)
        steps = math.ceil(len(train) / study.batch)
        found = recipe(job.trial, adaptive, epoch=steps, run=steps * study.epochs, key=self._key(job))
        record = _place(job) | {
            "loss": str(found.loss),
            "weighting": job.trial.method.weighting,
            "tuning": job.trial.method.tuning,
            "control": job.trial.control,
            "learning_rate": rate,
            "candidates": [vars(candidate) for candidate in candidates],
            "signature": self._signature(job, found, rate),
            "specification": study.training(),
            "channels": list(self.data.channels),
            "orientation": self.data.orientation,
            "versions": _versions(),
            "device": _device_name(),
        }
        before = run.record()
        same = before.get("signature") == record["signature"]
        if before["status"] == "done" and same:
            if before["order"] != job.order:
                run.write_record(before | {"order": job.order})
            return
        if before["status"] == "failed" and same and self._is_tried(job):
            return
        if not same:
            run.remove_progress()
        yield from self._train(job, run, record, self._training(job, found, rate, train, validation))

    def _train(self, job: Job, run: Run, record: dict[str, Any], training: Training) -> Iterator[Event]:
        epochs: list[dict[str, Any]] = []
        resumed = run.read_progress()
        if resumed is not None:
            state, epochs = resumed
            training.load(state)
        started = time.time()
        run.write_record(record | {"status": "running", "reason": None, "started": started})
        try:
            for epoch in training.epochs():
                epochs.append(epoch.plain())
                run.write_progress(record["signature"], training.state(), epochs)
                yield job.event(self.study, epoch)
        except (LossNotFinite, MemoryError, RuntimeError) as error:
            reason = _reason(error)
            if reason is None:
                raise
            # Deterministic training would fail at the same step again: the next attempt starts anew.
            run.remove_progress()
            run.write_record(record | {"status": "failed", "reason": reason, "started": started})
            yield job.event(self.study, reason=reason)
            return
        timing = {
            "seconds": sum(epoch["seconds"] for epoch in epochs),
            "compute_seconds": sum(epoch["compute_seconds"] for epoch in epochs),
        }
        run.finish(record | {"reason": None, "started": started, "timing": timing}, training.network.state_dict())

    def _training(
        self, job: Job, found: Recipe, rate: float, train: Sequence[str], validation: Sequence[str]
    ) -> Training:
        study, key = self.study, self._key(job)
        samples: list[Sample] = [self.data.samples[case] for case in train]
        held_out = [self.data.samples[case] for case in validation]
        channels = self.data.channels
        # Of each run its own: float16 adapts its scale as it goes.
        precision = Precision.mixed(best_device())
        return Training(
            networks.build(study.network, study.width, len(channels), study.grid, seed_of(*key, "weights")),
            found.loss,
            # Of a candidate only the last epoch is scored.
            TrainingSettings(
                study.epochs,
                rate,
                study.validate_every if job.rate is None else study.epochs,
                study.clip_gradient,
                key,
            ),
            found.policy,
            found.search,
            batches=lambda epoch: training_batches(
                samples,
                size=study.batch,
                augment=Augment(**study.augment.model_dump()),
                needs=found.loss.needs,
                key=(*key, epoch),
            ),
            validate=lambda trained: validate(
                trained,
                held_out,
                channels,
                grid=study.metrics_grid,
                tolerance=study.tolerance,
                device=precision.device,
            ),
            precision=precision,
        )

    def _key(self, job: Job) -> tuple[int, int]:
        """Of every random draw: the study's seed in the first repeat, one of its own in each other."""
        seed = self.study.seed
        return (seed_of(seed, "repeat", job.repeat) if job.repeat else seed, job.fold)

    def _signature(self, job: Job, found: Recipe, rate: float) -> str:
        """A digest of everything that can change the run's result."""
        settings = {key: value for key, value in self.study.training().items() if key != "learning_rate"}
        inner = [] if job.rate is None else self.cases(job)[1]
        return signature(settings, *found.texts(), rate, self._key(job), inner, self.data.digest)

    def _candidates(self, job: Job) -> list[Candidate]:
        """The learning rates tried for a job, as far as they are trained."""
        rates = self.study.rates(job.trial.method)
        if job.rate is not None or len(rates) == 1:
            return []
        first = Run.of(self.folder, job.trial.name, job.fold)
        return [read_candidate(first.candidate(rate), rate) for rate in rates]

    def _rate(self, job: Job, candidates: Sequence[Candidate]) -> float:
        if not candidates:
            return self.study.rates(job.trial.method)[0]
        best = chosen(candidates)
        if best is None:
            first = candidates[0]
            raise NotReady(f"no learning rate could be chosen; at {first.rate:g}: {first.reason or 'no Dice'}")
        return best.rate

    def _is_tried(self, job: Job) -> bool:
        """Whether a job tries a learning rate for a run that is done: one that failed is then not tried again."""
        return job.rate is not None and self.run_of(replace(job, rate=None)).record()["status"] == "done"

    def _adaptive(self, job: Job) -> Run:
        """The run of the method itself that a control reads: of the same learning rate where rates are tried."""
        run = self.run_of(replace(job, trial=Trial(job.trial.method)))
        if needs_adaptive(job.trial) and run.record()["status"] != "done":
            raise NotReady(f"{job.trial.method.name}, whose {job.trial.method.adapts} it takes, is not trained")
        return run


class NotReady(Exception):
    """A run cannot be trained, because one that it needs is not done."""


def _place(job: Job) -> dict[str, Any]:
    return {"method": job.trial.name, "order": job.order, "fold": job.fold, "repeat": job.repeat}


def _reason(error: Exception) -> str | None:
    if isinstance(error, LossNotFinite):
        return str(error)
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error).lower()
    return "out of memory: lower `batch`, `width` or `grid`" if out_of_memory else None


def _device_name() -> str:
    return torch.cuda.get_device_name() if best_device().type == "cuda" else platform.machine()


def _versions() -> dict[str, str]:
    names = ("spineloss", "torch", "monai", "torchio", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
