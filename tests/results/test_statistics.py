import math

import numpy as np
import pytest
from scipy import stats

from results.demsar import DEMSAR, by_case
from spineloss.errors import UserError
from spineloss.results.sample_size import cases_needed, more_cases, positive_share
from spineloss.results.statistics import (
    best_method,
    bootstrap_interval,
    compare,
    equivalence_p,
    holm,
    rank_biserial,
)


def against(differences, **options):
    """Compare a method with a reference from which it differs by these."""
    options = {"higher_is_better": True, "resamples": 99} | options
    values = by_case({"method": differences, "reference": np.zeros(len(differences))})
    return compare(values, "reference", **options).contrasts["method"]


def test_agrees_with_other_libraries():
    scores = np.random.default_rng(0).normal(size=(3, 20)) + [[1.2], [0.5], [0.0]]
    values = by_case({f"m{index}": row for index, row in enumerate(scores)})
    found = compare(values, "m0", higher_is_better=True, picked=True, resamples=99).contrasts
    # posthoc_wilcoxon(p_adjust="holm") of scikit-posthocs 0.17.1 on these scores; all three pairs are corrected.
    expected = {"m1": 0.19461441040039062, "m2": 0.10870170593261719}
    assert {method: pair.p_holm for method, pair in found.items()} == pytest.approx(expected)


def test_rank_biserial_of_the_published_example():
    # Demšar's Table 2: W- is 6.5 and W+ 71.5 of 78, once the two data sets without a difference are left out.
    differences = np.array(DEMSAR["C4.5+m"]) - np.array(DEMSAR["C4.5"])
    assert rank_biserial(differences) == pytest.approx((71.5 - 6.5) / 78)


def test_holm_by_hand():
    # Smallest first: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04 must not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_smallest_samples_by_hand():
    # Of 2^n signs, two are as extreme as all alike.
    assert against([1, 2, 3, 4, 5]).p == pytest.approx(2 / 2**5)
    assert against([1, 2, 3, 4, 5]).verdict == "undecided"
    assert against([1, 2, 3, 4, 5, 6]).p == pytest.approx(2 / 2**6)
    assert against([1, 2, 3, 4, 5, 6]).verdict == "better"


def test_lower_is_better_turns_the_verdict_and_not_the_numbers():
    up, down = (against([1, 2, 3, 4, 5, 6], higher_is_better=higher) for higher in (True, False))
    assert (up.verdict, down.verdict) == ("better", "worse")
    assert up.effect == down.effect == 1 and up.median == down.median == 3.5 and up.mean == 3.5


def test_equivalence_is_two_one_sided_tests():
    differences = np.array([0.1, -0.2, 0.3, -0.4, 0.5, 0.05])
    # Every case is within the margin, so each one-sided test has its smallest p, 1 / 2^n.
    assert equivalence_p(differences, margin=1.0) == pytest.approx(1 / 2**6)
    assert against(differences, margin=1.0).verdict == "equivalent"
    assert against(differences, margin=0.2).verdict == "undecided"
    # A difference that is sure, and smaller than what matters.
    assert against([0.11, 0.12, 0.13, 0.14, 0.15, 0.16], margin=1.0).verdict == "equivalent"
    assert against([0.11, 0.12, 0.13, 0.14, 0.15, 0.16]).verdict == "better"


def test_identical_methods():
    pair = against([0, 0, 0, 0, 0, 0])
    assert (pair.p, pair.effect, pair.mean, pair.verdict) == (1, 0, 0, "undecided")
    assert math.isinf(pair.more_cases) and (pair.interval.low, pair.interval.high) == (0, 0)
    assert against([0, 0, 0, 0, 0, 0], margin=0.1).verdict == "equivalent"


def test_cases_needed_by_hand():
    # (1.95996 + 0.84162)^2 / (3 * 0.2^2) = 7.8489 / 0.12 = 65.4
    assert cases_needed(0.7, 0.025) == cases_needed(0.3, 0.025) == 66
    assert math.isinf(cases_needed(0.5, 0.025))
    # Sums of two of 3, 1, -2: 4, 1, -1; a tie counts half: 1, -1 and 2 give 0, 3, 1.
    assert positive_share(np.array([3.0, 1.0, -2.0])) == pytest.approx(2 / 3)
    assert positive_share(np.array([1.0, -1.0, 2.0])) == pytest.approx(2.5 / 3)
    # All of 5 cases higher: a share of 1, so 7.8489 / 0.75 = 10.5 cases, of which 5 are there.
    assert more_cases(np.arange(1.0, 6.0), 0.05) == 11 - 5


def test_rounding_breaks_no_tie():
    # Thirds, as of counts over three labels: 1 - 2/3 is above 2/3 - 1/3 in the last digit.
    values = by_case({"a": [1.0, 1 / 3] * 12, "b": [2 / 3, 2 / 3] * 12})
    pair = compare(values, "b", higher_is_better=False, resamples=99).contrasts["a"]
    assert (pair.p, pair.effect, pair.mean) == (1, 0, 0)
    whole, tenths = np.array([1, -5, 3, 2]), np.array([0.1, -0.5, 0.3, 0.2])
    assert equivalence_p(tenths, 0.2) == equivalence_p(whole, 2)


def test_a_margin_offers_a_second_way_to_decide():
    differences = np.array([1.5, -1.4, 0.3, -0.2, 0.9, -1.0])
    assert more_cases(differences, 0.05, (1.0, 0.05)) < more_cases(differences, 0.05)


def test_a_question_that_is_left_to_one_pair_has_the_level_of_one():
    changes = np.tile([0.02, -0.02, 0.01, -0.01], 3)
    unsure = np.tile([1.4, -1.3, 1.6, -1.5], 3)
    methods = {f"m{index}": changes * (1 + index / 10) for index in range(9)} | {"unsure": unsure}
    values = by_case(methods | {"reference": np.zeros(12)})
    found = compare(values, "reference", higher_is_better=True, margin=1.0, resamples=19).contrasts
    assert [pair.verdict for pair in found.values()] == ["equivalent"] * 9 + ["undecided"]
    assert found["unsure"].more_cases == more_cases(unsure, 0.05 / 10, (1.0, 0.05))


def test_undefined_pairs_are_left_out_and_counted():
    values = {
        "a": {"1": 1.0, "2": 2.0, "3": math.nan, "4": 4.0},
        "b": {"1": 0.5, "2": math.nan, "3": 1.0},
        "empty": dict.fromkeys("1234", math.nan),
    }
    found = compare(values, "a", higher_is_better=True, resamples=99)
    assert (found.contrasts["b"].cases, found.contrasts["b"].left_out, found.contrasts["b"].mean) == (1, 3, -0.5)
    assert (found.levels["b"].cases, found.levels["b"].undefined) == (2, 1)
    empty = found.contrasts["empty"]
    assert (empty.cases, empty.p, empty.verdict) == (0, 1, "undecided") and math.isnan(empty.mean)
    # Only case 1 has both, so there b cannot gain by the cases it lacks.
    assert best_method(values, higher_is_better=True) == "a" and best_method(values, higher_is_better=False) == "b"


def test_a_missed_structure_is_the_worst_by_rank():
    # b missed the structure in cases 5 and 6, and is otherwise nearer by 1 mm.
    values = by_case({"a": [5, 6, 7, 8, 9, 10], "b": [4, 4.5, 5.5, 6.5, math.inf, math.inf]})
    found = compare(values, "a", higher_is_better=False, resamples=99)
    contrast = found.contrasts["b"]
    # Ranks of -1, -1.5, -1.5, -1.5, inf, inf: 1, 3, 3, 3, 5.5, 5.5, so W+ is 11 and W- 10 of 21.
    assert contrast.effect == pytest.approx(1 / 21)
    assert (contrast.cases, contrast.missed, contrast.left_out) == (6, 2, 0)
    assert contrast.mean == pytest.approx(-1.375) and contrast.median == -1.5
    assert (found.levels["b"].cases, found.levels["b"].undefined, found.levels["b"].missed) == (4, 2, 2)
    assert contrast.p == pytest.approx(stats.wilcoxon([-1, -1.5, -1.5, -1.5, 9, 9]).pvalue)


def test_who_misses_structures_is_not_picked():
    values = by_case(
        {"finds": [9.0] * 6, "misses": [1.0] * 5 + [math.inf], "misses more": [1.0] * 4 + [math.inf] * 2}
    )
    assert best_method(values, higher_is_better=False) == "finds"
    del values["finds"]
    assert best_method(values, higher_is_better=False) == "misses"


def test_structures_that_both_missed_are_a_tie():
    values = by_case({"a": [math.inf] * 3, "b": [math.inf] * 2 + [2.0]})
    contrast = compare(values, "b", higher_is_better=False, resamples=99).contrasts["a"]
    assert (contrast.missed, contrast.effect, contrast.p) == (1, 1, 1)


def of_cases(values, fold):
    return {method: {case: cases[case] for case in cases if case in fold} for method, cases in values.items()}


def test_repeats_are_folds_that_show_the_luck_of_training():
    luck = [by_case({"a": np.linspace(1, 2, 9) + lucky, "b": np.zeros(9)}) for lucky in (-3.0, 2.0, 2.0)]
    values = by_case({"a": np.linspace(1, 2, 9) + 1 / 3, "b": np.zeros(9)})
    pair = compare(values, "b", higher_is_better=True, folds=luck, resamples=99).contrasts["a"]
    assert pair.verdict == "better" and pair.agreeing_folds == 2 and pair.training_may_explain


def test_mean_differences_of_the_folds():
    values = by_case({"a": [2, 2, 2, -1], "b": [0, 0, 0, 0]})
    folds = [of_cases(values, fold) for fold in ({"000", "001"}, {"002"}, {"003"}, {"other"})]
    pair = compare(values, "b", higher_is_better=True, folds=[*folds, {"a": values["a"]}]).contrasts["a"]
    assert pair.fold_means == (2, 2, -1) and pair.agreeing_folds == 2


def test_folds_that_differ_by_more_than_the_difference_are_explained():
    folds = [{f"{case:03}" for case in range(start, start + 8)} for start in (0, 8, 16)]
    noise = np.tile(np.linspace(-0.1, 0.1, 8), 3)
    reference = np.zeros(24)

    def may_explain(fold_means):
        values = by_case({"a": np.repeat(fold_means, 8) + noise, "b": reference})
        by_fold = [of_cases(values, fold) for fold in folds]
        pair = compare(values, "b", higher_is_better=True, folds=by_fold, resamples=99).contrasts["a"]
        expected = stats.kruskal(*np.split(np.repeat(fold_means, 8) + noise, 3)).pvalue
        assert pair.verdict == "better" and pair.folds_p == pytest.approx(expected)
        return pair.training_may_explain

    assert may_explain([0.5, 5.0, 0.5])  # one lucky training
    assert not may_explain([10.0, 11.0, 12.0])  # the folds differ, but by less than the methods
    assert not may_explain([1.0, 1.0, 1.0])


@pytest.mark.parametrize("lost", range(3))
def test_a_fold_in_which_all_is_missed_is_the_farthest(lost):
    folds = [{f"{case:03}" for case in range(start, start + 8)} for start in (0, 8, 16)]
    ahead = np.insert([-0.1, -0.1], lost, math.inf)
    values = by_case({"a": np.repeat(ahead, 8) + np.tile(np.linspace(-0.01, 0.01, 8), 3), "b": np.zeros(24)})
    by_fold = [of_cases(values, fold) for fold in folds]
    pair = compare(values, "b", higher_is_better=False, folds=by_fold, resamples=99).contrasts["a"]
    assert pair.fold_means[lost] == math.inf and pair.agreeing_folds == 2 and pair.training_may_explain


def test_mistakes_are_explained():
    values = by_case({"a": [1, 2], "b": [2, 3]})
    with pytest.raises(UserError, match="choose a, b"):
        compare(values, "c", higher_is_better=True)
    with pytest.raises(UserError, match="above 0"):
        compare(values, "a", higher_is_better=True, margin=0)
    with pytest.raises(UserError, match="name a reference"):
        best_method({"a": {"1": 1.0}, "b": {"2": 1.0}}, higher_is_better=True)


def simulate(seed, methods, cases, shift=0.0):
    """Scores whose spread is the cases' and, beside it, a method's own; `m0` is higher by the shift."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(1, cases)) + generator.normal(size=(methods, cases))
    scores[0] += shift
    return by_case({f"m{index}": row for index, row in enumerate(scores)})


def rejections(seeds, methods, cases, shift=0.0, picked=False):
    """In how many simulated studies any method is called better or worse."""
    count = 0
    for seed in seeds:
        values = simulate(seed, methods, cases, shift)
        reference = best_method(values, higher_is_better=True) if picked else "m1"
        found = compare(values, reference, higher_is_better=True, picked=picked, resamples=19)
        count += any(pair.verdict in ("better", "worse") for pair in found.contrasts.values())
    return count


def binomial_band(trials, probability):
    """What a count stays within but once in a thousand."""
    return stats.binom.interval(0.999, trials, probability)


@pytest.mark.filterwarnings("ignore::scipy.stats.DegenerateDataWarning")
def test_no_difference_is_found_at_the_nominal_rate():
    low, high = binomial_band(300, 0.05)
    assert low <= rejections(range(300), methods=2, cases=20) <= high
    # The family's rate is at most nominal, also against a reference picked as the best of these very data.
    assert rejections(range(100), methods=5, cases=20) <= binomial_band(100, 0.05)[1]
    assert rejections(range(100), methods=5, cases=20, picked=True) <= binomial_band(100, 0.05)[1]


@pytest.mark.filterwarnings("ignore::scipy.stats.DegenerateDataWarning")
def test_a_known_difference_is_found_with_the_power_planned():
    # Differences are normal with deviation sqrt 2, so two sum to above 0 with probability Phi(shift).
    cases = cases_needed(stats.norm.cdf(0.7), 0.025)
    low, _ = binomial_band(200, 0.8)
    # Noether's formula is known to be a little generous.
    assert low <= rejections(range(200), methods=2, cases=cases, shift=0.7) <= binomial_band(200, 0.9)[1]


def test_intervals_cover_the_true_mean():
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        found = bootstrap_interval(generator.gamma(4, size=30), resamples=999)
        covered += found.low <= 4 <= found.high
    # Bootstrap intervals of 30 skewed cases cover a little less than 95 %.
    assert binomial_band(300, 0.92)[0] <= covered <= binomial_band(300, 0.95)[1]
