"""Trackers take what happens, and cannot stop it."""

from dataclasses import replace
from importlib.util import find_spec
from itertools import count

import numpy as np
import pytest
import torch

from spineloss.data.cache import Cache
from spineloss.data.dataset import Sample
from spineloss.errors import UserError
from spineloss.results.run_folder import Run, folder_name
from spineloss.study.jobs import Event
from spineloss.study.trackers import TRACKERS, follow, measurements, open_trackers, pictures, surfaces
from spineloss.training.loop import Epoch
from spineloss.training.validation import Example

NAMES = ["<script>", "0.8*dice + 0.2*boundary"]
DICE_AS_A_FORMULA = "evolved(complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y)))))"


def example():
    """A truth of 2 x 2 x 2 voxels, and a prediction that reaches 3 mm too far along x."""
    target = torch.zeros(1, 4, 6, 9, dtype=torch.bool)
    target[:, 1:3, 2:4, 2:4] = True
    prediction = target.clone()
    prediction[:, 1:3, 2:4, 4:7] = True
    cache = Cache()
    cache.write("a", {"image": torch.rand(1, 4, 6, 9), "target": target.byte()})
    sample = Sample("a", (2.0, 1.0, 1.0), cache.path("a"), cache.path("a"))
    return Example(sample, prediction, target, (2.0, 1.0, 1.0))


def epoch(number, loss=0.5):
    scores = [{"case": "a", "label": "all", "dice": 0.6}, {"case": "b", "label": "all", "dice": 0.8}]
    steps = [{"dice": 1.0, "weight of dice": 0.2}, {"dice": 3.0, "weight of dice": 0.4}]
    return Epoch(number, loss, 0.001, 2.0, 1.0, steps, scores if number == 2 else [], example())


@pytest.fixture(autouse=True)
def one_metric(monkeypatch):
    from spineloss.metrics import METRICS

    monkeypatch.setattr("spineloss.results.run_folder.METRICS", {"dice": METRICS["dice"]})


def events(methods=NAMES):
    for name in methods:
        for number in (1, 2):  # as two workers send them
            yield from (Event(name, fold, 2, epoch(number)) for fold in (0, 1))
    yield Event("broken", 0, 2, reason="the training loss became nan")


def test_measurements_by_hand():
    found = measurements(Event("dice", 0, 2, epoch(2)))
    assert found == pytest.approx(
        {
            "training/train_loss": 0.5,
            "training/learning_rate": 0.001,
            "steps/dice": 2.0,
            "steps/weight of dice": 0.3,
            "validation/dice": 0.7,
            "time/seconds": 2.0,
            "time/compute_seconds": 1.0,
        }
    )
    assert "validation/dice" not in measurements(Event("dice", 0, 2, epoch(1)))


def test_the_last_epoch_alone_has_surfaces(tmp_path):
    assert surfaces(Event("dice", 0, 2, epoch(1))) == {}
    clouds = surfaces(Event("dice", 0, 2, epoch(2)))
    # All voxels lie on a surface: 2 x 2 x 5 and 2 x 2 x 2.
    assert {name: len(cloud) for name, cloud in clouds.items()} == {"surface/prediction": 20, "surface/truth": 8}
    nothing = replace(example(), prediction=torch.zeros(1, 4, 6, 9, dtype=torch.bool))
    assert surfaces(Event("dice", 0, 2, replace(epoch(2), example=nothing))) == {}


def test_pictures_show_the_slice_and_at_the_end_the_formulas(tmp_path):
    run = Run(tmp_path)
    run.write_record({"status": "running", "loss": f"dice + {DICE_AS_A_FORMULA}"})
    assert list(pictures(Event("bred", 0, 2, epoch(1)), run)) == ["slice"]
    found = pictures(Event("bred", 0, 2, epoch(2)), run)
    assert list(found) == ["slice", "tree/0"]
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in found.values())
    assert pictures(Event("bred", 0, 2, replace(epoch(1), example=None)), run) == {}


class Failing:
    """A tracker that raises from its second event on, or as it closes."""

    name = "failing"

    def __init__(self, recorded=1):
        self.left, self.closed = recorded, False

    def record(self, event):
        self.left -= 1
        if self.left < 0:
            raise OSError("the disk is full")

    def close(self):
        self.closed = True
        raise OSError("the disk is full")


def test_a_tracker_that_fails_is_told_once_and_stops_nothing():
    for tracker in (Failing(), Failing(recorded=100)):
        told = []
        assert len(list(follow(events(), [tracker], told.append))) == 9
        assert told == ["failing failed (the disk is full); training goes on without it."]
    assert tracker.closed


def test_a_stop_closes_the_trackers():
    tracker, told = Failing(recorded=100), []
    following = follow(events(), [tracker], told.append)
    next(following)
    following.close()
    assert tracker.closed


def test_an_unknown_or_absent_tracker_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="choose tensorboard or wandb"):
        open_trackers(["mlflow"], tmp_path)
    monkeypatch.setattr("spineloss.study.trackers.find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(UserError, match=rf"{name} is not installed: pip install 'spineloss\[trackers\]'"):
            open_trackers([name], tmp_path)
    assert not list(tmp_path.iterdir())


def track(name, folder, methods):
    """Let a tracker follow two folds of each method, and a run that fails."""
    if find_spec(name) is None:
        pytest.skip(f"the package {name} is not installed")
    for method in methods:
        for fold in (0, 1):
            record = {"status": "running", "loss": DICE_AS_A_FORMULA, "fold": fold}
            Run.of(folder, method, fold).write_record(record)
    told = []
    list(follow(events(methods), open_trackers([name], folder), told.append))
    assert told == []


def test_tensorboard_has_every_run(tmp_path):
    track("tensorboard", tmp_path, NAMES)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for method in NAMES:
        for fold in (0, 1):
            folder = tmp_path / "tensorboard" / folder_name(method) / f"fold-{fold}"
            assert len(list(folder.iterdir())) == 1
            log = EventAccumulator(str(folder))
            log.Reload()
            assert [(scalar.step, scalar.value) for scalar in log.Scalars("training/train_loss")] == [
                (1, 0.5),
                (2, 0.5),
            ]
            assert [scalar.value for scalar in log.Scalars("validation/dice")] == pytest.approx([0.7])
            assert [picture.step for picture in log.Images("slice")] == [1, 2]
            assert [picture.step for picture in log.Images("tree/0")] == [2]
            for surface in ("surface/prediction", "surface/truth"):
                assert any(tag.startswith(surface) for tag in log.Tags()["tensors"])


@pytest.mark.parametrize(("begins", "shown"), [(1, [(1, 0.2), (2, 0.2)]), (2, [(1, 0.5), (2, 0.2)])])
def test_tensorboard_shows_a_run_that_is_trained_again_once(tmp_path, monkeypatch, begins, shown):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clock = count(1_000_000_000)
    monkeypatch.setattr("time.time", lambda: next(clock))  # files are read in the order of their seconds
    Run.of(tmp_path, "dice", 0).write_record({"status": "running", "loss": "dice", "fold": 0})
    stopped = [Event("dice", 0, 3, epoch(number)) for number in (1, 2)]
    again = [Event("dice", 0, 3, epoch(number, loss=0.2)) for number in range(begins, 3)]
    for part in (stopped, again):
        list(follow(iter(part), open_trackers(["tensorboard"], tmp_path), pytest.fail))
    log = EventAccumulator(str(tmp_path / "tensorboard" / "dice" / "fold-0"))
    log.Reload()
    found = [(scalar.step, scalar.value) for scalar in log.Scalars("training/train_loss")]
    assert found == [(step, pytest.approx(value)) for step, value in shown]


def test_weights_and_biases_works_offline_without_an_account(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    track("wandb", tmp_path, NAMES[:1])
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 3
    assert all(list(run.glob("run-*.wandb")) for run in runs)
    media = [path.name for path in (tmp_path / "wandb").glob("offline-run-*/files/media/**/*.*")]
    assert sum(name.startswith("slice") for name in media) == 4
    for once in ("0_", "prediction", "truth"):
        assert sum(name.startswith(once) for name in media) == 2
