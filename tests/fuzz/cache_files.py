"""Damaged files of the cache: what is prepared from them must be what was prepared at first."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ellipsoids import write_small_data
from fuzz.harness import Silent
from fuzz.volumes import mutate
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset
from spineloss.data.dataset import prepare as prepare_data


@dataclass(frozen=True)
class Prepared:
    """Volumes, a cache filled from them, and what came of it."""

    source: Path
    cache: Path
    dataset: Dataset


def _dataset(source: Path, cache: Path) -> Dataset:
    return prepare_data(
        source,
        grid=(16, 16, 16),
        labels="all",
        target="per-label",
        leave_out=(),
        cache=Cache(cache),
        progress=lambda line: None,
    )


def prepare(folder: Path) -> Prepared:
    source = write_small_data(folder / "data", cases=2)
    return Prepared(source, folder / "cache", _dataset(source, folder / "cache"))


def attempt(prepared: Prepared, random: np.random.Generator, folder: Path) -> None:
    cache = folder / "cache"
    shutil.copytree(prepared.cache, cache)
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    spoiled = files[random.integers(len(files))]
    kind = random.random()
    if kind < 0.8:
        spoiled.write_bytes(mutate(spoiled.read_bytes(), random))
    elif kind < 0.9:
        shutil.copy(files[random.integers(len(files))], folder / "other")
        (folder / "other").replace(spoiled)
    else:
        spoiled.unlink()
        spoiled.mkdir()
    _compare(prepared.dataset, _dataset(prepared.source, cache), spoiled.name)


def _compare(wanted: Dataset, found: Dataset, name: str) -> None:
    same = wanted.digest == found.digest and wanted.channels == found.channels
    for case, sample in wanted.samples.items():
        other = found.samples[case]
        same &= sample.spacing == other.spacing and sample.own_spacing() == other.own_spacing()
        same &= torch.equal(sample.image, other.image) and torch.equal(sample.target, other.target)
        same &= torch.equal(sample.own_target(), other.own_target())
    if not same:
        raise Silent(f"{name} was damaged, and other numbers came of it")
