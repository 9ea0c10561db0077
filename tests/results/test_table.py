import csv
import math

import pytest

from spineloss.errors import UserError
from spineloss.files import write_csv
from spineloss.metrics import METRICS
from spineloss.results.records import read_records
from spineloss.results.run_folder import EPOCH_COLUMNS, Run, epoch_row
from spineloss.results.study_folder import write_folds
from spineloss.results.table import summarise, table_text, write_table
from spineloss.results.text_table import Cell, TextTable, bullets, lay_out

MISSED = dict.fromkeys(("accuracy", "dice", "f2", "iou", "recall", "surface_dice", "component_dice"), 0.0)
MISSED |= {"components_matched": 0.0, "components_missed": 9.0, "components_added": 0.0, "ace": 0.9, "brier": 0.9}


def make_run(study, method, fold, scores, order=0, status="done", repeat=0):
    """Scores: {epoch: {case: dice}}; every other metric repeats it. `MISSED` is a structure that was not found."""
    folder = study / "runs" / f"{order}" / f"fold-{fold}-repeat-{repeat}"
    rows = [
        {"epoch": epoch, "case": case, "label": label}
        | (dict.fromkeys(METRICS, math.nan) | MISSED if dice is MISSED else dict.fromkeys(METRICS, dice))
        for epoch, cases in scores.items()
        for case, values in cases.items()
        for label, dice in (
            values.items() if isinstance(values, dict) and values is not MISSED else [("all", values)]
        )
    ]
    write_csv(folder / "validation.csv", rows, ["epoch", "case", "label", *METRICS])
    record = {
        "method": method,
        "order": order,
        "fold": fold,
        "repeat": repeat,
        "loss": method,
        "learning_rate": 0.001,
        "candidates": [],
        "signature": "",
        "specification": {},
        "channels": ["all"],
        "orientation": "LPS",
        "started": 0.0,
        "timing": {"seconds": 1.0, "compute_seconds": 1.0},
    }
    write_csv(folder / "epochs.csv", [dict.fromkeys(EPOCH_COLUMNS, epoch) for epoch in scores], EPOCH_COLUMNS)
    if status == "done":
        Run(folder).finish(record, {})
    else:
        Run(folder).write_record(record | {"status": status})


def write_groups(study, groups):
    folds = {"seed": 21, "data": "", "channels": ["all"], "orientation": "LPS", "groups": groups, "folds": []}
    write_folds(study, folds)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    return tmp_path


def cell(study, method, metric, epoch, label="all"):
    rows = summarise(read_records(study), epoch)
    return next(row for row in rows if (row.method, row.metric, row.label) == (method, metric, label))


def test_an_epochs_row_has_means_over_cases():
    scores = [("a", "one", 0.9), ("b", "one", 0.9), ("b", "two", 0.5), ("a", "two", math.nan)]
    validation = [{"case": case, "label": label, **dict.fromkeys(METRICS, value)} for case, label, value in scores]
    row = epoch_row(dict.fromkeys(EPOCH_COLUMNS, 1) | {"validation": validation})
    assert row["dice"] == pytest.approx((0.9 + 0.7) / 2)


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


def test_undefined_is_left_out_and_counted(study):
    make_run(study, "dice", 0, {1: {"a": 0.5, "b": math.nan}})
    row = cell(study, "dice", "dice", "last")
    assert (row.mean, row.undefined) == (0.5, 1)
    assert "1 case score(s) undefined" in table_text(summarise(read_records(study)), "text")


def test_who_misses_structures_is_never_bold(study):
    """As in MONAI's issue 9095: a method that finds nothing in most cases has the best mean distance."""
    make_run(study, "finds", 0, {1: {"a": 3.0, "b": 3.0, "c": 3.0}})
    make_run(study, "misses", 0, {1: {"a": MISSED, "b": MISSED, "c": 2.0}}, order=1)
    row = cell(study, "misses", "hd95", "last")
    assert (row.mean, row.undefined, row.missed) == (2.0, 2, 2)
    text = table_text(summarise(read_records(study)))
    assert "2.00†" in text and "*2.00†*" not in text and "*3.00*" in text
    assert "† misses, HD95: 2 case score(s) undefined and left out, 2 of them missed structures" in text


@pytest.mark.parametrize("labels", [["1"], ["1", "2"]])
def test_what_labels_leave_out_is_noted_once(study, labels):
    cases = {"a": MISSED, "b": MISSED, "c": 2.0}
    make_run(study, "dice", 0, {1: {case: dict.fromkeys(labels, value) for case, value in cases.items()}})
    rows = summarise(read_records(study))
    for shown in (rows, [row for row in rows if row.label != "mean"]):
        notes = [line for line in table_text(shown).splitlines() if "HD95: " in line]
        count = 2 * len(labels)
        assert notes == [
            f"† dice, HD95: {count} case score(s) undefined and left out, {count} of them missed structures: "
            "the mean is too good and not compared"
        ]


def test_repeats_are_averaged_within_the_fold(study):
    make_run(study, "dice", 0, {1: {"a": 0.9, "b": 0.7}})
    make_run(study, "dice", 0, {1: {"a": 0.5, "b": 0.3}}, repeat=1)
    make_run(study, "dice", 1, {1: {"c": 0.4}})
    row = cell(study, "dice", "dice", "last")
    # Cases 0.7, 0.5 and 0.4: folds 0.6 and 0.4.
    assert (row.mean, row.folds) == (pytest.approx(0.5), 2)
    assert row.std == pytest.approx(math.sqrt(0.02))


def test_cases_are_averaged_within_the_patient(study):
    write_groups(study, {"a1": "a", "a2": "a"})
    make_run(study, "dice", 0, {1: {"a1": 0.2, "a2": 0.4, "b": 0.9}})
    assert cell(study, "dice", "dice", "last").mean == pytest.approx(0.6)


def test_labels_apart_and_averaged(study):
    make_run(study, "dice", 0, {1: {"a": {"1": 0.4, "2": 0.8}}})
    assert cell(study, "dice", "dice", "last", "2").mean == 0.8
    assert cell(study, "dice", "dice", "last", "mean").mean == pytest.approx(0.6)


def test_best_is_marked_in_each_format(study):
    make_run(study, "good", 0, {1: {"a": 0.9}}, order=0)
    make_run(study, "bad", 0, {1: {"a": 0.1}}, order=1)
    rows = summarise(read_records(study))
    first, beside = table_text(rows, "text").split("\n\n")
    assert "*90.00*" in first and "*10.00*" not in first
    # An error of calibration is better when lower.
    assert "*10.00*" in beside
    assert "**90.00**" in table_text(rows, "markdown")
    assert r"\textbf{90.00}" in table_text(rows, "latex")
    # Distances are better when lower.
    assert "*0.10*" in table_text(rows, "text")


def test_a_method_alone_is_not_the_best(study):
    make_run(study, "alone", 0, {1: {"a": 0.9}})
    assert "**" not in table_text(summarise(read_records(study)), "markdown")


def test_unfinished_runs_are_left_out_and_missing_folds_marked(study):
    make_run(study, "dice", 0, {1: {"a": 0.9}})
    make_run(study, "dice", 1, {1: {"b": 0.1}}, status="failed")
    assert "dice (1/2 folds)" in table_text(summarise(read_records(study)), "text", folds=2)


def test_hostile_names_cannot_break_a_table(study):
    make_run(study, "a|b & c_d\n% \\x", 0, {1: {"a": 0.9}})
    rows = summarise(read_records(study))
    assert r"a\|b" in table_text(rows, "markdown")
    assert r"a|b \& c\_d \% \textbackslash{}x" in table_text(rows, "latex")
    assert [len(table.splitlines()) for table in table_text(rows, "text").split("\n\n")] == [4, 4]


@pytest.mark.parametrize("name", ["[1mm]", "*"])
def test_latex_takes_no_name_for_an_argument(name):
    table = TextTable("", ["Method"], [[Cell("dice")], [Cell(name)]])
    assert f"dice \\\\\n{{}}{name} \\\\\n" in lay_out(table, "latex")
    assert f"\\item {{}}{name}\n" in bullets([name], "latex")


def test_table_csv_holds_every_choice(study):
    make_run(study, "dice", 0, {1: {"a": 0.9}})
    write_table(study)
    with (study / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["epoch"] for row in rows} == {"last", "best", "optimistic"}
    assert float(rows[0]["mean"]) == 0.9 and rows[0]["std"] == ""


def test_mistakes_are_explained(study, tmp_path):
    with pytest.raises(UserError, match="last, best, optimistic"):
        summarise([], "first")
    with pytest.raises(UserError, match="text, markdown"):
        table_text([], "html")
    with pytest.raises(UserError, match="holds no study"):
        read_records(tmp_path / "nowhere")
