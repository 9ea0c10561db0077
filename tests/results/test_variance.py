"""The split of a difference's variance, against published analyses of variance and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from spineloss.results.variance import split_variance, training_differences


def named(values, block=0):
    return {f"{block}-{number}": float(value) for number, value in enumerate(values)}


def test_one_way_components_of_a_published_example():
    # Calcium of turnip leaves (Snedecor and Cochran, Statistical Methods, 6th ed., section 10.12): four leaves,
    # four determinations each; the mean squares are 0.2961 and 0.0066, the component of leaves is 0.0724.
    leaves = [
        [3.28, 3.09, 3.03, 3.03],
        [3.52, 3.48, 3.38, 3.38],
        [2.88, 2.80, 2.81, 2.76],
        [3.34, 3.38, 3.23, 3.26],
    ]
    found = split_variance([named(leaf, number) for number, leaf in enumerate(leaves)])
    assert found.trainings**2 == pytest.approx(0.0724, abs=5e-5)
    assert found.cases**2 == pytest.approx(0.0066, abs=5e-5)
    # In balance the error of the mean is that between leaves: 0.2961 / 16.
    assert found.error**2 == pytest.approx(0.2961 / 16, rel=1e-3) and found.freedom == pytest.approx(3, abs=0.15)


def test_crossed_components_of_a_published_example():
    # Six targets by four judges (Shrout and Fleiss, Psychological Bulletin 86, 1979, Tables 2 and 3): mean squares
    # of targets 11.24, of judges 32.49, of the rest 1.02.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = split_variance([named(judge) for judge in np.array(ratings).T])
    assert found.trainings**2 == pytest.approx((32.49 - 1.02) / 6, rel=2e-3)
    assert found.cases**2 == pytest.approx((11.24 - 1.02) / 4 + 1.02, rel=2e-3)
    expected = (32.49 - 1.02) / 6 / 4 + (11.24 - 1.02) / 4 / 6 + 1.02 / 24
    assert found.error**2 == pytest.approx(expected, rel=2e-3)
    assert found.mean == pytest.approx(np.mean(ratings))


def test_of_one_training_it_is_the_paired_t_test():
    # As in Christodoulou et al. 2025: t_{n-1}(sqrt(n) (b - a) / sqrt(s_a² + s_b² - 2 r s_a s_b)).
    first, second = np.random.default_rng(3).normal(size=(2, 14)) + [[0.4], [0.0]]
    found = split_variance([named(first - second)])
    assert found.p_false == pytest.approx(stats.ttest_rel(first, second, alternative="greater").pvalue)
    assert math.isnan(found.trainings) and found.freedom == pytest.approx(13)


def leave_one_out(repeats):
    """Eight folds of one case each, whose trainings are nearly alike."""
    cases = np.random.default_rng(8).normal(0.02, 0.05, size=8)
    noise = 1e-4 * np.random.default_rng(9).normal(size=(8, repeats))
    differences = cases[:, None] + noise
    trainings = [named([value], fold) for fold, row in enumerate(differences) for value in row]
    return differences.mean(axis=1), split_variance(trainings)


@pytest.mark.parametrize("repeats", [1, 2])
def test_one_case_in_each_fold_is_the_paired_t_test(repeats):
    means, found = leave_one_out(repeats)
    assert found.error == pytest.approx(means.std(ddof=1) / math.sqrt(8), rel=1e-4)
    assert found.freedom == pytest.approx(7, rel=1e-3)
    assert found.p_false == pytest.approx(stats.ttest_1samp(means, 0).pvalue / 2, rel=1e-3)
    # One training of each case cannot tell its luck from the case.
    assert math.isnan(found.trainings) if repeats == 1 else 0 < found.trainings < 1e-3


def test_folds_of_one_case_beside_larger_ones():
    random = np.random.default_rng(6)
    found = []
    for _ in range(200):
        trainings = []
        for fold, size in enumerate([1, 1, 1, 1, 4, 4]):
            cases = 2 * random.normal(size=size)
            repeats = 2 + fold % 2
            trainings += [
                named(cases + random.normal() + 0.5 * random.normal(size=size), fold) for _ in range(repeats)
            ]
        found.append(split_variance(trainings))
    assert np.mean([each.trainings**2 for each in found]) == pytest.approx(1, rel=0.2)
    assert np.mean([each.cases**2 for each in found]) == pytest.approx(4.25, rel=0.1)
    assert np.mean([each.error**2 for each in found]) == pytest.approx(
        np.var([each.mean for each in found]), rel=0.3
    )


def test_simulated_components_are_found():
    random = np.random.default_rng(5)
    found = []
    for _ in range(200):
        trainings = []
        for fold in range(3):
            cases = 2 * random.normal(size=12)
            trainings += [named(cases + random.normal() + 0.5 * random.normal(size=12), fold) for _ in range(3)]
        found.append(split_variance(trainings))
    assert np.mean([each.trainings**2 for each in found]) == pytest.approx(1, rel=0.1)
    assert np.mean([each.cases**2 for each in found]) == pytest.approx(4.25, rel=0.1)
    # Nothing differs, so the sign is called sure at 5 % in a tenth of the studies, both signs together.
    sure = sum(each.p_false < 0.05 for each in found)
    low, high = stats.binom.interval(0.999, 200, 0.1)
    assert low <= sure <= high


def test_differences_are_paired_within_the_training():
    trainings = [{"a": {"1": 3.0, "2": math.inf}, "b": {"1": 1.0, "2": 1.0}}, {"a": {"3": 1.0}, "b": {}}]
    assert training_differences(trainings, "a", "b") == [{"1": 2.0}]


def test_a_case_that_one_repeat_lacks_is_no_other_fold():
    random = np.random.default_rng(0)
    whole = [{f"{case}": float(random.normal()) for case in range(30)} for _ in range(4)]
    lacking = [*({case: value for case, value in each.items() if case != "7"} for each in whole[:3]), whole[3]]
    without = [{case: value for case, value in each.items() if case != "7"} for each in whole]
    assert split_variance(lacking) == split_variance(without)


def test_nothing_to_split():
    assert split_variance([]) is None
    assert split_variance([{"1": 0.0, "2": 0.0}]) is None
    assert split_variance([{"1": 0.5}]) is None
