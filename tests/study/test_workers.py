"""Any number of workers share one study's folder, are killed and come again, and the tables are the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.study import claims, workers
from spineloss.study.claims import claimed
from spineloss.study.engine import run_study
from spineloss.study.settings import check
from study.test_engine import SETTINGS, measured

METHODS = [
    {"loss": "dice", "learning_rate": [0.01, 0.1]},
    {"loss": "dice + boundary", "name": "C", "weighting": "cov", "controls": True},
]
SMALL = SETTINGS | {"methods": METHODS, "epochs": 2}


def study_of(place):
    return check(SMALL | {"data": place / "volumes"}, "test")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of six cases, one cache, and a study finished by one worker."""
    folder = tmp_path_factory.mktemp("workers")
    write_small_data(folder / "volumes")
    list(run_study(study_of(folder), folder / "study", lambda line: None, Cache(folder / "cache")))
    return folder


def test_one_holds_a_claim_until_it_is_released(tmp_path):
    with claimed(tmp_path) as first, claimed(tmp_path) as second:
        assert (first, second) == (True, False)
    assert not (tmp_path / "claim").exists()
    with claimed(tmp_path) as again:
        assert again


@pytest.mark.parametrize("dead", ["its process is gone", "it shows no sign of life"])
def test_a_dead_holder_is_followed(tmp_path, dead):
    holder = tmp_path / "claim" / "0"
    holder.mkdir(parents=True)
    sign = holder / "holder.json"
    machine, process = (claims.platform.node(), 2**22 + 1) if "gone" in dead else ("elsewhere", 1)
    sign.write_text(json.dumps({"machine": machine, "process": process}))
    if "gone" not in dead:
        with claimed(tmp_path) as mine:
            assert not mine
        os.utime(sign, (time.time() - 2 * claims.STALE,) * 2)
    with claimed(tmp_path) as mine, claimed(tmp_path) as other:
        assert (mine, other) == (True, False)
        assert (tmp_path / "claim" / "1").exists()


@pytest.mark.parametrize(
    ("given", "taken"),
    [(None, ["0", "1", "0"]), ("4,5", ["4", "5", "4"]), ("GPU-a, GPU-b,-1", ["GPU-a", "GPU-b", "GPU-a"])],
)
def test_each_worker_takes_one_of_the_gpus_that_were_given(monkeypatch, given, taken):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    found = []
    for number in range(3):
        with workers._environment(number, threads=1):
            found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == taken and os.environ.get("CUDA_VISIBLE_DEVICES") == given


def test_workers_killed_at_random_end_alike(place, tmp_path):
    folder = tmp_path / "study"
    command = (
        "import sys; from pathlib import Path; from spineloss.data.cache import Cache;"
        "from spineloss.study.engine import Engine, run_study; from spineloss.study.settings import load\n"
        "if __name__ == '__main__':\n"
        "    place = Path(sys.argv[1])\n"
        "    study, folder, cache = load(sys.argv[2]), Path(sys.argv[3]), Cache(place / 'cache')\n"
        "    list(run_study(study, folder, print, cache, Engine(workers=2)))\n"
    )
    script = tmp_path / "run.py"
    script.write_text(command)
    arguments = [sys.executable, str(script), str(place), str(place / "study" / "study.yaml"), str(folder)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.time() + 60
    while not list(folder.glob("runs/*/*/**/epochs.csv")) and time.time() < deadline:
        time.sleep(0.05)
    time.sleep(random.Random(21).random())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    assert measured(folder) == measured(place / "study")
    assert not list(Path(folder).rglob("claim"))
