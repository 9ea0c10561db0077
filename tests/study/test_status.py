"""How far a study is, as a terminal shows it."""

import io
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from spineloss.cli.status_view import run_table, view
from spineloss.cli.study_commands import _validation_line
from spineloss.metrics import METRICS
from spineloss.results.run_folder import EPOCH_COLUMNS
from spineloss.study.status import RunStatus, summary

ROWS = [
    RunStatus("[red]", 0, "done", None, 20, 20, 3.0, 0.25, 0.7949),
    RunStatus("dice", 0, "failed", "out of memory: lower `batch`", 5, 20, 4.0, 0.5, None),
    RunStatus("[red]", 1, "running", None, 10, 20, 3.0, 0.125, 0.5),
    RunStatus("dice", 1, "pending", None, 0, 20, None, None, None),
]


def shown(renderable, width=120):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_one_line_per_run():
    lines = shown(run_table(ROWS)).splitlines()
    done = next(line for line in lines if "20/20" in line)
    assert "[red]" in done and "0.2500" in done and "79.49" in done and "3.0" in done
    assert any("failed: out of memory" in line for line in lines)


def test_summary_by_hand():
    # 10 epochs of 3 s, and 20 of the pace of the same method's other fold, 4 s: 110 s.
    assert summary(ROWS) == "1 of 4 runs done, about 2 min of training left"
    assert summary(ROWS[3:]) == "0 of 1 runs done"
    # 10 epochs of 1 s; and of 1000 s, which is 2.8 h.
    for pace, left in ((1.0, "less than a minute"), (1000.0, "about 2.8 h")):
        assert summary([replace(ROWS[2], seconds_per_epoch=pace)]) == f"0 of 1 runs done, {left} of training left"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_view_shows_the_fold_at_work_and_all_progress(width):
    text = shown(view(ROWS, fold=1), width)
    assert "0.1250" in text and "20/20" not in text and "1 of 4 runs done" in text


def test_the_line_of_an_epoch_averages_labels_within_a_case_first():
    scores = {"a": (0.9, math.nan), "b": (0.5, 0.5)}
    rows = [
        {"case": case, **dict.fromkeys(METRICS, math.nan), "dice": dice}
        for case, values in scores.items()
        for dice in values
    ]
    epoch = dict.fromkeys(EPOCH_COLUMNS, 1) | {"validation": rows}
    event = SimpleNamespace(epoch=SimpleNamespace(plain=lambda: epoch, epoch=1), epochs=2)
    assert _validation_line("dice fold 0", event) == "dice fold 0: epoch 1/2, loss 1.0000, validation Dice 70.00"
