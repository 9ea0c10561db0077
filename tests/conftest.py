import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ellipsoids import write_small_data

# Networks as small as the tests' are fastest on one thread; subprocesses inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def lumbar() -> Path:
    """The 30 real lumbar volumes."""
    return _real("lumbar")


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    """The 160 real hippocampus volumes."""
    return _real("hippocampus")


@pytest.fixture(scope="session")
def acdc() -> Path:
    """The heart cine MRI of 60 patients, with their scribbles."""
    return _real("acdc")


def _real(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real volumes are not at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def caches(tmp_path_factory) -> Iterator[Path]:
    """Folders that do not exist yet, one for each test: few tests make theirs."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def private_cache(caches, monkeypatch):
    """No test touches the user's cache."""
    monkeypatch.setenv("SPINELOSS_CACHE", str(next(caches)))


@pytest.fixture
def small_data(tmp_path) -> Path:
    """Six noisy volumes of two ellipsoids each, in paired folders."""
    return write_small_data(tmp_path / "volumes")
