"""Runs a study on this machine: prepares the data, trains what is not done yet, records what came out."""

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from spineloss import networks
from spineloss.data import folds
from spineloss.data.batches import Augment, training_batches
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset, Sample
from spineloss.errors import UserError
from spineloss.files import read_json, write_json, write_tensors, write_text
from spineloss.results.run_folder import Run, signature
from spineloss.results.table import write_table
from spineloss.seeding import seed_of
from spineloss.study.preparation import prepare
from spineloss.study.recipe import Recipe, needs_adaptive, recipe
from spineloss.study.settings import Study, Trial, load
from spineloss.training.loop import Epoch, Settings, Training
from spineloss.training.precision import Precision, best_device
from spineloss.training.steps import LossNotFinite
from spineloss.training.validation import validate


@dataclass(frozen=True)
class Event:
    """An epoch done, or a run failed (then `epoch` is none and `reason` says why)."""

    method: str
    fold: int
    epochs: int
    epoch: Epoch | None = None
    reason: str | None = None


def run_study(
    study: Study, folder: Path, progress: Callable[[str], None], cache: Cache | None = None
) -> Iterator[Event]:
    """Train every run of a study that is not done, fold by fold, yielding each epoch as an event.

    Killed at any moment and started again, it ends with the same numbers.

    Args:
        study: the resolved study.
        folder: where its results go; it may hold an earlier, unfinished run of the same study.
        progress: told in a line what is being done before training starts.
        cache: of prepared cases; the user's by default.

    Raises:
        UserError: the data has problems, or the folder holds a study with other settings or data.
    """
    _refuse_other_settings(study, folder)
    data = prepare(study, progress, cache)
    places = {"data": study.data, "held_out": study.held_out}
    plain = study.plain() | {key: str(place.resolve()) for key, place in places.items() if place is not None}
    write_text(
        folder / "study.yaml",
        yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None),
    )
    split = _folds(study, data, folder)
    precision = Precision.mixed(best_device())
    for fold, validation in enumerate(split):
        for order, trial in enumerate(study.trials):
            yield from _run(study, trial, order, fold, validation, data, folder, precision)
            write_table(folder)


def _refuse_other_settings(study: Study, folder: Path) -> None:
    path = folder / "study.yaml"
    if path.exists():
        before = load(path).training()
        changed = sorted(key for key, value in study.training().items() if before[key] != value)
        if changed:
            key = changed[0]
            raise UserError(
                f"{folder} holds a study with {key}: {before[key]}, not {study.training()[key]}: "
                "choose another folder, or the same settings."
            )


def _folds(study: Study, data: Dataset, folder: Path) -> list[list[str]]:
    path = folder / "folds.json"
    wanted = {
        "seed": study.seed,
        "data": data.digest,
        "channels": list(data.channels),
        "orientation": data.orientation,
        "folds": _validation_cases(study, list(data.samples)),
    }
    if path.exists() and read_json(path) != wanted:
        raise UserError(f"{study.data} is not the data that {folder} was begun with: choose another folder.")
    write_json(path, wanted)
    return wanted["folds"]


def _validation_cases(study: Study, cases: list[str]) -> list[list[str]]:
    if study.held_out is None:
        return folds.split(cases, study.folds, study.seed)
    held_out = read_json(study.held_out)["held_out"]
    absent = sorted(set(held_out) - set(cases))
    if absent:
        raise UserError(f"{study.held_out} holds out {absent[0]}, which {study.data} lacks: name its own data.")
    return [held_out] * study.folds


def _run(
    study: Study,
    trial: Trial,
    order: int,
    fold: int,
    validation: list[str],
    data: Dataset,
    folder: Path,
    precision: Precision,
) -> Iterator[Event]:
    run = Run.of(folder, trial.name, fold)
    place: dict[str, Any] = {"method": trial.name, "order": order, "fold": fold}
    adaptive = Run.of(folder, trial.method.name, fold)
    if needs_adaptive(trial) and adaptive.record()["status"] != "done":
        reason = f"{trial.method.name}, whose {trial.method.adapts} it takes, is not trained"
        run.write_record(place | {"status": "failed", "reason": reason})
        yield Event(trial.name, fold, study.epochs, reason=reason)
        return
    train = [sample for case, sample in data.samples.items() if case not in validation]
    steps = math.ceil(len(train) / study.batch)
    chosen = recipe(trial, adaptive, epoch=steps, run=steps * study.epochs, key=(study.seed, fold))
    record = place | {
        "loss": str(chosen.loss),
        "weighting": trial.method.weighting,
        "tuning": trial.method.tuning,
        "control": trial.control,
        "signature": signature(study.training(), *chosen.told(), fold, data.digest),
        "specification": study.training(),
        "channels": list(data.channels),
        "orientation": data.orientation,
        "versions": _versions(),
        "device": torch.cuda.get_device_name() if precision.device.type == "cuda" else platform.machine(),
    }
    before = run.record()
    same = before.get("signature") == record["signature"]
    if before["status"] == "done" and same:
        if before["order"] != order:
            run.write_record(before | {"order": order})
        return
    if not same:
        run.remove_progress()
    training = _training(
        study, chosen, fold, train, [data.samples[case] for case in validation], data.channels, precision
    )
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
            run.write_progress(training.state(), epochs)
            yield Event(trial.name, fold, study.epochs, epoch)
    except (LossNotFinite, MemoryError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        # Deterministic training would fail at the same step again: the next attempt starts anew.
        run.remove_progress()
        run.write_record(record | {"status": "failed", "reason": reason, "started": started})
        yield Event(trial.name, fold, study.epochs, reason=reason)
        return
    write_tensors(
        run.weights, {name: tensor.contiguous() for name, tensor in training.network.state_dict().items()}
    )
    timing = {
        "seconds": sum(epoch["seconds"] for epoch in epochs),
        "compute_seconds": sum(epoch["compute_seconds"] for epoch in epochs),
    }
    run.write_record(record | {"status": "done", "reason": None, "started": started, "timing": timing})
    run.remove_progress()


def _training(
    study: Study,
    chosen: Recipe,
    fold: int,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    channels: Sequence[str],
    precision: Precision,
) -> Training:
    augment = Augment(**study.augment.model_dump())
    return Training(
        networks.build(
            study.network, study.width, len(channels), study.grid, seed_of(study.seed, fold, "weights")
        ),
        chosen.loss,
        Settings(study.epochs, study.learning_rate, study.validate_every, study.clip_gradient, (study.seed, fold)),
        chosen.policy,
        chosen.search,
        batches=lambda epoch: training_batches(
            train, size=study.batch, augment=augment, needs=chosen.loss.needs, key=(study.seed, fold, epoch)
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


def _reason(error: Exception) -> str | None:
    if isinstance(error, LossNotFinite):
        return str(error)
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error).lower()
    return "out of memory: lower `batch`, `width` or `grid`" if out_of_memory else None


def _versions() -> dict[str, str]:
    names = ("spineloss", "torch", "monai", "torchio", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
