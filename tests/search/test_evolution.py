import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from spineloss.errors import UserError
from spineloss.grammar import Formula, Text
from spineloss.search.evolution import POPULATION, Evolution, EvolutionState
from spineloss.search.gate import GateVerdict
from spineloss.search.tasks import HERE, Machines
from spineloss.search.variation import Scored


def shape_of_text(formula: Formula) -> GateVerdict:
    """A gate that knows no tensor: both inputs, not too long; the gradient is the text."""
    text = str(formula)
    passed = "p" in text and "y" in text and len(text) < 200
    return GateVerdict(None, text) if passed else GateVerdict("text")


def like_dice(formula: Formula, repeat: int) -> float:
    """How many of Dice's own parts a formula has; the repeat moves it a little."""
    parts = ("mean(multiply(p, y))", "divide(", "add(", "complement(")
    return sum(part in str(formula) for part in parts) / 4 - repeat / 1000


def slow(formula: Formula, repeat: int) -> float:
    time.sleep(0.02)
    return like_dice(formula, repeat)


def search(folder, machines=HERE, fitness=like_dice, settings=None, watch=lambda scored: None):
    return Evolution(
        shape_of_text, fitness, seed=3, folder=folder, settings=settings or {}, machines=machines, watch=watch
    )


def bred(folder, generations, **changes):
    begun = search(folder, **changes)
    list(begun.generations(lambda state: len(state.generations) < generations))
    return begun


def told(state: EvolutionState):
    """Everything but the time it took."""
    plain = state.plain()
    for generation in plain["generations"]:
        generation.pop("seconds")
    return plain


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return bred(tmp_path_factory.mktemp("whole"), 3)


def test_the_best_never_gets_worse_and_the_population_better(whole):
    first, *_, last = whole.state.generations
    best = [generation.best for generation in whole.state.generations]
    assert best == sorted(best)
    assert last.mean > first.mean
    assert len(set(whole.state.population)) == POPULATION


def test_any_number_of_processes_gives_the_same(whole, tmp_path):
    assert told(bred(tmp_path, 3, machines=Machines(processes=2)).state) == told(whole.state)


def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(whole, tmp_path):
    bred(tmp_path, 1)
    assert told(bred(tmp_path, 3).state) == told(whole.state)


def test_a_killed_search_leaves_a_state_to_go_on_from(whole, tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=bred, args=(tmp_path, 99), kwargs={"fitness": slow}
    )
    process.start()
    while not (tmp_path / "state.json").exists():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = len(json.loads((tmp_path / "state.json").read_text())["generations"])
    begun = search(tmp_path)
    list(begun.generations(lambda state: len(state.generations) < max(done, 3)))
    assert told(begun.state)["generations"][:3] == told(whole.state)["generations"]


def test_a_gradient_is_trained_once(tmp_path):
    trained: list[Scored] = []
    begun = bred(tmp_path, 3, watch=trained.append)
    assert len(trained) == len({str(scored.formula) for scored in trained}) == len(begun.state.known)
    assert sum(generation.trained for generation in begun.state.generations) == len(trained)


def test_the_finalists_are_the_best_and_trained_again(whole):
    finalists = whole.final()
    assert [finalist.scored.fitness for finalist in finalists][0] == whole.state.generations[-1].best
    assert finalists[0].mean == pytest.approx(finalists[0].scored.fitness - 2.5 / 1000)


def test_another_search_is_refused_its_folder(whole):
    with pytest.raises(UserError, match="other settings"):
        search(whole.folder, settings={"width": 4})


@pytest.mark.parametrize("damage", [{"known": None}, {"population": ["x"]}, {"generations": [{}]}])
def test_a_damaged_state_is_told(whole, tmp_path, damage):
    state = json.loads((Path(whole.folder) / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | damage))
    with pytest.raises(UserError, match=r"state.json is damaged"):
        search(tmp_path)


def test_the_first_random_formula_is_the_control(whole):
    text = json.loads((Path(whole.folder) / "state.json").read_text())["known"]
    assert Text("formula", next(iter(text.values()))[0]).formula() == whole.state.first


def nothing_passes(formula: Formula) -> GateVerdict:
    return GateVerdict("sign")


def test_a_search_ends_by_its_minutes_where_nothing_passes_the_gate(tmp_path):
    begun = Evolution(
        nothing_passes, like_dice, seed=3, folder=tmp_path, settings={}, machines=HERE, watch=lambda scored: None
    )
    assert list(begun.generations(lambda state: True, seconds=0.5)) == []
    with pytest.raises(UserError, match="no formula passed the gate"):
        begun.final()


def test_a_generation_that_time_ends_is_left_out(whole, tmp_path):
    begun = bred(tmp_path, 1)
    assert list(begun.generations(lambda state: True, seconds=begun.state.seconds)) == []
    assert told(begun.state)["generations"] == told(whole.state)["generations"][:1]
