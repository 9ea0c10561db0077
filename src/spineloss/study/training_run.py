"""One run of a study: what it trains, on which cases, and how its folder comes about."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from spineloss import networks
from spineloss.data import folds
from spineloss.data.augmentation import Augment
from spineloss.data.batches import Batch, training_batches
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset, Sample
from spineloss.data.labelling import Labelling
from spineloss.data.prefetch import Prefetched, threads_for
from spineloss.errors import UserError
from spineloss.results.learning_rates import Candidate, chosen, read_candidate
from spineloss.results.run_folder import Run, signature
from spineloss.results.study_folder import read_folds, study_file
from spineloss.seeding import seed_of
from spineloss.study.claims import claimed
from spineloss.study.failures import may_pass, reason_of, traceback_of
from spineloss.study.hardware import hardware, ready_for, set_determinism, stretches
from spineloss.study.jobs import Event, Job, Rounds, all_at_once, jobs
from spineloss.study.method import Trial
from spineloss.study.preparation import prepare_study
from spineloss.study.recipe import Recipe, needs_adaptive, recipe
from spineloss.study.settings import Study, load
from spineloss.training.loop import Training, TrainingSettings
from spineloss.training.phases import Phase
from spineloss.training.precision import Precision, best_device
from spineloss.training.validation import validate

PATIENCE = 1.0  # seconds until runs that others train are looked at again
INNER_FOLDS = 4  # a quarter of a fold's training cases judges the learning rates


@dataclass(frozen=True)
class Workshop:
    """What every run of a study needs: its settings, its folder, its data, the validation cases of each fold."""

    study: Study
    folder: Path
    data: Dataset
    folds: Sequence[Sequence[str]]
    progress: Callable[[str], None]
    session: str = field(default_factory=lambda: uuid4().hex)
    rounds: Rounds = all_at_once

    @classmethod
    def opened(
        cls,
        folder: Path,
        progress: Callable[[str], None],
        cache: Cache | None,
        session: str,
        rounds: Rounds = all_at_once,
    ) -> "Workshop":
        """That of a study's folder, whose data is prepared."""
        study = load(study_file(folder))
        data = prepare_study(study, lambda line: None, cache)
        return cls(study, folder, data, read_folds(folder)["folds"], progress, session, rounds)

    def work(self) -> Iterator[Event]:
        """Train what is not done and no other worker trains, until all is done by whomever, round after round.

        Every job is looked at by each worker once the jobs that it needs are, so that nothing is read too early.
        """
        for round_ in self.rounds(self.study, self.folder):
            yield from self._work(round_)

    def set_aside(self) -> None:
        """Take what was finished with other settings out of the tables, until it is trained again.

        A method that was changed under its name would else be averaged with what it was, fold by fold.
        """
        for job in jobs(self.study):
            run = self.run_of(job)
            before = _record_of(run)
            if before.get("status") == "done" and not self._is_up_to_date(job, before):
                with claimed(run.folder) as mine:
                    if mine and _record_of(run) == before:
                        # It counts again, untrained, where the settings are changed back: see `_is_done`.
                        run.write_record(before | {"status": "pending"})

    def _is_up_to_date(self, job: Job, before: dict[str, Any]) -> bool:
        """Whether a finished run was trained with the settings that its job has now."""
        if needs_adaptive(job.trial) and _record_of(self._adaptive(job)).get("status") != "done":
            return False
        try:
            rate = self._rate(job, self._candidates(job))
            return rate is not None and before["signature"] == self._signature(job, self._recipe(job), rate)
        except UserError:
            return True  # something is damaged, which is named when it is the job's turn

    def _work(self, left: list[Job]) -> Iterator[Event]:
        while left:
            done = None
            for job in (each for each in left if not any(each.needs(other) for other in left)):
                with claimed(self.run_of(job).folder) as mine:
                    if mine:
                        yield from self.train(job)
                        done = job
                        break
            if done is None:
                time.sleep(PATIENCE)
                continue
            left.remove(done)

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
        run = self.run_of(job)
        if needs_adaptive(job.trial) and _record_of(self._adaptive(job)).get("status") != "done":
            reason = f"needs the finished run of {job.trial.method.name} on this fold"
            before = _record_of(run)
            run.write_record(
                (before if "files" in before else {}) | _place(job) | {"status": "waiting", "reason": reason}
            )
            return
        candidates = self._candidates(job)
        rate = self._rate(job, candidates)
        if rate is None:
            if _record_of(run).get("session") == self.session:
                return
            first = candidates[0]
            reason = f"no learning rate could be chosen; at {first.rate:g}: {first.reason or 'no Dice'}"
            _drop_finished(run)
            run.write_record(_place(job) | {"status": "failed", "reason": reason, "session": self.session})
            yield job.event(self.study, reason=reason)
            return
        found = self._recipe(job)
        record = self._record(job, found, rate, candidates)
        if self._is_done(job, run, record):
            return
        yield from self._train(job, run, record, found)

    def _adaptive(self, job: Job) -> Run:
        """The run of a job's method itself, which some of its controls read."""
        return self.run_of(replace(job, trial=Trial(job.trial.method)))

    def _recipe(self, job: Job) -> Recipe:
        steps = self.study.steps_for(len(self.cases(job)[0]))
        return recipe(
            job.trial,
            self._adaptive(job),
            self.data.labelling,
            epoch=steps,
            run=steps * self.study.epochs,
            key=self._key(job),
            folder=self.study.folder,
        )

    def _record(self, job: Job, found: Recipe, rate: float, candidates: Sequence[Candidate]) -> dict[str, Any]:
        return _place(job) | {
            "loss": str(found.loss),
            "weighting": job.trial.method.weighting,
            "tuning": job.trial.method.tuning,
            "phases": [str(phase) for phase in found.phases],
            "control": job.trial.control,
            "learning_rate": rate,
            "candidates": [vars(candidate) for candidate in candidates],
            "signature": self._signature(job, found, rate),
            "specification": self.study.training(),
            "channels": self.data.labelling.names,
            "labelling": self._labelling(found).plain(),
            "images": list(self.data.channels),
            "orientation": self.data.orientation,
            "spacing": self.data.resolution.spacing,
            **hardware(Precision.mixed(best_device())),
            "session": self.session,
        }

    def _is_done(self, job: Job, run: Run, record: dict[str, Any]) -> bool:
        """Whether a job is trained with just these settings, and all of its files are whole."""
        try:
            before = run.record()
        except UserError as error:
            self.progress(f"{error} That is done now.")
            before = {"status": "pending"}
        if before.get("signature") != record["signature"]:
            return False
        if before["status"] == "failed":
            if before.get("session") == self.session:
                return True
            # A learning rate that failed while it was tried is not tried again for a run that is done.
            return (
                job.rate is not None and _record_of(self.run_of(replace(job, rate=None))).get("status") == "done"
            )
        if "files" not in before:
            return False
        damage = run.damage()
        if damage is not None:
            self.progress(f"{damage} That is done now.")
            return False
        counted = before | {
            "status": "done",
            "order": job.order,
            "reason": None,
            "candidates": record["candidates"],
        }
        if counted != before:
            run.write_record(counted)
        return True

    def _train(self, job: Job, run: Run, record: dict[str, Any], found: Recipe) -> Iterator[Event]:
        begun = record | {"started": time.time(), "hardware": _record_of(run).get("hardware", [])}
        try:
            training = self._training(job, found, record["learning_rate"])
            epochs = self._resume(run, record["signature"], training)
        except UserError:
            raise  # of the network's settings, which no run can be trained with
        except Exception as error:
            yield self._fail(job, run, begun, error)
            return
        begun["hardware"] = stretches(begun["hardware"], len(epochs), record)
        run.write_record(begun | {"status": "running", "reason": None})
        trained = training.epochs()
        while True:
            try:
                epoch = next(trained, None)
            # A foreign loss may raise anything, or exit; it fails its own run, and the others go on.
            except (Exception, SystemExit) as error:
                if not may_pass(error):
                    # Deterministic training would fail at the same step again: the next attempt starts anew.
                    run.remove_progress()
                yield self._fail(job, run, begun, error)
                return
            if epoch is None:
                break
            epochs.append(epoch.plain())
            run.write_progress(record["signature"], training.state(), epochs)
            yield job.event(self.study, epoch)
        timing = {
            "seconds": math.fsum(epoch["seconds"] for epoch in epochs),
            "compute_seconds": math.fsum(epoch["compute_seconds"] for epoch in epochs),
        }
        run.finish(begun | {"reason": None, "timing": timing}, training.network.state_dict())

    def _fail(self, job: Job, run: Run, begun: dict[str, Any], error: BaseException) -> Event:
        """Record that a run has failed, and why."""
        _drop_finished(run)
        failure = {"status": "failed", "reason": reason_of(error), "traceback": traceback_of(error)}
        run.write_record(begun | failure)
        return job.event(self.study, reason=failure["reason"])

    def _resume(self, run: Run, signature: str, training: Training) -> list[dict[str, Any]]:
        """Go on from the run's checkpoint, if it has one of the same settings; its epochs so far."""
        try:
            resumed = run.read_progress(signature)
        except UserError as error:
            self.progress(f"{error} That is done now.")
            resumed = None
        if resumed is None:
            run.begin_anew()
            return []
        training.load(resumed[0])
        return resumed[1]

    def _training(self, job: Job, found: Recipe, rate: float) -> Training:
        study, key = self.study, self._key(job)
        train, validation = self.cases(job)
        samples: list[Sample] = [self.data.samples[case] for case in train]
        held_out = [self.data.samples[case] for case in validation]
        labelling = self._labelling(found)
        # Of each run its own: float16 adapts its scale as it goes.
        precision = Precision.mixed(best_device())
        device = precision.device
        set_determinism(device, study.deterministic)

        def batches(epoch: int) -> list[Callable[[], Batch]]:
            calls = training_batches(
                samples,
                size=study.batch,
                augment=Augment(**study.augment.model_dump()),
                needs=found.needs,
                labelling=labelling,
                key=(*key, epoch),
                patch=study.patch,
                steps=study.steps,
            )
            return ready_for(device, calls)

        return Training(
            networks.build(
                study.network,
                study.width,
                labelling.outputs,
                study.input,
                seed_of(*key, "weights"),
                inputs=len(self.data.channels),
            ),
            found.phases or [Phase(study.epochs, found.loss)],
            # Of a candidate only the last epoch is scored.
            TrainingSettings(
                rate,
                study.validate_every if job.rate is None else study.epochs,
                study.clip_gradient,
                key,
                study.optimiser,
                study.warm_up,
            ),
            found.policy,
            found.search,
            batches=Prefetched(batches, last=study.epochs, threads=threads_for(device)),
            validate=lambda trained: validate(
                trained,
                held_out,
                labelling,
                grid=study.metrics_grid,
                tolerance=study.tolerance,
                device=device,
                patch=study.patch,
            ),
            precision=precision,
        )

    def _labelling(self, found: Recipe) -> Labelling:
        """What targets are, and outputs as the loss trains them."""
        return replace(self.data.labelling, predicts=found.loss.predicts)

    def _key(self, job: Job) -> tuple[int, int]:
        """Of every random draw: the study's seed in the first repeat, one of its own in each other."""
        seed = self.study.seed
        return (seed_of(seed, "repeat", job.repeat) if job.repeat else seed, job.fold)

    def _signature(self, job: Job, found: Recipe, rate: float) -> str:
        """A digest of everything that can change the run's result."""
        settings = {key: value for key, value in self.study.signed().items() if key != "learning_rate"}
        inner = [] if job.rate is None else self.cases(job)[1]
        return signature(settings, *found.texts(), rate, self._key(job), inner, self.data.digest)

    def _candidates(self, job: Job) -> list[Candidate]:
        """The learning rates tried for a job, as far as they are trained."""
        rates = self.study.rates(job.trial.method)
        if job.rate is not None or len(rates) == 1:
            return []
        first = Run.of(self.folder, job.trial.name, job.fold)
        return [read_candidate(first.candidate(rate), rate) for rate in rates]

    def _rate(self, job: Job, candidates: Sequence[Candidate]) -> float | None:
        """The learning rate of a job, or none where every candidate failed."""
        if not candidates:
            return job.rate or self.study.rates(job.trial.method)[0]
        best = chosen(candidates)
        return None if best is None else best.rate


def _place(job: Job) -> dict[str, Any]:
    return {"method": job.trial.name, "order": job.order, "fold": job.fold, "repeat": job.repeat}


def _record_of(run: Run) -> dict[str, Any]:
    """The record of a run, empty where it is damaged."""
    try:
        return run.record()
    except UserError:
        return {}


def _drop_finished(run: Run) -> None:
    """Delete what was finished with other settings: it is not to pass for what a run that failed has measured."""
    if "files" in _record_of(run):
        run.begin_anew()
