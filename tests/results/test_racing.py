"""Who a race drops: known answers from SciPy's tests, and error rates where nothing differs."""

import numpy as np
import pytest
from scipy import stats

from spineloss.results.racing import RaceRound, Rules, look


def rounds_of(tables):
    """Rounds on other cases each, of (cases, methods) values."""
    return [
        RaceRound(
            tuple(f"m{method}" for method in range(table.shape[1])),
            tuple(f"{number}-{case}" for case in range(len(table))),
            table,
        )
        for number, table in enumerate(tables)
    ]


def test_without_luck_it_is_the_paired_t_test():
    generator = np.random.default_rng(1)
    own = generator.normal(size=(3, 20, 4))
    own -= own.mean(axis=1, keepdims=True)  # no round favours a method
    tables = generator.normal(size=(3, 20, 1)) + own + np.array([0, -0.6, -1.2, -3])
    seen = look(rounds_of(tables), Rules(level=0.9, margin=0))
    values = tables.reshape(60, 4)
    assert seen.leader == "m0" and seen.luck == pytest.approx(0, abs=1e-6) and seen.cases == 60
    assert seen.friedman_p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    for drop in seen.drops:
        found = stats.ttest_rel(values[:, int(drop.method[1])], values[:, 0], alternative="less")
        assert drop.difference / drop.error == pytest.approx(found.statistic)
        pairs = 4 * 3 if drop.reason == "worse" else 3
        assert drop.p == pytest.approx(min(pairs * found.pvalue, 1), rel=1e-3)
    assert {drop.method: drop.reason for drop in seen.drops}["m3"] == "worse"


def test_one_case_drops_nobody():
    assert look(rounds_of([np.array([[0.801, 0.8, 0.5]])]), Rules()).drops == ()


def test_a_margin_drops_who_is_not_better_by_it():
    generator = np.random.default_rng(2)
    tables = 0.1 * generator.normal(size=(2, 40, 6))
    assert look(rounds_of(tables), Rules(margin=0)).drops == ()
    drops = look(rounds_of(tables), Rules(margin=0.5)).drops
    assert {drop.reason for drop in drops} == {"not better by the margin"} and len(drops) == 5


@pytest.mark.parametrize("collapsed", [False, True])
def test_luck_is_found_and_a_collapsed_training_is_none(collapsed):
    luck = np.random.default_rng(3).normal(size=(4, 1, 40))
    tables = np.zeros((4, 5, 40)) + np.linspace(0, 9, 40) + luck
    tables[2, :, 7] -= 50 * collapsed
    assert look(rounds_of(tables), Rules()).luck == pytest.approx(1, abs=0.12)


def test_repeats_are_no_new_cases():
    generator = np.random.default_rng(4)
    (once,) = rounds_of(generator.normal(size=(1, 30, 5)))
    seen = look([once, once], Rules())
    assert seen.cases == 30 and seen.luck == pytest.approx(0)


def test_a_method_far_behind_is_dropped_after_the_first_round():
    generator = np.random.default_rng(5)
    values = generator.normal(size=(30, 10)) + 0.5 * generator.normal(size=10)
    values[:, 4] -= 40
    assert [drop.method for drop in look(rounds_of([values]), Rules(margin=0)).drops] == ["m4"]


@pytest.mark.parametrize("means", [[0.8, 0.79, 0, 0, 0], [0.8, 0.79, 0.785, 0, 0, 0, 0], [0.8, 0.79, *[0] * 8]])
def test_methods_that_collapse_alike_hide_no_luck(means):
    noise = 1e-4 * np.random.default_rng(7).normal(size=(30, 3))
    values = np.tile(means, (30, 1))
    values[:, :3] += np.where(values[:, :3] > 0, noise, 0)
    found = look(rounds_of([values]), Rules(margin=0.001))
    assert found.luck == pytest.approx(0.007, abs=0.002)
    assert not {"m0", "m1"} & {drop.method for drop in found.drops}


def test_most_methods_collapse_and_the_best_is_rarely_dropped():
    generator, dropped = np.random.default_rng(8), 0
    for _ in range(100):
        values = 85 + generator.normal(size=(20, 10)) + 0.5 * generator.normal(size=10)
        values[:, 4:] = 0
        dropped += "m0" in {drop.method for drop in look(rounds_of([values]), Rules(margin=0)).drops}
    assert dropped <= 2  # the first round may spend 2.5 %


def test_a_method_without_any_value_leaves_no_case():
    assert RaceRound.of({"a": {"1": 0.8}, "empty": {"1": np.nan}}).cases == ()


def race(generator, truth, margin):
    """The methods left after four rounds of 20 cases, each training with a luck of its own; and the leader."""
    left, tables = np.arange(len(truth)), []
    for _ in range(4):
        tables.append(
            generator.normal(size=(20, 1)) + generator.normal(size=(20, len(truth)))
            + 0.5 * generator.normal(size=len(truth)) + truth
        )  # fmt: skip
        seen = look(rounds_of([table[:, left] for table in tables]), Rules(margin=margin))
        leader = left[int(seen.leader[1:])]
        left = np.delete(left, [int(drop.method[1:]) for drop in seen.drops])
    return left, leader


def test_the_best_is_rarely_dropped():
    generator = np.random.default_rng(6)
    equal = [0 in race(generator, np.zeros(8), 0)[0] for _ in range(40)]
    assert sum(equal) >= 37  # of 40; 38 are expected at the nominal level
    ahead = [race(generator, np.array([1.5, *[0] * 7]), 1.5)[1] == 0 for _ in range(40)]
    assert sum(ahead) >= 37


def test_what_the_rounds_spend_adds_up_to_the_level():
    assert sum(Rules(0.05).share(number) for number in range(1, 10**4)) == pytest.approx(0.05, abs=1e-5)
