import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.losses import LOSSES, Dice
from spineloss.results.run_folder import Run, folder_name
from spineloss.results.study_folder import finished_runs
from spineloss.results.trained_on import hardware_in_words
from spineloss.study import engine
from spineloss.study.engine import run_study
from spineloss.study.settings import check, load
from spineloss.study.status import read_status, seconds_left

SETTINGS = {
    "methods": ["dice", "0.8*dice + 0.2*boundary"],
    "grid": [16, 16, 32],
    "width": 2,
    "folds": 2,
    "epochs": 3,
    "batch": 2,
    "validate_every": 2,
    "augment": {"affine": 0.5, "noise": 0.5, "mixup": 0.5},
}


def study_of(data, **changes):
    return check(SETTINGS | {"data": data} | changes, "test")


def run(data, folder, **changes):
    return list(run_study(study_of(data, **changes), folder, progress=lambda line: None))


def measured(folder):
    """Every number a study measured, without its timings."""
    numbers = {"table": (folder / "table.csv").read_text(), "folds": (folder / "folds.json").read_text()}
    for path in sorted(folder.glob("runs/*/*")):
        numbers[path] = (path / "validation.csv").read_text(), (path / "cases.csv").read_text()
        numbers[path, "steps"] = (path / "steps.csv").exists() and (path / "steps.csv").read_text()
        numbers[path, "series"] = (path / "series.safetensors").read_bytes()
        with (path / "epochs.csv").open(newline="") as file:
            numbers[path, "epochs"] = [
                {key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)
            ]
    return {str(key).replace(str(folder), ""): value for key, value in numbers.items()}


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    data = write_small_data(folder / "volumes")
    cache = Cache(folder / "cache")
    list(run_study(study_of(data), folder / "study", progress=lambda line: None, cache=cache))
    return folder / "study"


@pytest.fixture
def finished(finished_once, tmp_path):
    """A finished study of `small_data`, free to change."""
    return Path(shutil.copytree(finished_once, tmp_path / "study"))


def test_a_study_leaves_what_the_design_names(finished):
    folder = Run.of(finished, "dice", 1).folder
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert [part["from_epoch"] for part in record["hardware"]] == [1]
    assert len((folder / "epochs.csv").read_text().splitlines()) == 1 + 3
    assert len((folder / "cases.csv").read_text().splitlines()) == 1 + 3
    series = load_file(folder / "series.safetensors")
    assert {epoch: picture.dtype for epoch, picture in series.items()} == {"2": torch.bool, "3": torch.bool}
    assert (folder / "model.safetensors").exists() and not (folder / "checkpoint.pt").exists()
    assert (finished / "table.csv").exists()
    assert yaml.safe_load((finished / "study.yaml").read_text())["epochs"] == 3
    assert not [path for path in finished.rglob(".*") if path.is_file()]
    split = json.loads((finished / "folds.json").read_text())["folds"]
    assert sorted(sum(split, [])) == [f"case-{case}" for case in range(6)]


def test_a_second_run_trains_nothing_and_reads_no_original(finished, small_data, monkeypatch):
    run(small_data, finished)

    def refuse(*args, **kwargs):
        raise AssertionError("an original was read")

    monkeypatch.setattr("spineloss.data.volumes.read", refuse)
    monkeypatch.setattr("spineloss.data.dataset.read_case", refuse)
    monkeypatch.setattr("spineloss.data.cache.check", refuse)
    before = measured(finished)
    assert run(small_data, finished) == []
    assert measured(finished) == before


def test_stopped_anywhere_and_resumed_is_the_same(finished, small_data, tmp_path):
    other = tmp_path / "other"
    for stop in (1, 2, 4, 1):
        events = run_study(study_of(small_data), other, progress=lambda line: None)
        for _ in range(stop):
            next(events)
        events.close()
    run(small_data, other)
    assert measured(other) == measured(finished)


def test_the_number_of_prefetching_threads_changes_no_digit(finished, small_data, tmp_path, monkeypatch):
    other = tmp_path / "other"
    monkeypatch.setenv("SPINELOSS_PREFETCH", "0")
    events = run_study(study_of(small_data), other, progress=lambda line: None)
    next(events)
    events.close()
    monkeypatch.setenv("SPINELOSS_PREFETCH", "2")
    run(small_data, other)
    assert measured(other) == measured(finished)


PHASES = [
    {"train": "encoder", "epochs": 2, "loss": "cross_entropy"},
    {"train": "decoder", "epochs": 1, "loss": "dice + boundary"},
    {"train": "all", "epochs": 2},
]
APART = {"loss": "dice", "name": "apart", "phases": PHASES}


def test_phases_stopped_anywhere_resume_to_the_same(small_data, tmp_path):
    changes = {"epochs": 5, "methods": [APART]}
    run(small_data, tmp_path / "whole", **changes)
    for stop in (1, 1, 1, 2):  # within a phase, and at the end of two
        events = run_study(study_of(small_data, **changes), tmp_path / "other", progress=lambda line: None)
        for _ in range(stop):
            next(events)
        events.close()
    run(small_data, tmp_path / "other", **changes)
    assert measured(tmp_path / "other") == measured(tmp_path / "whole")
    trained = Run.of(tmp_path / "whole", "apart", 0)
    with (trained.folder / "epochs.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # Each phase falls from the same rate: at width 2 64 / 2 times 0.001.
    assert rates == pytest.approx([0.032, 0.032 * 0.5**0.9, 0.032, 0.032, 0.032 * 0.5**0.9])
    record = trained.record()
    assert record["phases"] == ["encoder 2 cross_entropy", "decoder 1 1.0*dice + 1.0*boundary", "all 2 dice"]
    before = record["signature"]
    shorter = [PHASES[0] | {"epochs": 1}, PHASES[1] | {"epochs": 2}, PHASES[2]]
    run(small_data, tmp_path / "whole", epochs=5, methods=[APART | {"phases": shorter}])
    assert Run.of(tmp_path / "whole", "apart", 0).record()["signature"] != before


def test_one_phase_of_all_is_the_plain_training(finished, small_data, tmp_path):
    one = {"loss": "dice", "name": "dice", "phases": [{"train": "all", "epochs": 3}]}
    run(small_data, tmp_path / "other", methods=[one, "0.8*dice + 0.2*boundary"])
    assert measured(tmp_path / "other") == measured(finished)


def test_sgd_steps_and_a_warm_up_resume_to_the_same(small_data, tmp_path):
    changes = {"optimiser": "sgd", "steps": 4, "warm_up": 1, "methods": ["dice"], "augment": "nnunet"}
    run(small_data, tmp_path / "whole", **changes)
    events = run_study(study_of(small_data, **changes), tmp_path / "parts", progress=lambda line: None)
    next(events)
    events.close()
    run(small_data, tmp_path / "parts", **changes)
    assert measured(tmp_path / "parts") == measured(tmp_path / "whole")
    rates = [epoch["learning_rate"] for epoch in Run.of(tmp_path / "whole", "dice", 0).epochs()]
    assert rates == pytest.approx([0.005, 0.01, 0.01 * 0.5**0.9])


def test_a_run_resumed_on_other_hardware_says_so(small_data, tmp_path, monkeypatch):
    events = run_study(study_of(small_data, methods=["dice"]), tmp_path / "study", progress=lambda line: None)
    next(events)
    events.close()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "OTHER")
    run(small_data, tmp_path / "study", methods=["dice"])
    parts = Run.of(tmp_path / "study", "dice", 0).record()["hardware"]
    assert [part["from_epoch"] for part in parts] == [1, 2] and "(OTHER)" in parts[1]["device"]
    said = hardware_in_words(tmp_path / "study")
    assert said[-1] == "Resumed on other hardware or versions: dice fold 0 from epoch 2."


def test_killed_and_resumed_is_the_same(finished, small_data, tmp_path):
    other = tmp_path / "other"
    study = tmp_path / "killed.yaml"
    study.write_text(yaml.safe_dump(SETTINGS | {"data": str(small_data)}))
    command = [sys.executable, "-m", "spineloss.cli", "study", "run", str(study), "-o", str(other)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.time() + 60
    while not list(other.glob("runs/*/*/checkpoint.pt")) and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (other / "runs").exists() or measured_runs(other) < 4
    run(small_data, other)
    assert measured(other) == measured(finished)


def measured_runs(folder):
    return sum(row.status == "done" for row in read_status(folder))


@pytest.mark.parametrize(("apart", "written"), [(0, 3), (1e12, 2)])
def test_tables_of_an_unfinished_study_are_not_written_all_the_time(
    small_data, tmp_path, monkeypatch, apart, written
):
    calls = []
    monkeypatch.setattr(engine, "APART", apart)
    monkeypatch.setattr(engine, "write_tables", calls.append)
    run(small_data, tmp_path, methods=["dice"], epochs=1, validate_every=1)
    assert len(calls) == written


def test_methods_share_weights_folds_and_batches(small_data, tmp_path):
    run(small_data, tmp_path / "study", methods=[{"loss": "dice", "name": "a"}, {"loss": "dice", "name": "b"}])
    for fold in (0, 1):
        texts = [
            (Run.of(tmp_path / "study", name, fold).folder / "validation.csv").read_text() for name in ("a", "b")
        ]
        assert texts[0] == texts[1]


def test_a_method_added_later_trains_alone(finished, small_data):
    events = run(small_data, finished, methods=["dice", "0.8*dice + 0.2*boundary", "iou"])
    assert {event.method for event in events} == {"iou"}


def test_a_changed_method_is_not_averaged_with_what_it_was(finished, small_data):
    before, changed = measured(finished), [{"loss": "iou", "name": "dice"}, "0.8*dice + 0.2*boundary"]
    events = run_study(study_of(small_data, methods=changed), finished, progress=lambda line: None)
    assert next(events).method == "dice"
    events.close()
    assert {record["method"] for _, record in finished_runs(finished)} == {"0.8*dice + 0.2*boundary"}
    rows = {(row.method, row.fold): row for row in read_status(finished)}
    assert (rows["dice", 1].status, rows["dice", 1].epochs_done) == ("pending", 0)
    assert (rows["dice", 0].status, rows["dice", 0].epochs_done) == ("running", 1)
    assert not (Run.of(finished, "dice", 0).folder / "model.safetensors").exists()
    # Changed back, what was not yet trained anew counts again.
    assert {(event.method, event.fold) for event in run(small_data, finished)} == {("dice", 0)}
    assert measured(finished) == before


def test_other_settings_are_refused_and_nothing_is_touched(finished, small_data):
    before = measured(finished)
    with pytest.raises(UserError, match="epochs: 3, not 4"):
        run(small_data, finished, epochs=4)
    assert measured(finished) == before


def test_a_study_file_of_ones_own_is_not_overwritten(small_data, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("# mine\n" + yaml.safe_dump(SETTINGS | {"data": str(small_data)}))
    with pytest.raises(UserError, match="study.yaml is a study file, not a study's results"):
        next(run_study(load(file), tmp_path, progress=lambda line: None))
    assert file.read_text().startswith("# mine")


def test_folds_that_were_deleted_are_written_again(finished, small_data):
    before = measured(finished)
    (finished / "folds.json").unlink()
    assert run(small_data, finished) == [] and measured(finished) == before


def test_other_data_is_refused(finished, small_data):
    for kind in ("images", "masks"):
        (small_data / kind / "case-5.mha").unlink()
    with pytest.raises(UserError, match="not the data"):
        run(small_data, finished)


class Broken(Dice):
    """Becomes NaN at once."""

    def compute(self, inputs):
        return super().compute(inputs) * float("nan")


class Greedy(Dice):
    """Asks for more memory than there is."""

    def compute(self, inputs):
        raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize(("loss", "told"), [(Broken, "nan"), (Greedy, "out of memory")])
def test_a_failed_run_is_recorded_and_the_others_go_on(small_data, tmp_path, monkeypatch, loss, told):
    monkeypatch.setitem(LOSSES, "broken", loss)
    folder = tmp_path / "study"
    events = run(small_data, folder, methods=["broken", "dice"])
    assert [told in event.reason for event in events if event.reason] == [True, True]
    rows = {(row.method, row.fold): row for row in read_status(folder)}
    assert rows["broken", 0].status == "failed" and told in rows["broken", 0].reason
    assert rows["dice", 1].status == "done"


def test_one_channel_a_label(small_data, tmp_path):
    run(small_data, tmp_path / "study", target="per-label", methods=["dice"])
    with (Run.of(tmp_path / "study", "dice", 0).folder / "cases.csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"1", "2"}


def test_data_with_problems_is_refused_until_left_out(small_data, tmp_path):
    (small_data / "masks" / "case-2.mha").unlink()
    with pytest.raises(UserError, match="case-2"):
        run(small_data, tmp_path / "study")
    assert run(small_data, tmp_path / "study", leave_out=["case-2"], epochs=1)


@pytest.mark.parametrize("content", [{"folds": []}, [1], None, {"held_out": []}, {"held_out": [1]}])
def test_what_holds_out_no_cases_is_refused(finished_once, tmp_path, content):
    (tmp_path / "other.json").write_text(json.dumps(content))
    study = study_of(finished_once.parent / "volumes", held_out=tmp_path / "other.json")
    with pytest.raises(UserError, match="other.json holds out no cases: name the split.json of a search"):
        next(run_study(study, tmp_path / "study", lambda line: None, Cache(finished_once.parent / "cache")))


def test_a_split_that_leaves_nothing_to_train_on_is_refused(small_data, tmp_path):
    cases = [path.stem for path in (small_data / "images").iterdir()]
    (tmp_path / "split.json").write_text(json.dumps({"held_out": cases}))
    with pytest.raises(UserError, match="holds out every case of"):
        run(small_data, tmp_path / "study", held_out=tmp_path / "split.json")


def test_an_absent_label_is_refused(small_data, tmp_path):
    with pytest.raises(UserError, match="no case holds label 7"):
        run(small_data, tmp_path / "study", labels=[1, 7])


def test_a_full_disk_is_told_and_loses_nothing(small_data, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    events = run_study(study_of(small_data), folder, progress=lambda line: None)
    next(events)
    begun = Run.of(folder, "dice", 0)
    before = begun.read_progress(begun.record()["signature"])[1]

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        with pytest.raises(UserError, match="No space left on device"):
            next(events)
    assert begun.read_progress(begun.record()["signature"])[1] == before
    run(small_data, folder)
    assert measured_runs(folder) == 4


def test_status_counts_and_estimates(small_data, tmp_path):
    folder = tmp_path / "study"
    events = run_study(study_of(small_data), folder, progress=lambda line: None)
    next(events)
    rows = read_status(folder)
    assert [row.status for row in rows].count("running") == 1
    pace = next(row.seconds_per_epoch for row in rows if row.epochs_done)
    assert seconds_left(rows) == pytest.approx(11 * pace)
    events.close()


@pytest.mark.parametrize("name", ["../up", "<script>alert(1)</script>", "日本語", "a" * 500, "x/y", "."])
def test_hostile_names_stay_in_the_folder(name, tmp_path):
    folder = Run.of(tmp_path, name, 0).folder
    assert folder.resolve().is_relative_to(tmp_path / "runs")
    assert len(folder_name(name)) < 120
    assert folder_name(name) != folder_name(name + "!")
