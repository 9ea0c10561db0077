"""Learning rates are scaled or chosen, on cases that no table shows; repeats change the draws, never the folds."""

import csv
import json
from contextlib import closing

import pytest

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.losses import LOSSES, Dice
from spineloss.results.learning_rates import rates_in_words, read_choices
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.study.engine import run_study
from spineloss.study.settings import check
from spineloss.study.status import read_status
from study.test_engine import SETTINGS, measured

METHODS = [
    {"loss": "dice", "learning_rate": [0.03, 0.003]},
    {
        "loss": "dice + boundary",
        "name": "COV",
        "weighting": "cov",
        "controls": True,
        "learning_rate": [0.01, 0.001],
    },
    "iou",
]
SMALL = SETTINGS | {"epochs": 2, "methods": METHODS, "learning_rate": 0.002}


def run(folder, data, cache, **changes):
    study = check(SMALL | {"data": data} | changes, "test")
    return list(run_study(study, folder, progress=lambda line: None, cache=cache))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of six cases, one cache, and a finished study."""
    folder = tmp_path_factory.mktemp("rates")
    write_small_data(folder / "volumes")
    run(folder / "study", folder / "volumes", Cache(folder / "cache"))
    return folder


def cases_of(run):
    with (run.folder / "cases.csv").open(newline="") as file:
        return {row["case"] for row in csv.DictReader(file)}


def record(study, method, fold=0, repeat=0):
    return Run.of(study, method, fold, repeat).record()


def test_each_rate_is_tried_on_the_folds_training_cases_alone(place):
    parts = json.loads((place / "study" / "folds.json").read_text())["folds"]
    for fold in (0, 1):
        seen = set()
        for rate in (0.003, 0.03):
            tried = Run.of(place / "study", "dice", fold).candidate(rate)
            assert tried.record()["status"] == "done" and tried.folder.name == f"rate-{rate}"
            with (tried.folder / "validation.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert {row["epoch"] for row in rows} == {"2"}
            seen |= {row["case"] for row in rows}
        # Four training cases, so a quarter of them is one.
        assert len(seen) == 1 and not seen & set(parts[fold])


def test_the_rate_with_the_best_inner_dice_trains_on_all_training_cases(place):
    for method, rates in (
        ("dice", [0.003, 0.03]),
        ("COV", [0.001, 0.01]),
        ("COV (average weights)", [0.001, 0.01]),
    ):
        found = record(place / "study", method)
        assert [candidate["rate"] for candidate in found["candidates"]] == rates
        best = max(found["candidates"], key=lambda candidate: candidate["dice"])
        assert found["learning_rate"] == best["rate"]
        inner = Run.of(place / "study", method, 0).candidate(best["rate"]).epochs()[-1]
        assert best["dice"] == inner["dice"]
    assert record(place / "study", "iou")["learning_rate"] == 0.002
    assert record(place / "study", "iou")["candidates"] == []


def test_a_control_tries_a_rate_against_the_adaptive_run_of_that_rate(place):
    for rate in (0.001, 0.01):
        runs = [Run.of(place / "study", name, 0).candidate(rate) for name in ("COV", "COV (random weights)")]
        rows = [list(csv.DictReader((run.folder / "steps.csv").open(newline=""))) for run in runs]
        assert sorted(row["weight of dice"] for row in rows[0]) == sorted(row["weight of dice"] for row in rows[1])


def test_the_table_and_a_file_say_what_was_chosen_and_what_it_cost(place):
    lines = rates_in_words(read_choices(place / "study"))
    assert "chosen from 0.003, 0.03 on an inner split of each fold; choosing took" in lines[0]
    assert lines[-2] == "iou: learning rate 0.002"
    # The rate that scales with the width of 2 is 0.032.
    assert lines[-1].startswith("The learning rate 0.002 was set, and 0.032 is what scales with the width")
    with (place / "study" / "rates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 5
    assert all(float(row["dice"]) >= 0 and float(row["seconds"]) > 0 for row in rows)
    assert sum(row["chosen"] == "1" for row in rows) == 2 * 5
    assert {each.method for each in read_records(place / "study")} == {each["method"] for each in rows} | {"iou"}


def test_finished_it_trains_nothing_and_stopped_anywhere_it_ends_alike(place, tmp_path):
    cache = Cache(place / "cache")
    assert run(place / "study", place / "volumes", cache) == []
    study = check(SMALL | {"data": place / "volumes"}, "test")
    for stop in (1, 3, 4, 6):
        with closing(run_study(study, tmp_path, progress=lambda line: None, cache=cache)) as events:
            for _ in range(stop):
                next(events)
            if stop == 1:
                assert read_status(tmp_path)[0].status == "choosing a rate"
    run(tmp_path, place / "volumes", cache)
    assert measured(tmp_path) == measured(place / "study")
    assert {row.status for row in read_status(tmp_path)} == {"done"}
    assert {row.epochs for row in read_status(tmp_path)} == {2, 6}


class Broken(Dice):
    """Becomes NaN at once."""

    def compute(self, inputs):
        return super().compute(inputs) * float("nan")


def test_where_no_rate_can_be_chosen_the_run_fails(place, tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "broken", Broken)
    events = run(tmp_path, place / "volumes", Cache(place / "cache"), methods=["broken"], learning_rate=[0.1, 1])
    failed = [event for event in events if event.rate is None]
    assert [event.fold for event in failed] == [0, 1] and len(events) == 6
    assert "no learning rate could be chosen; at 0.1: the training loss became nan" in failed[0].reason


def test_repeats_keep_folds_and_choices_and_change_the_draws(place, tmp_path):
    cache = Cache(place / "cache")
    methods = [METHODS[0], "iou"]
    run(tmp_path, place / "volumes", cache, methods=methods)
    before = measured(tmp_path)
    events = run(tmp_path, place / "volumes", cache, methods=methods, repeats=2)
    assert {event.repeat for event in events} == {1} and {event.rate for event in events} == {None}
    after = measured(tmp_path)
    unchanged = [key for key in before if key != "table"]
    assert {key: after[key] for key in unchanged} == {key: before[key] for key in unchanged}
    for method in ("dice", "iou"):
        first, second = (Run.of(tmp_path, method, 0, repeat) for repeat in (0, 1))
        assert second.folder.name == "fold-0-repeat-1"
        assert first.record()["learning_rate"] == second.record()["learning_rate"]
        assert first.epochs()[-1]["train_loss"] != second.epochs()[-1]["train_loss"]
        assert cases_of(first) == cases_of(second)
    assert [(row.fold, row.repeat) for row in read_status(tmp_path)][:4] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_manifests_patients_are_divided_by_no_fold_and_no_inner_split(place, tmp_path):
    lines = [
        f"{each},volumes/images/case-{each}.mha,volumes/masks/case-{each}.mha,p{each // 2}" for each in range(6)
    ]
    manifest = place / "manifest.csv"
    manifest.write_text("\n".join(["case,image,mask,group", *lines]))
    run(tmp_path, manifest, Cache(place / "cache"), methods=METHODS[:1], folds=3)
    found = json.loads((tmp_path / "folds.json").read_text())
    assert found["groups"] == {str(each): f"p{each // 2}" for each in range(6)}
    for fold, part in enumerate(found["folds"]):
        judges = cases_of(Run.of(tmp_path, "dice", fold).candidate(0.03))
        assert len(part) == len(judges) == 2 and not judges & set(part)
        assert (
            len({found["groups"][case] for case in part}) == len({found["groups"][case] for case in judges}) == 1
        )
    with pytest.raises(UserError, match="trains on one patient"):
        run(tmp_path / "two", manifest, Cache(place / "cache"), methods=METHODS[:1], folds=2)


def test_another_list_of_rates_is_told_where_the_same_rate_is_chosen(place, tmp_path):
    cache = Cache(place / "cache")
    for rates in (0.03, [0.03, 1e20], 0.03):
        method = {"loss": "dice", "name": "dice", "learning_rate": rates}
        run(tmp_path, place / "volumes", cache, methods=[method])
        tried = isinstance(rates, list)
        told = rates_in_words(read_choices(tmp_path))
        assert ("chosen from" in told[0]) == tried and (tmp_path / "rates.csv").exists() == tried


def test_a_rate_at_which_the_network_itself_fails_is_told_and_begun_anew(place, tmp_path):
    run(tmp_path, place / "volumes", Cache(place / "cache"), methods=["dice"], learning_rate=1e20, epochs=2)
    failed = Run.of(tmp_path, "dice", 0)
    assert "became nan" in failed.record()["reason"] and "probabilities must" not in failed.record()["reason"]
    assert not (failed.folder / "checkpoint.pt").exists()


def test_a_damaged_record_of_a_run_whose_candidate_failed_is_trained_again(place, tmp_path):
    cache = Cache(place / "cache")
    run(tmp_path, place / "volumes", cache, methods=["dice"], learning_rate=[0.03, 1e20])
    record = Run.of(tmp_path, "dice", 0).folder / "run.json"
    record.write_text(record.read_text().replace("0.03", "0.04"))
    run(tmp_path, place / "volumes", cache, methods=["dice"], learning_rate=[0.03, 1e20])
    assert {row.status for row in read_status(tmp_path)} == {"done"}
