"""Damaged folders of studies: every command that reads one names the damage, or shows the same table as before."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ellipsoids import write_small_data
from fuzz.harness import Silent
from spineloss.data.cache import Cache
from spineloss.results.learning_rates import read_choices
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise, table_text
from spineloss.study.courses import read_trajectories
from spineloss.study.engine import run_study
from spineloss.study.settings import check, load
from spineloss.study.status import read_status

METHODS = ["dice", {"loss": "dice + focal", "name": "C", "weighting": "cov"}]
SETTINGS = {"grid": [16, 16, 32], "width": 1, "folds": 2, "epochs": 1, "batch": 2, "methods": METHODS}


def prepare(folder: Path) -> tuple[Path, str]:
    """A finished study of two methods, and its table."""
    study = check(SETTINGS | {"data": write_small_data(folder / "volumes")}, "fuzz")
    list(run_study(study, folder / "study", lambda line: None, Cache(folder / "cache")))
    return folder / "study", _table(folder / "study")


def _table(study: Path) -> str:
    return table_text(summarise(read_records(study)))


def attempt(prepared: Any, random: np.random.Generator, folder: Path) -> None:
    """Damage a file or two and read the study as its commands do."""
    whole, table = prepared
    study = Path(shutil.copytree(whole, folder / "study"))
    files = sorted(path for path in study.rglob("*") if path.is_file() and path.name != "table.csv")
    damaged = [files[random.integers(len(files))] for _ in range(random.integers(1, 3))]
    for path in damaged:
        # Two kinds of damage may meet one file.
        with suppress(IsADirectoryError, FileNotFoundError):
            _damage(path, random)
    load(study / "study.yaml")
    read_status(study)
    found = _table(study)
    settings = {"study.yaml", "folds.json", "run.json"}
    if found != table and not any(path.name in settings for path in damaged):
        raise Silent(f"another table after damage to {', '.join(path.name for path in damaged)}")
    read_trajectories(load(study / "study.yaml"), study)
    read_choices(study)
    for run in sorted(study.glob("runs/*/*")):
        Run(run).series(), Run(run).network()


def _damage(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    kind = random.integers(6)
    if kind == 0:
        path.write_bytes(content[: random.integers(len(content) + 1)])
    elif kind == 1 and content:
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
    elif kind == 2:
        path.unlink()
    elif kind == 3:
        path.unlink()
        path.mkdir()
    elif kind == 4:
        path.write_bytes(random.choice([b"", b"[]", b"{}", b"null", b"[" * 9999, b"\xff\xfe\x00", b"9" * 9999]))
    else:
        at = int(random.integers(len(content) + 1))
        path.write_bytes(content[:at] + random.bytes(int(random.integers(1, 40))) + content[at:])
