"""A race of a study's methods: round by round, the ones that are surely worse train no further."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.results.race_course import Course, read_race_file
from spineloss.results.racing import Rules
from spineloss.study.engine import HERE, Engine, prepare_folder, run_study
from spineloss.study.jobs import Event, Job, jobs
from spineloss.study.settings import Study, load
from spineloss.study.training_run import Workshop
from spineloss.training.schedule import scaled_rate

# What is raced where a study names no methods: the catalogue, with what is no loss by itself in its usual sum.
CANDIDATES = (
    "cross_entropy",
    "focal",
    "poly1",
    "brier",
    "l1",
    "dice",
    "squared_dice",
    "log_cosh_dice",
    "iou",
    "matthews",
    "tversky",
    "tversky(alpha=0.3, beta=0.7)",
    "asymmetric",
    "effectiveness",
    "tversky_focal",
    "dice_cross_entropy",
    "dice_focal",
    "0.5*tversky(alpha=0.3, beta=0.7) + 0.5*cross_entropy",
    "0.8*dice + 0.2*boundary",
    "0.7*dice + 0.3*hausdorff",
)
RATES = (1 / 3, 1, 3)  # of the scaled rate, for each of `CANDIDATES`


@dataclass(frozen=True)
class Race:
    """The rounds of a race: each fold in each repeat, of the methods that no round before has dropped.

    Who is dropped is a function of the finished runs of the rounds so far, in their fixed order, so that every
    worker drops the same, whoever trained what in whatever order.
    """

    rules: Rules

    def __call__(self, study: Study, folder: Path) -> Iterator[list[Job]]:
        """The jobs of each round; `race.json` is written after each."""
        course = self.start(study)
        course.write(folder)
        while not course.is_over:
            repeat, fold = course.places[len(course.looks)]
            yield [
                job
                for job in jobs(study)
                if (job.repeat, job.fold) == (repeat, fold) and job.trial.name in course.left
            ]
            # Without a next one, another worker has begun a failed run again.
            course = course.next(folder) or course
            course.write(folder)

    def start(self, study: Study) -> Course:
        """The race before its first round."""
        places = [(repeat, fold) for repeat in range(study.repeats) for fold in range(study.folds)]
        return Course(tuple(trial.name for trial in study.trials), tuple(places), self.rules)


def load_race(source: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study file to race its methods, or `CANDIDATES`, each with rates to choose from, if it names none.

    Raises:
        UserError: as `load` does; or there is nothing to race, or a method has controls.
    """
    named = {"methods": list(CANDIDATES)}
    study = load(source, overrides, defaults=named)
    if len(study.methods) < 2:
        raise UserError(f"{source} names one method: a race needs two or more.")
    if any(method.controls for method in study.methods):
        raise UserError(f"{source} asks for controls: leave `controls` out, and run them of the winner alone.")
    if study.learning_rate == "auto" and [method.name for method in study.methods] == named["methods"]:
        rates = tuple(round(share * scaled_rate(study.width, study.optimiser), 6) for share in RATES)
        return study.model_copy(update={"learning_rate": rates})
    return study


def race_study(
    study: Study,
    folder: Path,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    engine: Engine = HERE,
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> Iterator[Event]:
    """Race the methods of a study: as `run_study`, but what is dropped after a round trains no further.

    Args:
        study: of `load_race`.
        folder: where its results go; a study begun there by `run_study` is gone on with.
        progress: receives a line about what is being done before training starts.
        cache: of prepared cases; the user's by default.
        engine: what trains.
        rules: when a method is dropped.

    Raises:
        UserError: as `run_study` does; or the folder holds a race by other rules, or no method is left.
    """
    _refuse_other_rules(folder, rules)
    yield from run_study(study, folder, progress, cache, engine, Race(rules))


def prepare_race(
    study: Study,
    folder: Path,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> Workshop:
    """Prepare a race's data and its folder, as `prepare_folder` does a study's.

    Raises:
        UserError: as `race_study` does.
    """
    _refuse_other_rules(folder, rules)
    return prepare_folder(study, folder, progress, cache, Race(rules))


def _refuse_other_rules(folder: Path, rules: Rules) -> None:
    """Refuse other rules than a race was begun with: who sees it and then chooses them chooses the winner."""
    before = read_race_file(folder)
    if before is not None and Rules(before["level"], before["margin"]) != rules:
        raise UserError(
            f"{folder} holds a race with a margin of {100 * before['margin']:g} points at a level of "
            f"{before['level']:g}: choose another folder, or the same rules."
        )
