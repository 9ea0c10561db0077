import csv
import json
import math

import pytest

from spineloss.errors import UserError
from spineloss.files import write_csv
from spineloss.metrics import METRICS
from spineloss.results.table import read_records, render, summarise, write_table


def make_run(study, method, fold, scores, order=0, status="done", repeat=0):
    """Scores: {epoch: {case: dice}}; every other metric repeats it."""
    folder = study / "runs" / f"{order}" / f"fold-{fold}-{repeat}"
    folder.mkdir(parents=True)
    record = {"method": method, "order": order, "fold": fold, "repeat": repeat, "status": status}
    (folder / "run.json").write_text(json.dumps(record))
    rows = [
        {"epoch": epoch, "case": case, "label": label, **dict.fromkeys(METRICS, dice)}
        for epoch, cases in scores.items()
        for case, values in cases.items()
        for label, dice in (values.items() if isinstance(values, dict) else [("all", values)])
    ]
    write_csv(folder / "validation.csv", rows, ["epoch", "case", "label", *METRICS])


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    return tmp_path


def cell(study, method, metric, epoch, label="all"):
    rows = summarise(read_records(study), epoch)
    return next(row for row in rows if (row.method, row.metric, row.label) == (method, metric, label))


def test_by_hand(study):
    make_run(study, "dice", 0, {5: {"a": 0.9, "b": 0.7}, 10: {"a": 0.6, "b": 0.4}})
    make_run(study, "dice", 1, {5: {"c": 0.2}, 10: {"c": 0.7}})
    last = cell(study, "dice", "dice", "last")
    assert (last.mean, last.folds) == (pytest.approx(0.6), 2)
    assert last.std == pytest.approx(math.sqrt(0.02))  # of 0.5 and 0.7, ddof 1
    assert cell(study, "dice", "dice", "best").mean == pytest.approx(0.75)
    # The epoch chosen by Dice decides for every metric; the optimistic choice takes each metric's own.
    assert cell(study, "dice", "hausdorff", "best").mean == pytest.approx(0.75)
    assert cell(study, "dice", "hausdorff", "optimistic").mean == pytest.approx((0.5 + 0.2) / 2)


def test_repeats_are_averaged_within_a_case_before_folds_are(study):
    make_run(study, "dice", 0, {1: {"a": 0.9, "b": 0.7}})
    make_run(study, "dice", 0, {1: {"a": 0.5, "b": 0.3}}, repeat=1)
    make_run(study, "dice", 1, {1: {"c": 0.4}})
    row = cell(study, "dice", "dice", "last")
    # Cases 0.7, 0.5 and 0.4: folds 0.6 and 0.4.
    assert (row.mean, row.folds) == (pytest.approx(0.5), 2)
    assert row.std == pytest.approx(math.sqrt(0.02))


def test_undefined_is_left_out_and_counted(study):
    make_run(study, "dice", 0, {1: {"a": 0.5, "b": math.nan}})
    row = cell(study, "dice", "dice", "last")
    assert (row.mean, row.undefined) == (0.5, 1)
    assert "1 case score(s) undefined" in render(summarise(read_records(study)), "text")


def test_labels_apart_and_averaged(study):
    make_run(study, "dice", 0, {1: {"a": {"1": 0.4, "2": 0.8}}})
    assert cell(study, "dice", "dice", "last", "2").mean == 0.8
    assert cell(study, "dice", "dice", "last", "mean").mean == pytest.approx(0.6)


def test_best_is_marked_in_each_format(study):
    make_run(study, "good", 0, {1: {"a": 0.9}}, order=0)
    make_run(study, "bad", 0, {1: {"a": 0.1}}, order=1)
    rows = summarise(read_records(study))
    assert "*90.00*" in render(rows, "text") and "*10.00*" not in render(rows, "text")
    assert "**90.00**" in render(rows, "markdown")
    assert r"\textbf{90.00}" in render(rows, "latex")
    # Distances are better when lower.
    assert "*0.10*" in render(rows, "text")


def test_unfinished_runs_are_left_out_and_missing_folds_marked(study):
    make_run(study, "dice", 0, {1: {"a": 0.9}})
    make_run(study, "dice", 1, {1: {"b": 0.1}}, status="failed")
    assert "dice (1/2 folds)" in render(summarise(read_records(study)), "text", folds=2)


def test_hostile_names_cannot_break_a_table(study):
    make_run(study, "a|b & c_d\n% \\x", 0, {1: {"a": 0.9}})
    rows = summarise(read_records(study))
    assert r"a\|b" in render(rows, "markdown")
    assert r"a|b \& c\_d \% \textbackslash{}x" in render(rows, "latex")
    assert len(render(rows, "text").splitlines()) == 4


def test_table_csv_holds_every_choice(study):
    make_run(study, "dice", 0, {1: {"a": 0.9}})
    write_table(study)
    with (study / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["epoch"] for row in rows} == {"last", "best", "optimistic"}
    assert float(rows[0]["mean"]) == 0.9 and rows[0]["std"] == ""


def test_mistakes_are_told(study, tmp_path):
    with pytest.raises(UserError, match="last, best, optimistic"):
        summarise([], "first")
    with pytest.raises(UserError, match="text, markdown"):
        render([], "html")
    with pytest.raises(UserError, match="holds no study"):
        read_records(tmp_path / "nowhere")
