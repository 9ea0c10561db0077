"""A race trains fewer runs, the same ones after a stop, and its decisions follow from the finished runs alone."""

import json
import shutil
from dataclasses import replace

import pytest

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.report.content import read_content
from spineloss.results.comparison import compare_study
from spineloss.results.race_course import race_cost, read_course
from spineloss.results.race_table import race_text
from spineloss.results.racing import Rules
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.study.engine import run_study
from spineloss.study.race import CANDIDATES, load_race, race_study
from spineloss.study.settings import check
from spineloss.study.status import read_status
from study.test_engine import SETTINGS, measured

METHODS = ["dice", "iou", {"loss": "cross_entropy", "learning_rate": [0.01, 0.1]}]
RACED = SETTINGS | {"methods": METHODS, "epochs": 1, "learning_rate": 0.01}
EASY = Rules(level=0.9, margin=0.5)  # drops whoever is not better by 50 points, soon


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of six cases, one cache, a race on it, and the full study of the same methods."""
    folder = tmp_path_factory.mktemp("race")
    write_small_data(folder / "volumes")
    race(folder, folder / "race")
    list(run_study(study_of(folder), folder / "full", lambda line: None, Cache(folder / "cache")))
    return folder


def study_of(place):
    return check(RACED | {"data": place / "volumes"}, "test")


def race(place, folder, rules=EASY):
    return list(race_study(study_of(place), folder, lambda line: None, Cache(place / "cache"), rules=rules))


def decisions(folder):
    return json.loads((folder / "race.json").read_text())


def test_what_is_dropped_trains_no_further(place):
    course = read_course(place / "race")
    assert course.is_over and 1 <= len(course.dropped) <= 2 and course.rules == EASY
    for method in course.methods:
        after = course.dropped[method][0] if method in course.dropped else len(course.looks)
        trained = [Run.of(place / "race", method, fold, repeat) for repeat, fold in course.places]
        assert [run.record()["status"] for run in trained] == ["done"] * after + ["pending"] * (2 - after)
    statuses = {(row.method, row.status) for row in read_status(place / "race")}
    assert {method for method, status in statuses if status == "dropped"} == set(course.dropped)


def test_decisions_follow_from_the_finished_runs_alone(place, tmp_path):
    """Not from `race.json`, nor from runs that the race did not ask for."""
    folder = shutil.copytree(place / "full", tmp_path / "full")
    content = decisions(place / "race")
    (folder / "race.json").write_text(json.dumps(content | {"dropped": {"dice": 1}}))
    assert read_course(folder).dropped == read_course(place / "race").dropped
    assert race(place, folder) == [] and decisions(folder) == content


def test_a_stopped_race_goes_on(place, tmp_path):
    folder = tmp_path / "race"
    events = race_study(study_of(place), folder, lambda line: None, Cache(place / "cache"), rules=EASY)
    for _ in range(2):
        next(events)
    events.close()
    race(place, folder)
    assert measured(folder) == measured(place / "race") and decisions(folder) == decisions(place / "race")


def test_a_round_waits_for_all_of_its_runs(place, tmp_path):
    folder = shutil.copytree(place / "race", tmp_path / "race")
    shutil.rmtree(Run.of(folder, "iou", 0).folder)
    course = read_course(folder)
    assert course.looks == () and not course.is_over and course.left == course.methods
    assert "has not finished the first" in race_text(folder)


def test_who_fails_is_dropped(place, tmp_path):
    folder = shutil.copytree(place / "full", tmp_path / "race")
    shutil.copy(place / "race" / "race.json", folder)
    run = Run.of(folder, "iou", 0)
    run.write_record(run.record() | {"status": "failed", "reason": "no memory"})
    number, drop = read_course(folder).dropped["iou"]
    assert (number, drop.reason) == (1, "failed") and "| failed |" in race_text(folder, "markdown")
    # In the full study it would have taken as long as the others.
    course = read_course(folder)
    others = replace(course, methods=tuple(method for method in course.methods if method != "iou"))
    assert race_cost(course, folder).all_seconds == pytest.approx(1.5 * race_cost(others, folder).all_seconds)


def test_the_cost_counts_what_was_trained(place):
    cost = race_cost(read_course(place / "race"), place / "race")
    trained = [Run(path.parent) for path in (place / "race").glob("runs/*/*/run.json")]
    tried = [run for run in (place / "race").glob("runs/*/*/rate-*/run.json")]
    seconds = [run.record()["timing"]["seconds"] for run in [*trained, *(Run(path.parent) for path in tried)]]
    assert (cost.runs, cost.all_runs) == (len(trained), 6) and cost.seconds == pytest.approx(sum(seconds))
    assert 0 < cost.share < 1 and f"{len(trained)} of 6 trainings" in race_text(place / "race")


def test_who_has_fewer_trainings_is_neither_best_nor_ranked(place, tmp_path):
    folder = shutil.copytree(place / "full", tmp_path / "race")
    shutil.copy(place / "race" / "race.json", folder)
    shutil.rmtree(Run.of(folder, "iou", 1).folder)
    (result,) = compare_study(read_records(folder))
    assert result.comparison.reference != "iou" and "iou" not in result.ranking.mean_ranks
    assert result.comparison.contrasts["iou"].cases == 3
    content = read_content(folder)
    assert not [row for row in content.table if row.method == "iou" and any(s.best for s in row.scores.values())]
    assert content.race is not None and content.patients == 6


def test_other_rules_are_refused(place):
    with pytest.raises(UserError, match="a margin of 50 points at a level of 0.9"):
        race(place, place / "race", rules=Rules())


def test_without_methods_twenty_are_raced(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("data: volumes\nwidth: 8\ngrid: [16, 32, 32]\n")
    study = load_race(file)
    assert [method.name for method in study.methods] == list(CANDIDATES) and len(set(CANDIDATES)) == 20
    assert study.learning_rate == (0.002667, 0.008, 0.024)
    assert load_race(file, {"optimiser": "sgd"}).learning_rate == (0.003333, 0.01, 0.03)
    file.write_text("data: volumes\ngrid: [16, 32, 32]\nmethods: [dice]\n")
    with pytest.raises(UserError, match="two or more"):
        load_race(file)
    file.write_text("data: v\nmethods: [dice, {loss: dice + boundary, weighting: cov, controls: true}]\n")
    with pytest.raises(UserError, match="controls"):
        load_race(file)
