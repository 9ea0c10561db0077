import pytest

from spineloss.results.learning_rates import Candidate, Choice
from spineloss.results.rate_ranges import open_ends_in_words, rate_ranges


def choice(method, fold, scores):
    candidates = [Candidate(rate, dice, 1.0, None) for rate, dice in scores.items()]
    return Choice(method, fold, 0.01, 1.0, candidates)


def test_the_safe_range_is_around_the_best_mean_over_folds():
    wide = [
        {0.001: 0.700, 0.003: 0.795, 0.01: 0.80, 0.03: 0.791},
        {0.001: 0.70, 0.003: 0.795, 0.01: 0.80, 0.03: 0.791},
    ]
    narrow = {0.001: 0.80, 0.003: 0.70, 0.01: 0.795, 0.03: 0.5}
    choices = [choice("wide", fold, scores) for fold, scores in enumerate(wide)]
    first, second = rate_ranges([*choices, choice("narrow", 0, narrow)])
    assert (first.method, first.best, first.low, first.high) == ("wide", 0.01, 0.003, 0.03)
    assert first.dice[0.003] == pytest.approx(0.795) and first.open_end == ""
    # 0.01 is within a point, but not around the best.
    assert (second.best, second.low, second.high, second.open_end) == (0.001, 0.001, 0.001, "lower")
    assert open_ends_in_words([first, second]) == [
        "best at the lowest rate tried, so a lower one may be better: narrow"
    ]


def test_rates_that_failed_somewhere_are_left_out():
    choices = [
        choice("m", 0, {0.001: 0.7, 0.01: None, 0.1: 0.8, 0.3: None}),
        choice("m", 1, {0.0001: None, 0.001: 0.8, 0.01: 0.9, 0.1: 0.7}),
    ]
    (found,) = rate_ranges(choices)
    assert found.open_end == ""  # lower and higher ones failed
    assert list(found.dice) == [0.001, 0.1] and found.dice == pytest.approx({0.001: 0.75, 0.1: 0.75})


def test_without_a_choice_there_is_no_range():
    assert rate_ranges([choice("m", 0, {})]) == [] and open_ends_in_words([]) == []
