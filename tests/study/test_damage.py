"""What fails is named and fails alone; what is damaged is named, and trained again."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
import torch

from ellipsoids import write_small_data
from spineloss import networks
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.files import remove_leftovers, write_atomically
from spineloss.learned.meta_loss import MetaLoss
from spineloss.losses import Dice
from spineloss.results.run_folder import Run
from spineloss.results.table import read_records
from spineloss.study.engine import run_study
from spineloss.study.prediction import find_runs
from spineloss.study.settings import check, load
from spineloss.study.status import LiveStatus, read_status
from study.test_engine import SETTINGS, measured

SMALL = SETTINGS | {"epochs": 1, "methods": ["dice", {"loss": "dice + focal", "name": "C", "weighting": "cov"}]}
OUT_OF_MEMORY = "out of memory: lower `batch`, `width`, or `grid` or `patch`"
HERE = "study.foreign_losses."


def run(folder, data, cache, progress=lambda line: None, **changes):
    return list(run_study(check(SMALL | {"data": data} | changes, "test"), folder, progress, cache))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of six cases, one cache, and a finished study."""
    folder = tmp_path_factory.mktemp("damage")
    write_small_data(folder / "volumes")
    run(folder / "study", folder / "volumes", Cache(folder / "cache"))
    return folder


@pytest.fixture
def study(place, tmp_path):
    """A finished study, free to damage."""
    return Path(shutil.copytree(place / "study", tmp_path / "study"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def another_number(path):
    """Damage that leaves valid JSON behind."""
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1'))


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "name", ["validation.csv", "epochs.csv", "steps.csv", "series.safetensors", "model.safetensors"]
)
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink, replace_by_folder])
def test_a_damaged_file_is_named_with_the_remedy(study, name, damage):
    broken = Run.of(study, "C", 1)
    assert broken.damage() is None
    damage(broken.folder / name)
    readers = {
        "validation.csv": lambda: read_records(study),
        "epochs.csv": lambda: read_status(study),
        "steps.csv": broken.trajectory,
        "series.safetensors": broken.series,
        "model.safetensors": broken.network,
    }
    with pytest.raises(UserError) as error:
        readers[name]()
    assert str(error.value) == broken.damage()
    assert name in str(error.value) and "`spineloss study run " in str(error.value)


def test_a_damaged_run_is_trained_again_to_the_same_numbers(place, study):
    for name, change in (
        ("validation.csv", truncate),
        ("model.safetensors", Path.unlink),
        ("run.json", another_number),
    ):
        change(Run.of(study, "dice", 0).folder / name)
        lines = []
        events = run(study, place / "volumes", Cache(place / "cache"), progress=lines.append)
        assert {(event.method, event.fold) for event in events} == {("dice", 0)}
        assert any(name in line for line in lines)
        assert measured(study) == measured(place / "study")


@pytest.mark.parametrize(
    "change",
    [
        {"status": "finished"},
        {"files": 3},
        {"timing": None},
        {"fold": "first"},
        {"candidates": [1]},
    ],
)
def test_a_record_of_other_types_is_damaged(study, change):
    path = Run.of(study, "dice", 0).folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="run.json is damaged or was changed"):
        read_records(study)


@pytest.mark.parametrize("text", ["[]", "{}", "\ufeff{", "[" * 100_000, '{"seed": 1}', "9" * 5000])
def test_folds_of_other_content_are_damaged(study, text, place):
    (study / "folds.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="folds.json"):
        run(study, place / "volumes", Cache(place / "cache"))


def test_a_damaged_checkpoint_starts_its_run_anew(place, tmp_path):
    cache = Cache(place / "cache")
    events = run_study(check(SMALL | {"data": place / "volumes", "epochs": 2}, "t"), tmp_path, print, cache)
    next(events)
    events.close()
    flip(Run.of(tmp_path, "dice", 0).folder / "checkpoint.pt")
    lines = []
    events = run(tmp_path, place / "volumes", cache, progress=lines.append, epochs=2)
    assert [event.epoch.epoch for event in events][:2] == [1, 2]
    assert any("checkpoint.pt cannot be read" in line for line in lines)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("Raises", "KeyError: 'no such channel\\nin this target'"),
        ("Exits", "SystemExit: 3"),
        ("ReturnsVolume", "TypeError: study.foreign_losses.ReturnsVolume returns a Tensor of shape"),
        ("ReturnsFloat", "TypeError: study.foreign_losses.ReturnsFloat returns a float, not a tensor"),
        ("Detached", "does not depend on the logits"),
        ("Speaks", "RuntimeError: the memory of past batches is empty"),
        ("TooMuch", "out of memory: lower"),
        ("SteepGradient", "the training loss is finite, but"),
    ],
)
def test_a_foreign_loss_fails_its_own_run_in_its_own_words(place, tmp_path, loss, told):
    events = run(
        tmp_path, place / "volumes", Cache(place / "cache"), methods=[HERE + loss, "dice"], clip_gradient=1.0
    )
    reasons = {event.reason for event in events if event.reason}
    assert len(reasons) == 1 and told in reasons.pop()
    assert {row.status for row in read_status(tmp_path) if row.method == "dice"} == {"done"}


@pytest.mark.parametrize(
    ("loss", "told"), [("Learns", "has parameters of its own"), ("CannotBeMade", "no licence")]
)
def test_a_foreign_loss_that_a_study_cannot_train_with_is_refused(loss, told):
    with pytest.raises(UserError, match=told):
        check(SMALL | {"data": "volumes", "methods": [HERE + loss]}, "test")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        UserError("a.safetensors is damaged: delete it; the same command makes it again."),
        OSError(5, "Input/output error"),
        RuntimeError("CUDA error: unspecified launch failure"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_the_loss_keeps_the_checkpoint(place, tmp_path, monkeypatch, error):
    cache, made, calls = Cache(place / "cache"), Dice.compute, count()

    def once(self, inputs):
        # Three training cases are two batches, so the third is of the second epoch.
        if next(calls) == 2:
            raise error
        return made(self, inputs)

    changes = {"data": place / "volumes", "methods": ["dice"], "epochs": 3, "augment": {"mixup": 0.0}}
    study = check(SMALL | changes, "test")
    monkeypatch.setattr(Dice, "compute", once)
    with closing(run_study(study, tmp_path, print, cache)) as events:
        assert [event.epoch.epoch if event.epoch else None for event in islice(events, 2)] == [1, None]
    monkeypatch.undo()
    with closing(run_study(study, tmp_path, print, cache)) as events:
        assert [(event.fold, event.epoch.epoch) for event in islice(events, 2)] == [(0, 2), (0, 3)]


def test_out_of_memory_before_the_first_step_fails_its_own_run(place, tmp_path, monkeypatch):
    build, calls = networks.build, count()

    def short(*args, **kwargs):
        if next(calls) == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return build(*args, **kwargs)

    monkeypatch.setattr(networks, "build", short)
    events = run(tmp_path, place / "volumes", Cache(place / "cache"), methods=["dice"])
    assert [event.reason or event.epoch.epoch for event in events] == [OUT_OF_MEMORY, 1]
    assert [row.status for row in read_status(tmp_path)] == ["failed", "done"]


def test_a_study_with_a_learned_loss_can_be_moved(place, tmp_path):
    (tmp_path / "here" / "found").mkdir(parents=True)
    MetaLoss().write(tmp_path / "here" / "found" / "meta.safetensors")
    file = tmp_path / "here" / "study.yaml"
    small = "grid: [16, 32, 32]\nwidth: 2\nfolds: 2\nepochs: 1\nbatch: 2"
    file.write_text(f"data: {place / 'volumes'}\nmethods: [meta(found/meta.safetensors), dice]\n{small}")
    cache = Cache(place / "cache")
    list(run_study(load(file), tmp_path / "here" / "out", lambda line: None, cache))
    shutil.move(tmp_path / "here" / "out", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    moved = load(tmp_path / "there" / "study.yaml")
    assert moved.methods[0].name == "meta(found/meta.safetensors)"
    assert list(run_study(moved, tmp_path / "there", lambda line: None, cache)) == []
    assert len(find_runs(tmp_path / "there", "meta(found/meta.safetensors)")) == 2


def test_the_live_status_is_that_of_the_folder(place, tmp_path):
    study = check(
        SMALL | {"data": place / "volumes", "methods": [{"loss": "dice", "learning_rate": [0.1, 0.01]}]}, "t"
    )
    live = None
    for event in run_study(study, tmp_path, lambda line: None, Cache(place / "cache")):
        before, live = live, live or LiveStatus(tmp_path)
        rows = live.take(event) if before else None
    assert [(row.status, row.epochs_done, row.dice) for row in rows] == [
        (row.status, row.epochs_done, row.dice) for row in read_status(tmp_path)
    ]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    import platform

    left = tmp_path / "runs" / f".{platform.node()}+{2**22 + 1}+1+run.json"
    of_elsewhere = tmp_path / ".elsewhere+1+2+run.json"
    old = tmp_path / ".elsewhere+1+2+study.yaml"
    own = [tmp_path / name for name in (".c++-notes", ".a+1+b+c", ".a+b+1+c")]
    left.parent.mkdir()
    for path in (left, of_elsewhere, old, *own):
        path.touch()
    for path in (old, *own):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert not left.exists() and of_elsewhere.exists() and not old.exists() and all(path.exists() for path in own)


def test_two_threads_write_one_file(tmp_path):
    both = threading.Barrier(2)

    def write(temporary, text):
        temporary.write_text(text)
        both.wait(timeout=5)

    with ThreadPoolExecutor(2) as pool:
        path = tmp_path / "file"
        done = [pool.submit(write_atomically, path, partial(write, text=text)) for text in ("a" * 9, "b" * 9)]
        assert [each.result() for each in done] == [None, None]
    assert path.read_text() in ("a" * 9, "b" * 9) and list(tmp_path.iterdir()) == [path]
