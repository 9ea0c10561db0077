"""The folder of a study: its folds, and the runs that are in it."""

import os
import shlex
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic's, before Python 3.12

from spineloss.errors import UserError
from spineloss.files import read_json, write_json
from spineloss.results.run_folder import Run


class Folds(TypedDict):
    """What `folds.json` holds: how the cases were divided, and what makes the data the same again."""

    seed: int
    data: str
    channels: list[str]
    orientation: str
    groups: dict[str, str]
    folds: list[list[str]]


FOLDS = TypeAdapter(Folds)


def study_file(folder: Path) -> Path:
    """The `study.yaml` of a study's folder.

    Raises:
        UserError: no study is there.
    """
    path = folder / "study.yaml"
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise UserError(f"{folder} holds no study: name a folder with a study.yaml.")
    return path


def read_folds(folder: Path) -> Folds:
    """What `folds.json` of a study holds.

    Raises:
        UserError: it is absent or damaged.
    """
    path = folder / "folds.json"
    try:
        return FOLDS.validate_python(read_json(path), strict=True)
    except ValidationError as error:
        command = f"spineloss study run {shlex.quote(str(folder))}"
        raise UserError(f"{path} is damaged: delete it, and `{command}` writes it again.") from error


def write_folds(folder: Path, folds: Folds) -> None:
    """Write `folds.json`."""
    write_json(folder / "folds.json", folds)


def finished_runs(folder: Path) -> list[tuple[Run, dict[str, Any]]]:
    """The finished runs of a study and their records, in the order of its methods, folds and repeats.

    Raises:
        UserError: no study is there, or the record of a run is damaged.
    """
    study_file(folder)
    runs = [Run(path.parent) for path in folder.glob("runs/*/*/run.json")]
    found = [(run, record) for run in runs if (record := run.record())["status"] == "done"]
    keys = ("order", "method", "fold", "repeat")
    return sorted(found, key=lambda each: tuple(each[1][key] for key in keys))


def tested_in_words(folder: Path) -> list[str]:
    """One line on where the networks of a folder were trained, if it is a test of them on other data."""
    if not (folder / "test.json").exists():
        return []
    trained = read_json(folder / "test.json")["study"]
    return [
        f"This is a test on other data: every network of {trained} scored every case. Folds are networks here; "
        "whether training had converged is judged where they were trained."
    ]
