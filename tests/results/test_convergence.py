import math

import numpy as np
import pytest
from scipy import stats

from results.test_table import make_run
from spineloss.results.comparison import compare_study
from spineloss.results.comparison_table import comparison_text
from spineloss.results.convergence import converge, fit_line, mean_curve
from spineloss.results.records import Record, read_records
from spineloss.results.sentences import answer, convergence_words, curves_in_words


def record(method, curve, fold=0, losses=None):
    """A run with this validation Dice by epoch."""
    scores = {
        epoch: {("case", "all"): {"dice": value, "hd95": 10 * (1 - value)}} for epoch, value in curve.items()
    }
    return Record(method, 0, fold, scores, train_loss=losses or {})


def line(level, slope, epochs=30, wobble=0.0):
    """A curve that is at the level in the end; every other epoch is above it by the wobble, the others below."""
    return {e: level + slope * (e - epochs) + wobble * (-1) ** e for e in range(1, epochs + 1)}


def test_one_curve_is_fitted_as_by_scipy():
    random = np.random.default_rng(0)
    curve = {epoch: float(random.normal(0.7 + 0.002 * epoch, 0.01)) for epoch in range(2, 31, 2)}
    late = {epoch: value for epoch, value in curve.items() if epoch > 20}
    expected = stats.linregress(list(late), list(late.values()))
    found = fit_line([curve], 30)
    assert found.change == pytest.approx(10 * expected.slope)
    assert found.noise == pytest.approx(10 * expected.stderr)
    assert found.end == pytest.approx(expected.intercept + 30 * expected.slope)
    low, high = found.interval()
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, len(late) - 2) * found.noise)


def test_the_noise_of_several_runs_is_also_that_of_their_slopes():
    # Straight lines scatter around nothing; the standard error of slopes 1, 2 and 6 is sqrt(7 / 3).
    found = fit_line([line(0, slope) for slope in (1, 2, 6)], 30)
    assert found.change == pytest.approx(10 * 3) and found.noise == pytest.approx(10 * math.sqrt(7 / 3))


@pytest.mark.parametrize(
    ("curve", "state"),
    [
        (line(0.8, 0.002, wobble=0.001), "rising"),  # 2 points more, of 80
        (line(0.8, 0.0002, wobble=0.0005), "flat"),  # 0.2 points
        (line(0.8, -0.002, wobble=0.001), "falling"),
        (line(0.8, 0.0002, wobble=0.05), "unclear"),
        ({epoch: value for epoch, value in line(0.8, 0.1).items() if epoch % 15 == 0}, "unknown"),
    ],
)
def test_states(curve, state):
    records = [record("m", curve, fold) for fold in range(3)]
    assert converge(records, "dice").trends["m"].state == state
    # Distances, here 10 mm at a Dice of 0, get better when they fall.
    if state in ("rising", "falling"):
        assert converge(records, "hd95").trends["m"].state == state


def test_how_soon_and_what_the_loss_still_did():
    curve = {1: 0.4, 2: 0.7, 3: 0.77, 4: 0.79, 5: 0.8, 6: 0.8}
    losses = {1: 1.0, 2: 0.6, 3: 0.5, 4: 0.4, 5: 0.3, 6: 0.2, 7: 0.1, 8: 0.0, 9: -0.1}
    trend = converge([record("m", curve, losses=losses)], "dice").trends["m"]
    assert (trend.soon, trend.final) == (3, 0.8)  # 95 % of 0.8 is 0.76
    # Three epochs of 0.1 in the last third of a fall of 1.1; the runs of this record have 6 epochs, so two of 0.1.
    late = converge([record("m", line(0.8, 0, 9), losses=losses)], "dice").trends["m"]
    assert late.loss_share == pytest.approx(0.3 / 1.1) and late.loss_noise == pytest.approx(0, abs=1e-9)


def test_ranks_and_crossings():
    leader, late, far = line(0.80, 0.0), line(0.79, 0.002), line(0.5, 0.002)
    found = converge(
        [record(name, curve) for name, curve in (("leader", leader), ("late", late), ("far", far))], "dice"
    )
    # Another third brings the late one to 0.81, the far one to 0.52.
    assert found.crossing == [("leader", "late")] and not found.settled
    assert found.ranks[30] == {"leader": 1, "late": 2, "far": 3} and found.swapped == (0, 3)
    passed = converge([record("old", line(0.79, 0.0)), record("new", line(0.8, 0.002))], "dice")
    assert passed.crossing == [("new", "old")] and passed.swapped == (1, 1)


def test_no_winner_is_named_while_curves_rise(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    cases = [f"{case}" for case in range(12)]
    for order, (method, level, slope) in enumerate([("good", 0.8, 0.0), ("late", 0.7, 0.01)]):
        curve = line(level, slope, 12)
        scores = {e: {case: curve[e] - 0.001 * n for n, case in enumerate(cases)} for e in curve}
        make_run(tmp_path, method, 0, scores, order)
    results = compare_study(read_records(tmp_path))
    text = answer(results)
    assert text.startswith(
        "No winner yet: late was still getting better when training ended "
        "(+4.00 points of Dice over its last third)"
    )
    assert ". So far, by Dice, good has the best mean over 12 cases" in text
    assert "had training converged?" in comparison_text(results) and "+4.00 ± 0.00" in comparison_text(results)
    assert text.startswith(curves_in_words(results[0].convergence)[0][:-1])


def test_gains_of_many_methods_are_told_from_the_smallest_to_the_largest():
    gains = (2.3, 10.2, 3.0, 4.0, 5.0)
    found = converge([record(f"m{gain}", line(0.8, gain / 1000)) for gain in gains], "dice")
    assert "(+2.30 to +10.20 points of Dice" in convergence_words(found)


def test_with_too_few_validations_no_winner_is_named():
    found = converge([record(name, {5: 0.1, 10: 0.2}) for name in "ab"], "dice")
    assert not found.settled
    assert curves_in_words(converge([record("alone", {5: 0.1, 10: 0.2})], "dice")) == [
        "Whether training had converged is unknown, with too few validations in its last third."
    ]
    assert convergence_words(found).startswith(
        "whether training had converged is unknown, with too few validations"
    )


def test_curves_that_share_no_epoch():
    assert mean_curve([]) == {} and mean_curve([{1: 1.0}, {2: 1.0}]) == {}
    assert fit_line([{1: 1.0}], 30) is None
