import csv
import math
from contextlib import closing

import pytest
import torch

from ellipsoids import write_small_data
from results.test_table import make_run
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.files import write_csv
from spineloss.losses import LOSSES, Dice
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise, table_text
from spineloss.study.controls import verdicts
from spineloss.study.courses import courses_in_words, draw_trajectories, read_trajectories
from spineloss.study.engine import run_study
from spineloss.study.settings import check
from spineloss.study.status import read_status
from spineloss.text import parse
from study.test_engine import measured

METHOD = {"loss": "dice + boundary", "name": "B/COV", "weighting": "cov", "controls": True}
SETTINGS = {
    "grid": [16, 16, 32],
    "width": 2,
    "folds": 2,
    "epochs": 3,
    "batch": 2,
    "validate_every": 3,
    "augment": {"affine": 0.5, "noise": 0.5, "mixup": 0.5},
}
STEPS = 6  # of a run: four training cases, two a batch, three epochs


def study_of(data, *methods):
    return check(SETTINGS | {"data": data, "methods": methods or [METHOD]}, "test")


def run(study, folder, cache=None):
    return list(run_study(study, folder, progress=lambda line: None, cache=cache))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study of one adaptive method and its controls, with its data."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_small_data(folder / "volumes")
    run(study_of(data), folder / "study", Cache(folder / "cache"))
    return folder


def steps_of(study, name, fold=0):
    with (Run.of(study, name, fold).folder / "steps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(rows):
    return [(float(row["weight of dice"]), float(row["weight of boundary"])) for row in rows]


def test_every_step_of_the_run_is_on_record(finished):
    rows = steps_of(finished / "study", "B/COV")
    assert list(rows[0]) == ["epoch", "step", "dice", "boundary", "weight of dice", "weight of boundary"]
    assert [row["step"] for row in rows] == [str(step) for step in range(1, STEPS + 1)]
    assert [row["epoch"] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    assert weights_of(rows)[:2] == [(0.5, 0.5)] * 2 and weights_of(rows)[2] != (0.5, 0.5)


@pytest.mark.parametrize("stops", [(1, 4, 2, 1), (2, 3, 5)])
def test_stopped_anywhere_and_resumed_is_the_same(finished, tmp_path, stops):
    for stop in stops:
        with closing(run_study(study_of(finished / "volumes"), tmp_path, progress=lambda line: None)) as events:
            for _ in range(stop):
                next(events)
    run(study_of(finished / "volumes"), tmp_path)
    assert measured(tmp_path) == measured(finished / "study")


def test_controls_have_the_weights_they_are_named_by(finished):
    study = finished / "study"
    for fold in (0, 1):
        own = weights_of(steps_of(study, "B/COV", fold))
        uniform = Run.of(study, "B/COV (uniform weights)", fold).record()["loss"]
        assert uniform == "0.5*dice + 0.5*boundary"
        random = weights_of(steps_of(study, "B/COV (random weights)", fold))
        assert sorted(random) == sorted(own)
        means = [math.fsum(column) / STEPS for column in zip(*own, strict=True)]
        average = Run.of(study, "B/COV (average weights)", fold).record()["loss"]
        assert average == f"{means[0]}*dice + {means[1]}*boundary"
        # Weights that stay are an ordinary loss: there is nothing to record.
        assert not Run.of(study, "B/COV (average weights)", fold).records_steps


def test_rebalance_goes_from_start_to_end_over_the_run_whatever_is_validated(small_data, tmp_path):
    rebalance = {"loss": "dice + boundary", "name": "RS", "weighting": "rebalance(start=0.1, end=0.6)"}
    run(check(SETTINGS | {"data": small_data, "methods": [rebalance], "validate_every": 1}, "test"), tmp_path)
    boundary = [weight for _, weight in weights_of(steps_of(tmp_path, "RS"))]
    assert boundary == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


class Broken(Dice):
    """Becomes NaN at once."""

    def compute(self, inputs):
        return super().compute(inputs) * float("nan")


def test_controls_of_a_run_that_failed_wait(small_data, tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "broken", Broken)
    events = run(study_of(small_data, METHOD | {"loss": "broken + boundary", "name": "X"}), tmp_path)
    told = {event.method: event.reason for event in events}
    assert told["X"] == "the term dice of the training loss became nan"
    assert not told.keys() & {"X (average weights)", "X (random weights)"}
    waiting = Run.of(tmp_path, "X (average weights)", 0).record()
    assert (waiting["status"], waiting["reason"]) == ("waiting", "needs the finished run of X on this fold")


@pytest.mark.parametrize(
    ("shift", "told"),
    [(0.01, "B/COV beat its own average"), (-0.01, "B/COV was worse than its own average"),
     (0.0, "B/COV did not beat its own average")],
)  # fmt: skip
def test_whether_a_method_beats_its_average_is_told(tmp_path, shift, told):
    (tmp_path / "study.yaml").write_text("")
    scores = {f"{case}": 0.5 + 0.01 * case for case in range(12)}
    better = {case: value + shift * (1 + 0.1 * int(case)) for case, value in scores.items()}
    make_run(tmp_path, "B/COV", 0, {1: better}, order=0)
    make_run(tmp_path, "B/COV (average weights)", 0, {1: scores}, order=1)
    records = read_records(tmp_path)
    (sentence,) = verdicts(study_of("v"), records, "last")
    assert sentence.startswith(
        f"{told} weights held fixed: {100 * shift * 1.55:+.2f} points of Dice over 12 cases".replace("-", "−")
    )
    assert sentence in table_text(summarise(records), "text", remarks=[sentence])


def test_without_a_finished_average_nothing_is_told(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    make_run(tmp_path, "B/COV", 0, {1: {"a": 0.5}})
    assert verdicts(study_of("v"), read_records(tmp_path), "last") == []


def recorded(folder, fold, weights):
    rows = [
        {"epoch": 1 + step // 2, "step": 1 + step, "weight of dice": weight, "weight of boundary": 1 - weight}
        for step, weight in enumerate(weights)
    ]
    write_csv(Run.of(folder, "B/COV", fold).folder / "steps.csv", rows, list(rows[0]))


def test_trajectories_in_words(tmp_path):
    recorded(tmp_path, 0, [0.5, 0.5, 0.25, 0.25])
    recorded(tmp_path, 1, [0.5, 0.7, 0.25, 0.05])
    (line,) = courses_in_words(read_trajectories(study_of("v"), tmp_path))
    assert line == (
        "B/COV: weights from the first epoch to the last (mean): "
        "dice 0.550 to 0.200 (0.375), boundary 0.450 to 0.800 (0.625)"
    )


def test_trajectories_as_pictures(finished, tmp_path):
    (picture,) = draw_trajectories(finished / "study", tmp_path / "pictures")
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_no_trajectories_are_told(tmp_path, small_data):
    (tmp_path / "study.yaml").write_text(f"data: {small_data}\nmethods: [dice]")
    with pytest.raises(UserError, match="has nothing to draw"):
        next(draw_trajectories(tmp_path, tmp_path / "pictures"))


def test_a_broken_record_of_steps_is_told(tmp_path):
    Run.of(tmp_path, "B/COV", 0).folder.mkdir(parents=True)
    (Run.of(tmp_path, "B/COV", 0).folder / "steps.csv").write_text("epoch,step,weight of dice\n1,1,much\n")
    with pytest.raises(UserError, match="steps.csv is damaged or was changed: `spineloss study run"):
        read_trajectories(study_of("v"), tmp_path)


TUNED = {"loss": "tversky", "name": "T/G", "tuning": "greedy(score=next)", "controls": True}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A finished study of a greedy search and its controls, with its data."""
    folder = tmp_path_factory.mktemp("tuned")
    data = write_small_data(folder / "volumes")
    run(study_of(data, TUNED), folder / "study", Cache(folder / "cache"))
    return folder


def values_of(rows):
    return [(float(row["alpha"]), float(row["beta"])) for row in rows]


def test_a_search_and_its_controls(tuned):
    study = tuned / "study"
    own = values_of(steps_of(study, "T/G"))
    assert len(own) == STEPS and len(set(own)) > 1
    random = values_of(steps_of(study, "T/G (random parameters)"))
    assert len(set(random)) > 1 and random != own
    alpha, beta = (math.fsum(column) / STEPS for column in zip(*own, strict=True))
    average = Run.of(study, "T/G (average parameters)", 0).record()["loss"]
    assert average == str(parse(f"tversky(alpha={alpha}, beta={beta})"))


def test_a_search_stopped_and_resumed_is_the_same(tuned, tmp_path):
    for _ in range(4):
        with closing(
            run_study(study_of(tuned / "volumes", TUNED), tmp_path, progress=lambda line: None)
        ) as events:
            next(events)
            next(events, None)
    run(study_of(tuned / "volumes", TUNED), tmp_path)
    assert measured(tmp_path) == measured(tuned / "study")


def test_a_search_is_drawn_as_a_course_and_a_path(tuned, tmp_path):
    pictures = list(draw_trajectories(tuned / "study", tmp_path / "pictures"))
    assert len(pictures) == 2 and all(picture.read_bytes()[:4] == b"\x89PNG" for picture in pictures)


def test_whether_a_search_beats_its_average_is_told(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    scores = {f"{case}": 0.5 + 0.01 * case for case in range(12)}
    make_run(tmp_path, "T/G", 0, {1: {case: value + 0.02 for case, value in scores.items()}}, order=0)
    make_run(tmp_path, "T/G (average parameters)", 0, {1: scores}, order=1)
    (sentence,) = verdicts(study_of("v", TUNED), read_records(tmp_path), "last")
    assert sentence.startswith("T/G beat its own average parameters held fixed: +2.00 points of Dice")


def test_controls_that_wait_keep_what_they_have_finished(small_data, tmp_path, monkeypatch):
    run(study_of(small_data), tmp_path)
    average = Run.of(tmp_path, "B/COV (average weights)", 0)
    before = average.network()
    monkeypatch.setitem(LOSSES, "broken", Broken)
    changed = METHOD | {"loss": "broken + iou"}
    run(study_of(small_data, changed), tmp_path)
    rows = {(row.method, row.fold): row for row in read_status(tmp_path)}
    assert [rows[name, 0].status for name in ("B/COV", "B/COV (average weights)")] == ["failed", "waiting"]
    assert [rows[name, 0].epochs_done for name in ("B/COV", "B/COV (average weights)")] == [0, 0]
    assert not Run.of(tmp_path, "B/COV", 0).records_steps
    # Changed back, the method trains again, and the controls that waited count as they are.
    events = run(study_of(small_data), tmp_path)
    assert {event.method for event in events} == {"B/COV", "B/COV (uniform weights)"}
    assert all(torch.equal(before[key], value) for key, value in average.network().items())
