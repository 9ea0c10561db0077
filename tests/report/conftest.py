import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.report.content import read_content
from spineloss.report.page import write_report
from spineloss.results.run_folder import Run
from spineloss.study.engine import run_study
from spineloss.study.landscape import write_landscape
from spineloss.study.settings import check

SETTINGS = {
    "grid": [16, 16, 32],
    "width": 2,
    "folds": 2,
    "epochs": 2,
    "batch": 2,
    "validate_every": 1,
}


@pytest.fixture(scope="session")
def hostile():
    """Names of methods that a page must show as text."""
    return ["<script>alert(1)</script>", "\"quotes\" & 'more' $x$ 脊椎 " + "very long " * 20]


@pytest.fixture(scope="session")
def reported(tmp_path_factory, worker_id, hostile) -> Path:
    """A finished study with hostile names, its data and its report: one for all processes of the tests."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "reported"
    with FileLock(f"{folder}.lock"):
        if not (folder / "report.html").is_file():
            make_report(folder, hostile)
    return folder


@pytest.fixture
def study(reported, tmp_path):
    """The finished study, free to change."""
    return Path(shutil.copytree(reported / "study", tmp_path / "study"))


def make_report(folder: Path, hostile: list[str]) -> None:
    data = write_small_data(folder / "lumbar")
    adaptive = {"name": "adaptive", "loss": "dice + boundary", "weighting": "rebalance"}
    methods = ["dice", adaptive, *({"name": name, "loss": "cross_entropy"} for name in hostile)]
    study = check(SETTINGS | {"data": data, "methods": methods, "beside": "thesis-lumbar"}, "test")
    list(run_study(study, folder / "study", progress=lambda line: None, cache=Cache(folder / "cache")))
    run = Run.of(folder / "study", "dice", 0).folder
    list(write_landscape(run, ["dice", "focal"], points=3, span=1.0, progress=lambda line: None))
    write_report(read_content(folder / "study"), folder / "report.html", folder / "figures")
