"""The trainings that a study is made of, in their order, and what happens in them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spineloss.results.run_folder import Run
from spineloss.study.method import Trial
from spineloss.study.settings import Study

if TYPE_CHECKING:  # whoever asks how far a study is need not wait for what trains it
    from spineloss.training.loop import Epoch


@dataclass(frozen=True)
class Event:
    """An epoch done, or a run failed (then `epoch` is none and `reason` says why).

    `rate` is the learning rate that the run tries out on the fold's inner split; none for the fold's own run.
    """

    method: str
    fold: int
    epochs: int
    epoch: "Epoch | None" = None
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

    def event(self, study: Study, epoch: "Epoch | None" = None, reason: str | None = None) -> Event:
        """What happened in it."""
        return Event(self.trial.name, self.fold, study.epochs, epoch, reason, self.repeat, self.rate)

    def needs(self, other: "Job") -> bool:
        """Whether another job comes before: a rate tried for it, or the run of the method that a control reads."""
        same = (other.fold, other.trial) == (self.fold, self.trial)
        tried = same and other.rate is not None and self.rate is None
        own = Trial(self.trial.method)
        place = (other.fold, other.repeat, other.rate, other.trial)
        return tried or (self.trial.control is not None and place == (self.fold, self.repeat, self.rate, own))


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


# What is trained, round after round: the jobs of each, once those of the rounds before it are done by whomever.
# It reads nothing but the study and its folder, so that every worker finds the same.
Rounds = Callable[[Study, Path], Iterator[list[Job]]]


def all_at_once(study: Study, folder: Path) -> Iterator[list[Job]]:
    """Every training of a study, in one round."""
    yield list(jobs(study))
