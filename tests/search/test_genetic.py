import json
import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ellipsoids import write_small_data
from spineloss.cli.application import app
from spineloss.cli.stopping import Stopped
from spineloss.errors import UserError
from spineloss.grammar import Text
from spineloss.search import evolution
from spineloss.search.fresh import Budget
from spineloss.search.genetic import GeneticSearch, _after_next
from spineloss.search.tasks import Machines
from spineloss.study.engine import run_study
from spineloss.study.settings import check
from spineloss.text import parse

BUDGET = Budget((16, 16, 32), width=1, batch=2, epochs=1, seed=21)
COMMAND = ["--grid", "16,16,32", "--width", "1", "--epochs", "1", "--processes", "1"]


@pytest.fixture(scope="module")
def small():
    """A search of four formulas a generation, with two finalists."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"POPULATION": 4, "ELITES": 2, "FINALISTS": 2, "REPEATS": 1}.items():
            patch.setattr(evolution, name, value)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small_data(tmp_path_factory.mktemp("genetic") / "volumes", cases=9)


@pytest.fixture(scope="module")
def searched(small, data):
    """The folder of a search of two generations, and what the command said."""
    folder = data.parent / "evolved"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPINELOSS_CACHE", str(data.parent / "cache"))
        done = CliRunner().invoke(app, ["evolve", str(data), "-o", str(folder), "--generations", "2", *COMMAND])
    assert done.exit_code == 0, done.output
    return SimpleNamespace(
        folder=folder, said=done.stdout, winner=json.loads((folder / "winner.json").read_text())
    )


def begun(data: Path, folder: Path) -> GeneticSearch:
    return GeneticSearch(data, BUDGET, folder, machines=Machines(), progress=print, watch=lambda scored: None)


def test_a_search_that_never_bred_can_begin_with_another_seed(data, tmp_path):
    begun(data, tmp_path)
    GeneticSearch(data, replace(BUDGET, seed=5), tmp_path, machines=Machines(), progress=print, watch=print)
    assert json.loads((tmp_path / "split.json").read_text())["seed"] == 5


def test_a_search_that_has_bred_refuses_another_seed_by_its_name(searched, data, tmp_path):
    folder = shutil.copytree(searched.folder, tmp_path / "copy")
    with pytest.raises(UserError, match="other settings or data"):
        GeneticSearch(data, replace(BUDGET, seed=5), folder, machines=Machines(), progress=print, watch=print)


def test_the_winner_is_a_text_to_train_with(searched):
    loss = parse(searched.winner["loss"])
    assert str(loss) == searched.winner["loss"]
    assert (loss.text, loss.latex) == (searched.winner["text"], searched.winner["latex"])
    assert searched.winner["loss"] in searched.said


def test_the_control_is_a_random_formula_that_was_not_bred(searched):
    known = json.loads((searched.folder / "state.json").read_text())["known"]
    assert searched.winner["control"] == f"evolved({next(iter(known.values()))[0]})"


def test_the_finalists_are_in_order_of_their_repeats(searched):
    means = [finalist["mean"] for finalist in searched.winner["finalists"]]
    assert len(means) == 2 and means == sorted(means, reverse=True)
    assert searched.winner["loss"] == f"evolved({searched.winner['finalists'][0]['formula']})"


def test_the_held_out_third_is_named(searched):
    split = json.loads((searched.folder / "split.json").read_text())
    assert [len(split[part]) for part in ("training", "validation", "held_out")] == [4, 2, 3]


def test_pictures_and_numbers_are_there(searched):
    assert (searched.folder / "tree.svg").exists() and (searched.folder / "fitness.svg").exists()
    assert len((searched.folder / "generations.csv").read_text().splitlines()) == 3


def test_the_card_says_what_it_is_and_where_it_comes_from(searched):
    card = (searched.folder / "card.md").read_text()
    assert f"`{searched.winner['loss']}`" in card and searched.winner["text"] in card
    assert "volumes, 9 cases of 9 patients" in card and "not stated in the data" in card
    assert "4 to train on, 2 to score by, and 3 that the search never saw" in card
    assert "width 1, grid [16, 16, 32], 1 epochs in batches of 2, learning rate 0.064" in card


def test_a_stopped_search_has_the_same_winner(searched, data, tmp_path):
    list(begun(data, tmp_path).generations(60, most=1))
    resumed = begun(data, tmp_path)
    list(resumed.generations(60, most=2))
    assert str(resumed.finish().loss) == searched.winner["loss"]
    again = json.loads((tmp_path / "winner.json").read_text())
    assert again | {"seconds": 0} == searched.winner | {"seconds": 0}


def test_gate_and_fitness_are_the_same_in_another_process(searched, data, tmp_path):
    test, fitness = begun(data, tmp_path).evolution.work
    twin_test, twin_fitness = pickle.loads(pickle.dumps((test, fitness)))
    formula = Text("formula", searched.winner["finalists"][0]["formula"]).formula()
    assert twin_test(formula) == test(formula)
    assert twin_fitness(formula, 0) == fitness(formula, 0) == searched.winner["finalists"][0]["searched"]


def test_a_study_trains_winner_and_control_on_the_held_out_cases(searched, data, tmp_path):
    methods = [
        {"name": name, "loss": searched.winner[key]} for name, key in (("winner", "loss"), ("random", "control"))
    ]
    settings = {"data": data, "held_out": searched.folder / "split.json", "grid": [16, 16, 32], "width": 1}
    settings |= {"methods": methods, "epochs": 1, "folds": 2, "batch": 4}
    events = list(run_study(check(settings, "test"), tmp_path / "study", progress=print))
    held_out = set(json.loads((searched.folder / "split.json").read_text())["held_out"])
    assert [{row["case"] for row in event.epoch.validation} for event in events] == [held_out] * 4


def test_time_is_left_for_the_finals():
    generations = [SimpleNamespace(trained=24, seconds=40.0), SimpleNamespace(trained=16, seconds=20.0)]
    # 60 s for 40 formulas: 6 finalists four times are 36 s, the next generation is as long as the last.
    assert _after_next(SimpleNamespace(generations=generations, seconds=60.0)) == pytest.approx(60 + 20 + 36)


def test_too_few_cases_are_told(small_data, tmp_path):
    with pytest.raises(UserError, match="add cases"):
        begun(small_data, tmp_path)


def test_control_c_is_no_error(data, tmp_path, monkeypatch):
    def stopped(self, minutes, most):
        raise Stopped(signal.SIGINT)
        yield

    monkeypatch.setattr(GeneticSearch, "generations", stopped)
    done = CliRunner().invoke(app, ["evolve", str(data), "-o", str(tmp_path), *COMMAND])
    assert done.exit_code == 130 and "goes on from here" in done.stdout
