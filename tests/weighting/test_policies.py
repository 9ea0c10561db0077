import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from spineloss.errors import UserError
from spineloss.weighting import (
    POLICIES,
    CoefficientOfVariation,
    Rebalance,
    Shuffled,
    SoftAdapt,
    Static,
    parse_weighting,
)
from spineloss.weighting.softadapt import forward_difference

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "weighting.json").read_text())
# One sequence of three losses, for the authors' codes and for ours.
LOSSES = RECORDED["losses"]
NAMES = list(LOSSES)
STEPS = [dict(zip(NAMES, values, strict=True)) for values in zip(*LOSSES.values(), strict=True)]
EVERY = [
    Static(),
    Rebalance(steps=10, start=0.01, end=0.5),
    *(SoftAdapt(variant=variant) for variant in ("original", "loss_weighted", "normalised")),
    SoftAdapt(beta=-2.0, order=3, window=5, every=2, minimum=0.1),
    CoefficientOfVariation(),
    CoefficientOfVariation(decay=0.9, minimum=0.05),
    Shuffled([{"dice": 0.1 * k, "boundary": 1 - 0.1 * k, "cross_entropy": 0.0} for k in range(9)], (21, 0)),
]


def weights_of(policy, steps=STEPS, prior=None):
    """The weights of every step, in the order of the terms."""
    state, rows = policy.init(list(steps[0]), prior), []
    for values in steps:
        weights, state = policy.update(state, values)
        rows.append(list(weights.values()))
    return rows


@pytest.mark.parametrize("variant", ["original", "loss_weighted"])
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_softadapt_agrees_with_the_authors_package(order, variant):
    """Package softadapt 0.2.0 in double precision: `get_component_weights` of the last order + 1 values."""
    policy = SoftAdapt(beta=0.1 if order == 1 else 0.5, variant=variant, order=order, window=order + 1)
    weights = weights_of(policy)
    found = [weights[step] for step in (order, 9, 13)]
    # The package adds 1e-7 to its denominators.
    np.testing.assert_allclose(found, RECORDED["softadapt"][f"{order} {variant}"], atol=1e-6)


def test_normalised_softadapt_agrees_where_the_package_divides_by_the_same_sum():
    rising = [{"a": 0.2, "b": 0.5, "c": 1.0}, {"a": 0.3, "b": 0.9, "c": 1.05}]
    policy = SoftAdapt(beta=0.5, variant="normalised")
    np.testing.assert_allclose(weights_of(policy, rising)[1], [0.30589411, 0.40180475, 0.2923011], atol=1e-6)
    # All fall from step 1 to 2: there the package's sum is negative, as if beta were.
    falling = weights_of(SoftAdapt(beta=-0.5, variant="normalised"))[2]
    np.testing.assert_allclose(falling, [0.28270826, 0.43423189, 0.28305981], atol=1e-6)


@pytest.mark.parametrize(("mean", "decay"), [("full", None), ("decay 0.9", 0.9)])
def test_cov_agrees_with_the_authors_code(mean, decay):
    """rickgroen/cov-weighting at 64c2966, losses/covweighting_loss.py, in double precision."""
    np.testing.assert_allclose(weights_of(CoefficientOfVariation(decay=decay)), RECORDED["cov"][mean], atol=2e-8)


def test_cov_without_decay_is_the_deviation_over_the_mean_of_all_ratios():
    values = np.array([list(step.values()) for step in STEPS[:-1]])
    means = np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, None]
    ratios = values / np.concatenate([values[:1], means[:-1]])
    variation = ratios.std(axis=0) / ratios.mean(axis=0)
    np.testing.assert_allclose(
        weights_of(CoefficientOfVariation())[-1], variation / variation.sum(), atol=1e-5
    )  # Welford's deviation, with 1e-8 added to the variance


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_a_difference_of_an_order_is_exact_for_polynomials_up_to_it(order):
    for power in range(order + 1):
        points = (np.arange(order + 1) + 2.0) ** power
        slope = np.dot(forward_difference(order), points)
        assert slope == pytest.approx(power * 2.0 ** (power - 1) if power else 0, abs=1e-9)


def test_softadapt_by_epoch_is_softadapt_of_the_epochs_means():
    by_epoch = weights_of(SoftAdapt(beta=1.0, every=2))
    pairs = list(zip(STEPS[::2], STEPS[1::2], strict=True))
    means = [{name: (a[name] + b[name]) / 2 for name in NAMES} for a, b in pairs]
    of_means = weights_of(SoftAdapt(beta=1.0), means)
    np.testing.assert_allclose(by_epoch[1::2], of_means, atol=1e-12)
    # Between two epochs' ends the weights stay.
    assert by_epoch[2::2] == by_epoch[1:-1:2]


def test_rebalance_is_a_line_that_never_passes_its_end():
    steps = [{"dice": 0.5, "boundary": 1.0}] * 7
    weights = weights_of(Rebalance(steps=5, start=0.1, end=0.9), steps)
    np.testing.assert_allclose(weights, [(0.9, 0.1), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7)] + 3 * [(0.1, 0.9)])
    assert weights_of(Rebalance(steps=1), steps[:2]) == [[0.99, 0.01], pytest.approx([0.01, 0.99])]


def test_rebalance_of_three_shares_the_rest_by_the_priors():
    weights = weights_of(Rebalance(steps=2, start=0.2, end=0.6), STEPS[:2], prior=[3.0, 1.0, 7.0])
    np.testing.assert_allclose(weights, [(0.6, 0.2, 0.2), (0.3, 0.1, 0.6)])


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: str(policy)[:60])
def test_what_holds_of_every_policy(policy):
    state, seen = policy.init(NAMES), []
    for values in STEPS:
        kept = json.dumps(state)
        weights, after = policy.update(state, values)
        assert json.dumps(state) == kept, "update changed the state it was given"
        assert min(weights.values()) >= 0 and list(weights) == NAMES
        seen.append(weights)
        # A saved state is plain data, and goes on as if it had not been saved.
        state = json.loads(json.dumps(after))
    assert weights_of(policy) == [list(weights.values()) for weights in seen]
    if not isinstance(policy, Static):
        np.testing.assert_allclose([sum(weights.values()) for weights in seen], 1)


@pytest.mark.parametrize("policy", [p for p in EVERY if getattr(p, "minimum", 0)], ids=str)
def test_no_weight_is_below_the_minimum(policy):
    assert min(itertools.chain(*weights_of(policy))) >= policy.minimum


@pytest.mark.parametrize("policy", [SoftAdapt(), CoefficientOfVariation()], ids=str)
def test_a_prior_multiplies_what_the_policy_finds(policy):
    prior = np.array([1.0, 3.0, 0.0])
    found = np.array(weights_of(policy)) * prior
    expected = found / found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights_of(policy, prior=prior), expected, atol=1e-12)


@pytest.mark.parametrize("policy", EVERY[1:-1], ids=str)
@pytest.mark.parametrize("value", [0.0, -1.0, 1e30])
def test_weights_stay_finite_and_not_negative(policy, value):
    steps = [step | {"boundary": value * (1 + k % 2)} for k, step in enumerate(STEPS)]
    weights = np.array(weights_of(policy, steps))
    assert np.isfinite(weights).all() and (weights >= 0).all()


def test_shuffled_weights_are_the_same_weights_in_another_order():
    rows = [{"a": k / 10, "b": 1 - k / 10} for k in range(10)]
    steps = [{"a": 1.0, "b": 1.0}] * 10
    shuffled = weights_of(Shuffled(rows, (21, 0)), steps)
    assert sorted(shuffled) == [list(row.values()) for row in rows] != shuffled
    assert weights_of(Shuffled(rows, (21, 0)), steps) == shuffled != weights_of(Shuffled(rows, (21, 1)), steps)


@pytest.mark.parametrize("policy", EVERY[:-1], ids=str)
def test_a_text_is_read_back(policy):
    assert parse_weighting(str(policy), epoch=7, run=70) == policy


def test_a_text_names_steps_by_the_run():
    assert parse_weighting("rebalance", epoch=7, run=70) == Rebalance(steps=70)
    assert parse_weighting("rebalance(start=0.1, end=0.5, steps=epoch)", epoch=7, run=70) == Rebalance(7, 0.1, 0.5)
    assert parse_weighting("softadapt(every=epoch, beta=1)", epoch=7, run=70) == SoftAdapt(beta=1, every=7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rebalanse", "there is no weighting 'rebalanse'; the nearest known one is 'rebalance'"),
        ("rebalance(strat=1)", "the nearest known one is 'start'"),
        ("rebalance(end=1.5)", "end=1.5 is out of range; it must be in [0, 1]"),
        ("rebalance(steps=week)", "steps=week is not a number"),
        ("softadapt(order=1.5)", "it must be whole, at least 1"),
        ("softadapt(variant=best)", "it is original, loss_weighted, normalised"),
        ("cov(decay=2)", "decay=2 is out of range"),
        ("cov + cov", "the end is expected before '+'"),
        ("", "a word is expected"),
    ],
)
def test_a_mistake_is_told(text, told):
    with pytest.raises(UserError) as error:
        parse_weighting(text, epoch=1, run=1)
    assert told in str(error.value)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("prior", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, math.inf]])
def test_priors_that_do_not_fit_are_refused(name, prior):
    with pytest.raises(UserError, match="needs a weight of at least 0 for each of a, b"):
        parse_weighting(name, epoch=1, run=1).init(["a", "b"], prior)


def test_what_cannot_be_weighed_is_refused():
    for names in (["a"], ["a", "a"]):
        with pytest.raises(UserError, match="two or more terms of different names"):
            Static().init(names)
    with pytest.raises(UserError, match="3 weights that sum to 1 can all be at least 0.333333"):
        CoefficientOfVariation(minimum=0.5).init(["a", "b", "c"])


LOOKING_BACK = [CoefficientOfVariation(), SoftAdapt(beta=1.0), SoftAdapt(variant="loss_weighted")]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e300])
@pytest.mark.parametrize("policy", LOOKING_BACK, ids=str)
def test_a_value_that_is_not_finite_is_forgotten(policy, bad):
    """The steps after it have the weights that they have without it."""
    values = [{"a": 1.0 + 0.3 * step, "b": 2.0 - 0.2 * step} for step in range(6)]
    state = other = policy.init(["a", "b"])
    for step, each in enumerate(values):
        if step in (0, 3):
            weights, other = policy.update(other, each | {"a": bad})
            assert math.isclose(sum(weights.values()), 1)
        expected, state = policy.update(state, each)
        weights, other = policy.update(other, each)
        assert weights == expected


@pytest.mark.parametrize("variant", ["original", "loss_weighted"])
def test_a_term_that_counts_for_nothing_takes_no_weight_however_fast_it_grows(variant):
    policy = SoftAdapt(beta=1.0, variant=variant)
    state = policy.init(["a", "b"], [1.0, 0.0])
    for values in ({"a": 0.5, "b": 0.0}, {"a": 0.5, "b": 800.0}):
        weights, state = policy.update(state, values)
    assert weights == {"a": 1.0, "b": 0.0}
