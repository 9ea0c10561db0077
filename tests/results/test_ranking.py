import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from results.demsar import DEMSAR, by_case
from spineloss.results.ranking import critical_difference, group_letters, indistinct_groups, rank, rank_chances

# Demšar's ranks of the same table; at "voting" he breaks a tie by digits that he does not print.
RANKS = {
    "C4.5": [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
    "C4.5+m": [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
    "C4.5+cf": [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
    "C4.5+m+cf": [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
}


def test_published_mean_ranks_and_critical_difference():
    found = rank(by_case(RANKS), higher_is_better=False, resamples=99)
    expected = {"C4.5+m+cf": 1.964, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5": 3.143}
    assert found.mean_ranks == pytest.approx(expected, abs=5e-4)
    assert list(found.mean_ranks) == list(expected)
    # "the critical difference is 1.25": even best and worst are closer, so Nemenyi's test tells nothing apart.
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.groups == [list(expected)]
    # The published chi-square, 9.28, without its correction for ties: 1 - (3 * 6 + 60) / (14 * 60).
    assert found.friedman_p == pytest.approx(stats.chi2.sf(9.28 / (1 - 78 / 840), 3), rel=5e-3)


def test_agrees_with_autorank():
    # autorank 1.1.3 on the table itself.
    found = rank(by_case(DEMSAR), higher_is_better=True, resamples=99)
    assert found.critical_difference == pytest.approx(1.253551, abs=1e-5)
    assert found.friedman_p == pytest.approx(0.0119861763, abs=1e-9)
    expected = {"C4.5": 3.142857, "C4.5+cf": 2.928571, "C4.5+m": 2.0, "C4.5+m+cf": 1.928571}
    assert found.mean_ranks == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("methods", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_published_critical_values(methods, q):
    # Demšar's Table 5a; with n = k (k + 1) / 6 cases the root is 1.
    assert critical_difference(methods, methods * (methods + 1) / 6) == pytest.approx(q, abs=1e-3)


def test_groups_are_the_longest_runs():
    ranks = {"a": 1.0, "b": 1.5, "c": 3.0, "d": 3.4, "e": 9.0}
    assert indistinct_groups(ranks, 2.0) == [["a", "b", "c"], ["b", "c", "d"], ["e"]]
    assert indistinct_groups(ranks, 10) == [list(ranks)]


def test_groups_beyond_the_alphabet_have_numbers():
    ranks = {f"m{index}": float(index) for index in range(60)}
    values = by_case({method: [rank, rank] for method, rank in ranks.items()})
    found = replace(rank(values, higher_is_better=False, resamples=9), groups=indistinct_groups(ranks, 1))
    letters = group_letters(found)
    assert (letters["m0"], letters["m1"], letters["m52"], letters["m59"]) == ("a", "ab", "Z(53)", "(59)")


def test_rank_chances_by_hand():
    # Two cases drawn: both 0 (1/4), both 1 (1/4), or one of each (1/2); then the means are 1.5 and 1.
    chances = rank_chances(np.array([[0.0, 1.0], [3.0, 1.0]]), resamples=40_000)
    assert chances == pytest.approx(np.array([[0.25, 0.75], [0.75, 0.25]]), abs=0.01)
    assert rank_chances(np.array([[1.0, 1.0], [2.0, 2.0]])).tolist() == [[1, 0], [1, 0]]


def test_only_cases_with_a_value_of_every_method_are_ranked():
    values = {
        "a": {"1": 1.0, "2": 2.0, "3": 3.0, "4": math.nan},
        "b": {"1": 2.0, "2": 1.0, "3": 4.0, "4": 1.0},
        "empty": dict.fromkeys("1234", math.nan),
    }
    found = rank(values, higher_is_better=True, resamples=99)
    assert (found.cases, found.left_out) == (3, 1)
    assert found.mean_ranks == {"b": pytest.approx(4 / 3), "a": pytest.approx(5 / 3)}
    # Friedman's test is for three methods or more.
    assert math.isnan(found.friedman_p)
    assert rank({"a": values["a"], "empty": values["empty"]}, higher_is_better=True) is None
    assert rank(by_case({"a": [1, 1], "b": [1, 1], "c": [1, 1]}), higher_is_better=True).friedman_p == 1
