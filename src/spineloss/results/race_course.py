"""How a race in a study's folder went: recomputed from the finished runs, in the fixed order of its rounds."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spineloss.errors import UserError
from spineloss.results.averages import average
from spineloss.results.race_file import RaceFile, read_race_file, write_race_file
from spineloss.results.racing import Drop, Look, RaceRound, Rules, look
from spineloss.results.records import case_values, record_of
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import read_folds

DECISIVE = "dice"


@dataclass(frozen=True)
class Course:
    """A race of `methods` over `places`, the (repeat, fold) of each round; `looks` are of the rounds finished.

    `rounds` are their values, of the methods that finished them.
    """

    methods: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    rules: Rules
    looks: tuple[Look, ...] = ()
    rounds: tuple[RaceRound, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """The methods that no round so far has dropped."""
        if not self.looks:
            return self.methods
        dropped = {drop.method for drop in self.looks[-1].drops}
        return tuple(method for method in self.looks[-1].methods if method not in dropped)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to train."""
        return len(self.left) < 2 or len(self.looks) == len(self.places)

    @property
    def dropped(self) -> dict[str, tuple[int, Drop]]:
        """Who left, in which round (from 1 on), and why."""
        return {drop.method: (number, drop) for number, seen in enumerate(self.looks, 1) for drop in seen.drops}

    def next(self, folder: Path) -> "Course | None":
        """The course after one more round, from the runs of the methods that are left; none before all have ended.

        Raises:
            UserError: a file of a finished run is damaged.
        """
        repeat, fold = self.places[len(self.looks)]
        runs = {method: Run.of(folder, method, fold, repeat) for method in self.left}
        records = {method: run.record() for method, run in runs.items()}
        if any(record["status"] not in ("done", "failed") for record in records.values()):
            return None
        failed = tuple(Drop(method, "failed") for method in self.left if records[method]["status"] == "failed")
        finished = [method for method in self.left if records[method]["status"] == "done"]
        if not finished:
            reason = records[self.left[0]].get("reason")
            raise UserError(f"No method of the race is left: all fail on fold {fold}, the first because {reason}.")
        groups = read_folds(folder)["groups"]
        values = case_values([record_of(runs[method], records[method], groups) for method in finished], DECISIVE)
        rounds = (*self.rounds, RaceRound.of(values.of(*finished)))
        if not rounds[-1].cases:
            raise UserError(f"No case of fold {fold} has a Dice of every method: leave out what has no structure.")
        seen = look(rounds, self.rules)
        seen = replace(seen, methods=self.left, drops=(*failed, *seen.drops))
        return replace(self, looks=(*self.looks, seen), rounds=rounds)

    def write(self, folder: Path) -> None:
        """Write `race.json`."""
        dropped = {method: number for method, (number, _) in self.dropped.items()}
        content: RaceFile = {
            "methods": list(self.methods),
            "rounds": list(self.places),
            "level": self.rules.level,
            "margin": self.rules.margin,
            "dropped": dropped,
        }
        write_race_file(folder, content)


def read_course(folder: Path) -> Course | None:
    """The race in a study's folder as far as it went, or none where no race was run there.

    Raises:
        UserError: its file or one of a finished run is damaged.
    """
    found = read_race_file(folder)
    if found is None:
        return None
    rules = Rules(found["level"], found["margin"])
    course = Course(tuple(found["methods"]), tuple(found["rounds"]), rules)
    while not course.is_over and (after := course.next(folder)) is not None:
        course = after
    return course


@dataclass(frozen=True)
class Cost:
    """Runs and seconds of training that a race took, and what the full study of its methods takes.

    Seconds count those in which learning rates were tried. What was not trained is taken to last as long as the
    same method's trainings in the race, and where all of those failed, as the other methods'.
    """

    runs: int
    all_runs: int
    seconds: float
    all_seconds: float

    @property
    def share(self) -> float:
        """What the race took of the full study."""
        return self.seconds / self.all_seconds if self.all_seconds else math.nan


def race_cost(course: Course, folder: Path) -> Cost:
    """What a race cost so far."""
    spent, full = 0.0, []
    runs = 0
    for method in course.methods:
        places = [
            place for place, seen in zip(course.places, course.looks, strict=False) if method in seen.methods
        ]
        records = [Run.of(folder, method, fold, repeat).record() for repeat, fold in places]
        own = [_seconds(record) for record in records if record["status"] == "done"]
        # A fold's rate is chosen in its first repeat.
        tried = [_tried(record) for record in records if record["status"] == "done" and not record["repeat"]]
        folds = len({fold for _, fold in course.places})
        runs += len(records)
        spent += math.fsum([*own, *tried])
        if own:
            full.append(average(own) * len(course.places) + (average(tried) if tried else 0.0) * folds)
    all_seconds = average(full) * len(course.methods) if full else 0.0
    return Cost(runs, len(course.methods) * len(course.places), spent, all_seconds)


def _seconds(record: dict[str, Any]) -> float:
    return record["timing"]["seconds"]


def _tried(record: dict[str, Any]) -> float:
    return math.fsum(candidate["seconds"] for candidate in record["candidates"])
