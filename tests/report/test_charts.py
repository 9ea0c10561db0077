"""The report's charts: what they count, and what they say of it."""

from spineloss.report import charts
from spineloss.results.ranking import rank


def test_ranks_say_whether_patients_or_cases_were_ranked():
    values = {"a": {"1": 0.8, "2": 0.9}, "b": {"1": 0.7, "2": 0.6}}
    ranking = rank(values, higher_is_better=True, resamples=9)
    figure = charts.ranks(ranking, "dice", "patients")
    assert "Mean rank by Dice over 2 patients; critical" in figure.axes[0].get_xlabel()
