import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spineloss.cli.application import app
from spineloss.data import folds
from spineloss.errors import UserError
from spineloss.learned.meta_loss import MetaLoss
from spineloss.search.fresh import Budget
from spineloss.search.meta_learning import MetaSettings, learn
from spineloss.search.split import hold_out
from spineloss.study.engine import run_study
from spineloss.study.settings import check
from spineloss.text import parse

BUDGET = Budget((16, 16, 32), width=1, batch=1, epochs=1, seed=21)
SETTINGS = MetaSettings("cross_entropy", "dice", BUDGET)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("spineloss.learned.imitation.STEPS", 20)


def rounds(data, folder, number, **changes):
    """The first rounds of a search, without their timings."""
    settings = MetaSettings(**{**vars(SETTINGS), **changes})
    events = learn(data, settings, folder, minutes=60, progress=lambda line: None)
    return [(each.number, each.frozen_dice) for _, each in zip(range(number), events, strict=False)]


def measured(folder):
    with (folder / "rounds.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    return rows, (folder / "meta.safetensors").read_bytes(), (folder / "split.json").read_text()


def test_the_held_out_third_is_a_studys_first_fold():
    cases = [f"case-{case}" for case in range(30)]
    parts = hold_out(cases, seed=7)
    assert parts.held_out == folds.split(cases, 3, 7)[0]
    assert sorted(parts.training + parts.validation + parts.held_out) == sorted(cases)


def test_stopped_and_resumed_is_the_same(small_data, tmp_path):
    rounds(small_data, tmp_path / "whole", 3)
    for _ in range(3):
        rounds(small_data, tmp_path / "parts", 1)
    assert measured(tmp_path / "parts") == measured(tmp_path / "whole")
    assert len(measured(tmp_path / "whole")[0]) == 3


def test_the_loss_is_learned_and_its_controls_are_kept(small_data, tmp_path):
    rounds(small_data, tmp_path / "out", 2)
    texts = [str(parse(f"meta({tmp_path}/out/{name}.safetensors)")) for name in ("meta", "start", "random")]
    assert texts[1].split("digest")[1] != texts[2].split("digest")[1]
    assert (tmp_path / "out" / "checkpoint.pt").exists()


def test_it_stops_when_nothing_gets_better(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("spineloss.search.meta_learning.train", lambda training: 0.5)
    assert len(rounds(small_data, tmp_path / "out", 99)) == 7
    card = (tmp_path / "out" / "card.md").read_text()
    assert "Dice 50.0 % (mean of 3 networks) after 0 networks taught it" in card


def test_other_settings_are_refused(small_data, tmp_path):
    rounds(small_data, tmp_path / "out", 1)
    with pytest.raises(UserError, match="other settings"):
        rounds(small_data, tmp_path / "out", 1, objective="iou")


def test_another_division_of_the_cases_is_refused(small_data, tmp_path):
    rounds(small_data, tmp_path / "out", 1)
    path = tmp_path / "out" / "split.json"
    split = json.loads(path.read_text())
    split["held_out"], split["training"] = split["training"], split["held_out"]
    path.write_text(json.dumps(split))
    with pytest.raises(UserError, match=r"split.json divides the cases otherwise"):
        rounds(small_data, tmp_path / "out", 1)
    assert json.loads(path.read_text()) == split


def test_a_flipped_bit_of_the_checkpoint_is_damage(small_data, tmp_path):
    rounds(small_data, tmp_path / "out", 1)
    path = tmp_path / "out" / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint.pt is damaged"):
        rounds(small_data, tmp_path / "out", 1)


def test_too_few_cases_are_told(small_data, tmp_path):
    with pytest.raises(UserError, match="lower the batch"):
        rounds(small_data, tmp_path / "out", 1, budget=replace(BUDGET, batch=3))


def test_a_study_validates_on_the_held_out_cases_alone(small_data, tmp_path):
    MetaLoss().write(tmp_path / "meta.safetensors")
    (tmp_path / "split.json").write_text(json.dumps({"held_out": ["case-1", "case-4"]}))
    settings = {"data": small_data, "held_out": tmp_path / "split.json", "grid": [16, 16, 32], "width": 1}
    settings |= {"methods": [f"meta({tmp_path}/meta.safetensors)"], "epochs": 1, "folds": 2, "batch": 4}
    events = list(run_study(check(settings, "test"), tmp_path / "study", progress=lambda line: None))
    assert [{row["case"] for row in event.epoch.validation} for event in events] == [{"case-1", "case-4"}] * 2
    assert events[0].epoch.train_loss != events[1].epoch.train_loss


def test_the_command_prints_the_dice_and_the_losss_text(small_data, tmp_path):
    arguments = ["--minutes", "0.001", "--grid", "16,16,32", "--width", "1", "--batch", "1", "--epochs", "1"]
    done = CliRunner().invoke(app, ["meta", str(small_data), "-o", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 0 and "network 0: validation Dice" in done.stdout
    assert f'meta("{tmp_path / "out" / "meta.safetensors"}")' in done.stdout


@pytest.mark.parametrize("folder", [".", "my folder"])
def test_the_losss_text_can_be_read_whatever_the_folder(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spineloss.search.meta_learning.learn", lambda *given, **settings: [])
    MetaLoss().write(Path(folder) / "meta.safetensors")
    done = CliRunner().invoke(app, ["meta", "volumes", "-o", folder])
    (text,) = [line.removeprefix("The loss is ") for line in done.stdout.splitlines() if "The loss is" in line]
    assert parse(text).file == Path(folder) / "meta.safetensors"
