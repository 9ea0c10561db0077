import math

import pytest

from results.demsar import by_case
from spineloss.results.comparison import Result
from spineloss.results.ranking import rank
from spineloss.results.sentences import answer, caution, margin_words, verdict_words
from spineloss.results.statistics import best_method, compare, picked_by

CASES = 12
EASY = [0.8 + 0.001 * index for index in range(CASES)]
# Higher in every case, higher or lower by turns, lower in every case.
METHODS = {
    "good": EASY,
    "like": [value + (-1) ** index * 0.0005 * 1.1**index for index, value in enumerate(EASY)],
    "bad": [value - 0.1 - 0.001 * index for index, value in enumerate(EASY)],
}


def findings(columns, reference=None, margin=None, metrics=("dice",)):
    found = []
    for metric, methods in zip(metrics, columns, strict=True):
        values, higher = by_case(methods), metric == "dice"
        chosen = reference or best_method(by_case(columns[0]), higher_is_better=True)
        comparison = compare(
            values, chosen, higher_is_better=higher, picked=reference is None, margin=margin, resamples=99
        )
        ranking = rank(values, higher_is_better=higher, resamples=999)
        pick = None if reference or found else picked_by(values, chosen)
        found.append(Result(metric, comparison, ranking, {}, pick=pick))
    return found


def test_two_sentences_about_the_best():
    text = answer(findings([{"good": METHODS["good"], "bad": METHODS["bad"]}]))
    assert text == (
        "By Dice, good has the best mean over 12 cases (80.55 %): it is better than bad. "
        "With these networks and the cases drawn again, good comes first in 100 % of draws."
    )


def test_what_is_open_is_named_with_the_cases_it_needs():
    text = answer(findings([METHODS], reference="good"))
    assert "By Dice, against good (80.55 %, 12 cases): bad is worse; like is undecided." in text
    assert "what is undecided by Dice needs" in text and "more cases." in text
    assert "like is equivalent to it within 1 percentage point" in answer(
        findings([METHODS], reference="good", margin=0.01)
    )


def test_a_later_metric_decides_what_the_first_leaves_open():
    distances = {
        "good": [5.0] * CASES,
        "like": [5.1 + 0.01 * index for index in range(CASES)],
        "bad": [1.0 + 0.01 * index for index in range(CASES)],
    }
    text = answer(findings([METHODS, distances], reference="good", metrics=("dice", "hd95")))
    # What Dice has decided, HD95 is not asked again.
    assert "Where Dice leaves it open, HD95 finds like worse" in text


def test_a_method_is_named_as_it_is_written():
    text = answer(findings([{"Tversky <b>": EASY, "iou": METHODS["bad"]}], reference="iou"))
    assert "Tversky <b> is better" in text and "Tversky <b> (80.55 %) comes first" in text


def test_many_methods_are_counted():
    columns = {f"m{index}": [value * (1 - 0.1 * index) for value in EASY] for index in range(7)}
    assert "it is better than all 6 others" in answer(findings([columns]))
    assert "5 of the 6 others are better" in answer(findings([columns], reference="m5"))


def test_words_of_a_pair():
    comparison = findings([METHODS], reference="good", margin=0.02)[0].comparison
    assert margin_words("dice", comparison) == "2 percentage points"
    assert margin_words("hd95", comparison) == "0.02 mm"
    assert verdict_words(comparison.contrasts["bad"]) == "worse" and caution(comparison.contrasts["bad"]) is None
    same = findings([{"a": EASY, "b": EASY}], reference="a")[0].comparison
    assert math.isinf(same.contrasts["b"].more_cases)
    assert verdict_words(same.contrasts["b"]) == "undecided: needs more than 1000 more cases"


@pytest.mark.parametrize(("few", "words"), [(-3.0, "not on average"), (0.01, None)])
def test_ranks_against_the_mean_are_said(few, words):
    differences = [0.01 * index for index in range(1, 12)] + [few]
    columns = {"often": [value + change for value, change in zip(EASY, differences, strict=True)], "ref": EASY}
    pair = findings([columns], reference="ref")[0].comparison.contrasts["often"]
    assert pair.verdict == "better"
    assert (words in caution(pair)) if words else caution(pair) is None


def test_a_verdict_by_rank_does_not_speak_of_most_cases():
    # 25 of 56 cases are better, by much; the others are worse by next to nothing, one of them by very much.
    ahead, behind = [0.1 + 0.01 * index for index in range(25)], [0.001 + 1e-5 * index for index in range(30)]
    differences = [*ahead, *(-change for change in behind), -9]
    values = {"often": [0.8 + change for change in differences], "ref": [0.8] * 56}
    text = answer(findings([values]))
    assert "by rank, often is better" in text and "most cases" not in text
    assert caution(findings([values])[0].comparison.contrasts["often"]).startswith("by rank, but not on average")
