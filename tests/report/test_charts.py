"""The report's charts: what they count, and what they say of it."""

import numpy as np
import pytest

from report.test_page import keep, rescore
from spineloss.report import charts
from spineloss.report.content import read_content
from spineloss.results.ranking import rank
from spineloss.results.study_folder import read_folds, write_folds


@pytest.fixture
def content(study):
    """Two folds: in the first two cases are of one patient, in the second one case is missed."""
    keep(study, {"dice": (0, 1)})
    folds = read_folds(study)
    (first, second, third), (missed, *_) = folds["folds"]
    write_folds(study, folds | {"groups": {first: "one", second: "one"}})

    def change(row):
        if row["case"] == missed:
            return {"recall": 0, "precision": "", "hd95": ""}
        value = {first: 0.2, second: 0.4, third: 0.9}.get(row["case"], 0.5)
        return dict.fromkeys(("recall", "precision", "hd95"), value)

    rescore(study, change)
    return read_content(study)


def test_a_row_of_cases_has_the_tables_mean_and_says_what_was_missed(content):
    figure = charts.distributions(content, "hd95")
    (axes,) = figure.axes
    assert axes.get_yticklabels()[0].get_text() == "dice† (1 missed)"
    assert "† cases without a point" in figure.get_supxlabel()
    # Patients have 0.3 and 0.9 in the first fold, 0.5 in the second.
    assert content.table[0].scores["hd95"].value == pytest.approx(0.55)
    assert axes.lines[-1].get_xdata() == pytest.approx(0.55)


def test_curves_are_over_patients_with_a_ring_where_a_structure_was_missed(content):
    figure = charts.curves(content, "hd95")
    mean, ring = figure.axes[0].lines
    assert np.transpose(mean.get_data()) == pytest.approx(np.array([[1, 0.55], [2, 0.55]]))
    assert ring.get_xdata().tolist() == [1, 2] and "ring" in figure.get_supxlabel()
    recall = charts.curves(content, "recall")
    assert len(recall.axes[0].lines) == 1 and not recall.get_supxlabel()


def test_precision_and_recall_are_those_of_runs_and_of_the_table(content):
    figure = charts.precision_recall(content)
    runs, mean = (np.transpose(line.get_data()) for line in figure.axes[0].lines)
    assert runs == pytest.approx(np.array([[60, 60], [100 / 3, 50]]))
    assert mean == pytest.approx(np.array([[140 / 3, 55]]))
    assert figure.legends[0].get_texts()[0].get_text() == "dice† (1 missed)"
    assert "† missed structures" in figure.get_supxlabel()


def test_ranks_say_whether_patients_or_cases_were_ranked():
    values = {"a": {"1": 0.8, "2": 0.9}, "b": {"1": 0.7, "2": 0.6}}
    ranking = rank(values, higher_is_better=True, resamples=9)
    figure = charts.ranks(ranking, "dice", "patients")
    assert "Mean rank by Dice over 2 patients; critical" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("intensities", [range(256), [0, 1], [0, 0, 1, 1], range(101)])
def test_bins_hold_the_highest_whole_intensity(intensities):
    volume = np.array(intensities, dtype=np.float32)
    counts, edges = np.histogram(volume, charts._edges([volume]))
    assert counts.sum() == volume.size and volume.max() < edges[-1] < volume.max() + edges[1] - edges[0]


def test_labels_are_drawn_letter_by_letter():
    figure = charts.labels({"case": {r"$\foo$": 0.4, "1": 0.6}})
    figure.canvas.draw()
    assert figure.axes[0].get_xticklabels()[0].get_text() == r"\$\foo\$"
