"""How long a study will take, from two epochs of each of its methods, and how many epochs it needs at least."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.study.engine import prepare_folder
from spineloss.study.jobs import Job
from spineloss.study.method import Trial
from spineloss.study.proposal import ENOUGH
from spineloss.study.settings import Study
from spineloss.study.training_run import INNER_FOLDS


@dataclass(frozen=True)
class Planned:
    """One method with its controls: trainings of all folds, repeats and rates, and their hours on this machine."""

    method: str
    trainings: int
    hours: float


@dataclass(frozen=True)
class Plan:
    """Optimiser steps per epoch of the first fold, the epochs that `ENOUGH` steps take, and each method."""

    steps: int
    enough: int
    methods: list[Planned]


def plan(study: Study, progress: Callable[[str], None], cache: Cache | None = None) -> Plan:
    """Train two epochs of each method on the first fold, in a folder that is thrown away, and count up.

    Args:
        study: the resolved study.
        progress: receives a line about what is being done.
        cache: of prepared cases; the user's by default.

    Raises:
        UserError: the data has problems, or a method fails at once.
    """
    # A phase costs what training in one does at most.
    methods = tuple(each.model_copy(update={"learning_rate": None, "phases": ()}) for each in study.methods)
    short = study.model_copy(
        update={
            "methods": methods,
            "learning_rate": "auto",
            "epochs": 2,
            "warm_up": 0,
            "validate_every": 2,
            "repeats": 1,
        }
    )
    with TemporaryDirectory() as folder:
        workshop = prepare_folder(short, Path(folder), progress, cache)
        found = []
        for order, method in enumerate(workshop.study.methods):
            job = Job(Trial(method), order, fold=0)
            progress(f"Two epochs of {method.name}")
            seconds = list(_seconds(workshop.train(job)))
            found.append(_planned(study, order, *seconds))
        steps = study.steps_for(len(workshop.cases(job)[0]))
    return Plan(steps, math.ceil(ENOUGH / steps), found)


def _seconds(events: Iterator) -> Iterator[float]:
    for event in events:
        if event.epoch is None:
            raise UserError(f"{event.method} fails at once: {event.reason}.")
        yield event.epoch.seconds


def _planned(study: Study, order: int, training: float, validated: float) -> Planned:
    method = study.methods[order]
    trials = sum(trial.method == method for trial in study.trials)
    validation = max(0.0, validated - training)
    rates = len(study.rates(method))
    candidates = study.folds * rates if rates > 1 else 0
    runs = study.folds * study.repeats
    full = study.epochs * training + math.ceil(study.epochs / study.validate_every) * validation
    # A candidate trains on three quarters of the cases and is validated once, on few.
    tried = study.epochs * training * (1 - 1 / INNER_FOLDS)
    return Planned(method.name, trials * (runs + candidates), trials * (runs * full + candidates * tried) / 3600)
