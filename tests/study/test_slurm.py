"""A worker of an array job, without SLURM: what submitit calls, and what it does when it is called back."""

import signal
import sys

import pytest

from ellipsoids import write_small_data
from spineloss.cluster import called_back
from spineloss.data.cache import Cache
from spineloss.results.run_folder import Run
from spineloss.study.engine import prepare_folder
from spineloss.study.jobs import all_at_once
from spineloss.study.slurm import Worker
from study.test_engine import study_of


@pytest.fixture
def submitits_handler():
    before = signal.signal(signal.SIGUSR2, lambda number, frame: sys.exit(-1))
    yield signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, before)


def test_a_worker_that_is_called_back_leaves_its_run_to_be_gone_on_with(tmp_path, submitits_handler):
    write_small_data(tmp_path / "volumes")
    cache, folder = Cache(tmp_path / "cache"), tmp_path / "study"
    study = study_of(tmp_path / "volumes", methods=["study.foreign_losses.CalledBack"])
    workshop = prepare_folder(study, folder, lambda line: None, cache)
    worker = Worker(folder, cache, workshop.session, all_at_once, 1)
    with pytest.raises(SystemExit):
        worker()
    run = Run.of(folder, "study.foreign_losses.CalledBack", 0)
    assert run.record()["status"] == "running" and (run.folder / "checkpoint.pt").exists()
    done = len(run.epochs())
    assert 0 < done < study.epochs and worker() == study.folds * study.epochs - done
    assert run.record()["status"] == "done"


def test_what_a_handler_raises_is_no_error_of_what_is_interrupted(submitits_handler):
    with pytest.raises(SystemExit), called_back(signal.SIGUSR2):
        try:
            signal.raise_signal(signal.SIGUSR2)
        except (Exception, SystemExit):
            pytest.fail("taken for an error of a loss")
    assert signal.getsignal(signal.SIGUSR2) is submitits_handler
