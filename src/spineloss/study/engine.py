"""Runs a study on this machine: prepares the data, trains what is not done yet, records what came out."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spineloss.data import folds
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset
from spineloss.errors import UserError
from spineloss.files import read_json, remove_leftovers, write_text
from spineloss.results.learning_rates import write_rates
from spineloss.results.study_folder import Folds, read_folds, write_folds
from spineloss.results.table import write_table
from spineloss.study.jobs import Event, Rounds, all_at_once
from spineloss.study.learned_files import keep_learned
from spineloss.study.preparation import prepare_study
from spineloss.study.ray_cluster import train_on_ray
from spineloss.study.settings import Study, load
from spineloss.study.training_run import Workshop
from spineloss.study.workers import train_with_workers
from spineloss.study.yaml_text import yaml_text

APART = 100  # times as long as tables take to write passes until those of an unfinished study are written again


@dataclass(frozen=True)
class Engine:
    """What trains: `workers` processes of this machine (`here`), or the tasks of a `ray` cluster.

    `address` is the cluster's, as in `train_on_ray`; `cpus` and `gpus` are of each of its tasks.
    """

    kind: Literal["here", "ray"] = "here"
    workers: int = 1
    address: str | None = None
    cpus: int = 1
    gpus: float = 0

    def train(self, workshop: Workshop, cache: Cache | None, progress: Callable[[str], None]) -> Iterator[Event]:
        """Train what is not done."""
        if self.kind == "ray":
            return train_on_ray(workshop, cache, progress, address=self.address, cpus=self.cpus, gpus=self.gpus)
        return (
            workshop.work() if self.workers == 1 else train_with_workers(workshop, self.workers, cache, progress)
        )


HERE = Engine()


def run_study(
    study: Study,
    folder: Path,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    engine: Engine = HERE,
    rounds: Rounds = all_at_once,
) -> Iterator[Event]:
    """Train every run of a study that is not done, fold by fold, yielding each epoch as an event.

    Killed at any moment and started again, it ends with the same numbers. Any number of processes may do it in one
    folder, on any number of machines: each run is trained by one of them.

    Args:
        study: the resolved study.
        folder: where its results go; it may hold an earlier, unfinished run of the same study.
        progress: receives a line about what is being done before training starts.
        cache: of prepared cases; the user's by default.
        engine: what trains; results are the same whichever does, and it can be changed in mid-study.
        rounds: which runs are trained, one round after the other; all at once by default.

    Raises:
        UserError: the data has problems, or the folder holds a study with other settings or data.
    """
    workshop = prepare_folder(study, folder, progress, cache, rounds)
    written, took = -math.inf, 0.0
    for event in engine.train(workshop, cache, progress):
        yield event
        # In its first epoch the runs before this one are finished. Tables read all of them: a thousandth run may
        # train for less time than its tables take.
        begins = event.rate is None and event.epoch is not None and event.epoch.epoch == 1
        if begins and time.monotonic() - written > APART * took:
            start = time.monotonic()
            write_tables(folder)
            written, took = time.monotonic(), time.monotonic() - start
    write_tables(folder)


def prepare_folder(
    study: Study,
    folder: Path,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    rounds: Rounds = all_at_once,
) -> Workshop:
    """Prepare a study's data and its folder, so that any number of workers can train there.

    Raises:
        UserError: the data has problems, or the folder holds a study with other settings or data.
    """
    _refuse_other_settings(study, folder)
    remove_leftovers(folder)
    data = prepare_study(study, progress, cache)
    split = _folds(study, data, folder)
    (folder / "runs").mkdir(exist_ok=True)
    study = keep_learned(study, folder)
    places = {"data": study.data, "held_out": study.held_out}
    plain = study.plain() | {key: str(place.resolve()) for key, place in places.items() if place is not None}
    write_text(folder / "study.yaml", yaml_text(plain))
    workshop = Workshop(study, folder, data, split, progress, rounds=rounds)
    workshop.set_aside()
    return workshop


def write_tables(folder: Path) -> None:
    """Write `table.csv` and `rates.csv` of what is finished."""
    write_table(folder)
    write_rates(folder)


def _refuse_other_settings(study: Study, folder: Path) -> None:
    if (folder / "test.json").exists():
        raise UserError(f"{folder} holds a test of trained networks: choose another folder to train in.")
    path = folder / "study.yaml"
    if path.exists():
        # A study's folder has both before it has a study file; a damaged folds.json may have been deleted.
        if not any((folder / name).exists() for name in ("folds.json", "runs")):
            raise UserError(f"{path} is a study file, not a study's results: choose another folder with -o.")
        before = load(path).training()
        changed = sorted(key for key, value in study.training().items() if before[key] != value)
        if changed:
            key = changed[0]
            raise UserError(
                f"{folder} holds a study with {key}: {before[key]}, not {study.training()[key]}: "
                "choose another folder, or the same settings."
            )


def _folds(study: Study, data: Dataset, folder: Path) -> list[list[str]]:
    wanted: Folds = {
        "seed": study.seed,
        "data": data.digest,
        "channels": data.labelling.names,
        "orientation": data.orientation,
        "groups": data.groups,
        "folds": _validation_cases(study, data),
    }
    if (folder / "folds.json").exists() and read_folds(folder) != wanted:
        raise UserError(f"{study.data} is not the data that {folder} was begun with: choose another folder.")
    write_folds(folder, wanted)
    return wanted["folds"]


def _validation_cases(study: Study, data: Dataset) -> list[list[str]]:
    cases = list(data.samples)
    if study.held_out is None:
        return folds.split(cases, study.folds, study.seed, data.groups)
    held_out = _held_out(study.held_out)
    absent = sorted(set(held_out) - set(cases))
    if absent:
        raise UserError(f"{study.held_out} holds out {absent[0]}, which {study.data} lacks: name its own data.")
    if set(held_out) == set(cases):
        raise UserError(f"{study.held_out} holds out every case of {study.data}: none is left to train on.")
    groups = {data.groups[case] for case in held_out}
    divided = [case for case in cases if case not in held_out and data.groups[case] in groups]
    if divided:
        raise UserError(
            f"{study.held_out} holds out the patient {data.groups[divided[0]]}, but not the case {divided[0]}: "
            "search again with the same `groups`."
        )
    return [held_out] * study.folds


def _held_out(path: Path) -> list[str]:
    found = read_json(path)
    cases = found.get("held_out") if isinstance(found, dict) else None
    if not (isinstance(cases, list) and cases and all(isinstance(case, str) for case in cases)):
        raise UserError(f"{path} holds out no cases: name the split.json of a search.")
    return cases
