import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from results.test_table import MISSED, make_run, write_groups
from spineloss.errors import UserError
from spineloss.results.comparison import compare_study
from spineloss.results.comparison_export import challenger_csv
from spineloss.results.comparison_table import comparison_text
from spineloss.results.records import case_values, fill_missed, read_records

FORMATS = ("text", "markdown", "latex", "csv")


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for order, (method, loss) in enumerate({"good": 0.0, "bad": 0.2}.items()):
        for fold in range(2):
            scores = {
                f"{fold}-{case}": 0.9 - 0.01 * case - loss * (1 + 0.1 * case + 0.01 * fold) for case in range(6)
            }
            make_run(tmp_path, method, fold, {5: dict.fromkeys(scores, 0.95), 10: scores}, order)
    return tmp_path


def test_cases_of_all_folds_are_paired(study):
    (result,) = compare_study(read_records(study))
    pair = result.comparison.contrasts["bad"]
    assert result.comparison.reference == "good" and result.comparison.picked
    # 0.2 * (1 + 0.1 * 2.5), and 0.002 more in the second fold
    assert pair.cases == 12 and pair.fold_means == pytest.approx((-0.25, -0.252))
    # All of 12 cases are lower.
    assert pair.p_holm == pytest.approx(2 / 2**12) and pair.verdict == "worse"
    assert result.summaries["good"].mean == pytest.approx(0.875)


def test_choice_of_epoch(study):
    (result,) = compare_study(read_records(study), epoch="best")
    assert result.comparison.contrasts["bad"].mean == 0
    with pytest.raises(UserError, match="last or best"):
        compare_study(read_records(study), epoch="optimistic")


def test_metrics_in_their_order_with_margins_in_their_units(study):
    results = compare_study(read_records(study), ["hd95", "dice"], margins=[0.5, 50])
    assert [result.metric for result in results] == ["hd95", "dice"]
    # As a distance, lower is better; the deciding metric picks the reference of all.
    assert {result.comparison.reference for result in results} == {"bad"}
    assert [result.comparison.margin for result in results] == [0.5, 0.5]
    assert [result.comparison.contrasts["good"].verdict for result in results] == ["equivalent", "equivalent"]


def test_labels_are_averaged_within_the_case(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    make_run(
        tmp_path, "a", 0, {1: {"1": {"L": 0.4, "R": 0.8}, "2": {"L": 0.5, "R": math.nan}, "3": {"L": 0.5}}}, 0
    )
    make_run(tmp_path, "b", 0, {1: {"1": {"L": 0.2, "R": math.nan}, "2": {"L": 0.7, "R": math.nan}}}, 1)
    values = case_values(read_records(tmp_path), "dice", "last")
    assert values["a"] == pytest.approx({"1": 0.6, "2": 0.5, "3": 0.5})
    # What b alone has no value of is no part of its case, nor of a's where the two are compared.
    assert values["b"] == pytest.approx({"1": 0.2, "2": 0.7})
    assert values.of("a", "b")["a"] == pytest.approx({"1": 0.4, "2": 0.5, "3": 0.5})


def test_a_third_method_changes_no_pair(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    random = np.random.default_rng(2)
    for order, method in enumerate("ABC"):
        for repeat in range(2):
            scores = {
                f"{case:02}": {label: float(random.uniform(0.6, 0.8)) + 0.05 * order for label in "12"}
                for case in range(16)
            }
            # The second structure is absent from half of the cases, where C alone finds something.
            for case in range(8):
                scores[f"{case:02}"]["2"] = 0.0 if method == "C" else math.nan
            make_run(tmp_path, method, 0, {1: scores}, order, repeat=repeat)
    records = read_records(tmp_path)
    (two,) = compare_study([record for record in records if record.method != "C"], reference="A")
    (three,) = compare_study(records, reference="A")
    pair = three.comparison.contrasts["B"]
    assert pair.cases == 16 and three.comparison.contrasts["C"].cases == 16 and three.ranking.cases == 16
    assert replace(pair, p_holm=0, more_cases=0) == replace(two.comparison.contrasts["B"], p_holm=0, more_cases=0)
    assert three.spreads["B"] == two.spreads["B"]
    assert all(three.comparison.levels[method] == two.comparison.levels[method] for method in "AB")


def test_repeats_are_no_new_cases(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    drawn = np.random.default_rng(1).uniform(0.2, 0.9, (2, 5, 8))
    for order, method in enumerate("ab"):
        for repeat, scores in enumerate(drawn[order]):
            run = {1: {str(case): float(value) for case, value in enumerate(scores)}}
            make_run(tmp_path, method, 0, run, order, repeat=repeat)
    (result,) = compare_study(read_records(tmp_path), reference="b")
    contrast = result.comparison.contrasts["a"]
    expected = stats.wilcoxon(drawn[0].mean(0) - drawn[1].mean(0)).pvalue
    assert contrast.cases == 8 and contrast.p == pytest.approx(expected)


def test_patients_are_the_unit(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    groups = {f"{patient}_{time}": str(patient) for patient in range(6) for time in ("ED", "ES")}
    write_groups(tmp_path, groups)
    for order, (method, loss) in enumerate({"good": 0.0, "bad": 0.1}.items()):
        scores = {case: 0.8 - loss - 0.001 * order * number for number, case in enumerate(groups)}
        make_run(tmp_path, method, 0, {1: scores}, order)
    (result,) = compare_study(read_records(tmp_path), reference="good")
    contrast = result.comparison.contrasts["bad"]
    # All of 6 patients are lower, not all of 12 cases.
    assert contrast.cases == 6 and contrast.p == pytest.approx(2 / 2**6)
    assert "against good (80.00 %, 6 patients)" in comparison_text([result])


def test_missed_structures_cannot_win(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    cases = [str(case) for case in range(8)]
    make_run(tmp_path, "finds", 0, {1: {case: 3.0 for case in cases}}, 0)
    make_run(tmp_path, "misses", 0, {1: {case: MISSED for case in cases[:6]} | {"6": 2.0, "7": 2.0}}, 1)
    records = read_records(tmp_path)
    (result,) = compare_study(records, ["hd95"])
    assert result.comparison.reference == "finds" and result.comparison.contrasts["misses"].effect > 0
    assert result.ranking.mean_ranks == {"finds": 1.25, "misses": 1.75}
    text = comparison_text([result])
    assert "by HD95, finds has the best mean" in text and "*3.00*" in text and "*2.00*" not in text
    assert "† misses missed a structure in 6 cases" in text
    # Or, by choice, the diagonal of each image.
    (result,) = compare_study(fill_missed(records, dict.fromkeys(cases, 100.0)), ["hd95"])
    assert result.comparison.contrasts["misses"].mean == pytest.approx((6 * 97 - 2) / 8)
    assert result.comparison.levels["misses"].missed == 0


def test_the_best_is_said_to_be_of_the_cases_that_it_was_picked_on(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    good = [0.8 + 0.01 * case for case in range(10)]
    # The structure is absent from ten more cases, where one method finds nothing and the other something.
    scores = {"clean": good + [math.nan] * 10, "hallucinates": [1.01 * value for value in good] + [0.0] * 10}
    for order, (method, values) in enumerate(scores.items()):
        make_run(tmp_path, method, 0, {1: {f"{case:02}": value for case, value in enumerate(values)}}, order)
    text = comparison_text(compare_study(read_records(tmp_path)))
    assert "hallucinates has the best mean over the 10 cases that every ranked method has (85.34 %)" in text
    assert "*84.50*" in text and "42.67" in text and "best mean over shared cases is 85.34 %" in text


def test_where_every_method_lacks_a_fold_none_is_marked_but_all_are_ranked(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for order, (method, folds) in enumerate({"x": (0, 1), "y": (1, 2), "z": (1,)}.items()):
        for fold in folds:
            scores = {f"{fold}-{case}": 0.7 + 0.1 * fold + 0.01 * order + 0.001 * case for case in range(6)}
            make_run(tmp_path, method, fold, {1: scores}, order)
    text = comparison_text(compare_study(read_records(tmp_path)))
    assert "No method has the trainings of all others, so no mean is marked" in text
    assert "z has the best mean over 6 cases (82.25 %)" in text
    assert "neither best nor ranked" not in text and "*" not in text


@pytest.mark.parametrize(("cases", "words"), [(2, "With 4 cases the"), (10, "With 20 cases the"), (30, "")])
def test_the_intervals_of_few_cases_are_said_to_be_short(tmp_path, cases, words):
    (tmp_path / "study.yaml").write_text("")
    random = np.random.default_rng(0)
    for order, (method, folds) in enumerate({"a": 2, "b": 2, "dropped": 1}.items()):
        for fold in range(folds):
            scores = {f"{fold}-{case}": float(random.uniform(0.5, 0.9)) for case in range(cases)}
            make_run(tmp_path, method, fold, {1: scores}, order)
    records = read_records(tmp_path)
    text = comparison_text(compare_study(records))
    assert words in text and ("much too short" in text, "a little too short" in text) == (cases == 2, cases == 10)
    assert "the other sign, not corrected for the picking of the reference." in text
    assert "for the picking of the reference" not in comparison_text(compare_study(records, reference="a"))


def test_the_next_method_may_be_ahead_on_the_cases_of_the_pair(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    hard = [0.8 + 0.01 * case for case in range(10)]
    noise = [0.001 * (-1) ** case for case in range(10)]
    scores = {
        "a": [*hard, *(value - 0.03 for value in hard)],
        "b": [value - 0.01 + change for value, change in zip(hard, noise, strict=True)] + hard,
        "c": [value - 0.1 for value in hard] + [math.nan] * 10,
    }
    for order, (method, values) in enumerate(scores.items()):
        make_run(tmp_path, method, 0, {1: {f"{case:02}": value for case, value in enumerate(values)}}, order)
    (result,) = compare_study(read_records(tmp_path))
    # Where c has a value, a is best; over all of its cases, b is surely ahead of it.
    assert result.comparison.reference == "a" and result.spreads["b"].mean > 0
    surely = f"{1 - result.spreads['b'].p_false:.3f}"
    assert surely > "0.9" and f"b is truly better with a probability of {surely}" in comparison_text([result])


def test_a_metric_that_no_run_has_a_value_of_is_refused(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for order, method in enumerate(("a", "b")):
        make_run(tmp_path, method, 0, {1: {"1": MISSED, "2": MISSED}}, order)
    with pytest.raises(UserError, match="No run has a value of HD95: choose another metric"):
        compare_study(read_records(tmp_path), ["dice", "hd95"])


def test_a_table_for_challenger(study):
    for fold in range(2):
        missed = {f"{fold}-{case}": 0.5 for case in range(4)} | {f"{fold}-4": math.nan, f"{fold}-5": MISSED}
        make_run(study, "third", fold, {10: missed}, order=2)
    make_run(study, "dropped", 0, {10: {"0-0": 0.5, "0-1": 0.5}}, order=3)
    rows = list(csv.DictReader(io.StringIO(challenger_csv(read_records(study), ["dice", "hd95"]))))
    # Of 12 cases 2 have no value of the third; who lacks a fold has no row at all.
    assert len(rows) == 2 * 3 * 10 and {row["algorithm"] for row in rows} == {"good", "bad", "third"}
    assert rows[0] == {"task": "dice", "case": "0-0", "algorithm": "good", "value": "0.9"}
    found = [row["value"] for row in rows if (row["algorithm"], row["case"]) == ("third", "0-5")]
    assert found == ["0.0", "NA"]


def test_every_format_says_the_answer_and_the_numbers(study):
    results = compare_study(read_records(study), margins=[1])
    for format in FORMATS[:3]:
        text = comparison_text(results, format)
        assert (
            text.startswith("No winner yet")
            and "by Dice, good has the best mean" in text
            and "Wilcoxon" in text
            and "worse" in text
        )
    assert "−25.10" in comparison_text(results, "text") and "$-$25.10" in comparison_text(results, "latex")
    first, second = csv.DictReader(io.StringIO(comparison_text(results, "csv")))
    assert (first["method"], first["verdict"], second["verdict"]) == ("good", "", "worse")
    assert float(second["difference"]) == pytest.approx(-0.251) and second["folds_agreeing"] == "2"


def test_what_is_left_out_is_said(study):
    make_run(study, "empty", 0, {10: {f"0-{case}": math.nan for case in range(6)}}, order=2)
    make_run(study, "part", 0, {10: {f"0-{case}": 0.1 * case for case in range(6)}}, order=3)
    text = comparison_text(compare_study(read_records(study)))
    assert "† empty: 6 cases undefined and left out" in text
    assert "Compared on the 6 of 12 cases with both values: part" in text
    assert "Fewer trainings, so neither best nor ranked: empty (1 of 2), part (1 of 2)" in text
    assert "Over 12 cases;" in text


def test_hostile_names_cannot_break_a_table(study):
    make_run(study, "a|b & c_d\n% \\x", 0, {10: {"0-0": 0.9, "0-1": 0.8}}, order=2)
    results = compare_study(read_records(study))
    assert r"a\|b" in comparison_text(results, "markdown")
    assert r"a|b \& c\_d \% \textbackslash{}x" in comparison_text(results, "latex")
    assert "a|b & c_d % \\x" in comparison_text(results, "text")


def test_mistakes_are_explained(study):
    records = read_records(study)
    with pytest.raises(UserError, match="no metric 'dicee'"):
        compare_study(records, ["dicee"])
    with pytest.raises(UserError, match="choose good, bad"):
        compare_study(records, reference="ugly")
    with pytest.raises(UserError, match="2 margins do not fit 1 metrics"):
        compare_study(records, margins=[1, 2])
    with pytest.raises(UserError, match="two methods"):
        compare_study(records[:2])
    with pytest.raises(UserError, match="text, markdown"):
        comparison_text(compare_study(records), "html")
