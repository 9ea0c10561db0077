"""Patients stay together."""

import pytest

from spineloss.data import folds
from spineloss.data.groups import group_cases
from spineloss.errors import UserError

SPIDER = ["1_t1", "1_t2", "10_t1", "10_t2_SPACE", "11_t2", "2_t1", "2_t2"]
ACDC = [f"patient{number:03}_{phase}" for number in range(1, 9) for phase in ("ED", "ES")]


def test_public_layouts_are_recognised_and_others_are_not():
    assert set(group_cases(SPIDER, {}).values()) == {"1", "10", "11", "2"}
    assert group_cases(ACDC, {})["patient003_ES"] == "patient003"
    # One id that does not fit, and nothing is guessed.
    assert group_cases([*SPIDER, "phantom"], {})["1_t1"] == "1_t1"


def test_a_manifest_or_a_pattern_says_who_is_who():
    assert group_cases(["a", "b", "c"], {"a": "anna", "b": "anna"}) == {"a": "anna", "b": "anna", "c": "c"}
    assert group_cases(["a-1", "a-2"], {"a-1": "x"}, r"(\w)-\d") == {"a-1": "a", "a-2": "a"}
    assert group_cases(ACDC[:2], {}, ".*") == {"patient001_ED": "patient001_ED", "patient001_ES": "patient001_ES"}
    with pytest.raises(UserError, match=r"finds no patient in the case id 'b-2'"):
        group_cases(["a-1", "b-2"], {}, "a")


@pytest.mark.parametrize("cases", [SPIDER, ACDC])
def test_no_fold_divides_a_patient(cases):
    groups = group_cases(cases, {})
    parts = folds.split(cases, 3, 21, groups)
    assert sorted(sum(parts, [])) == sorted(cases)
    for part in parts:
        inside = {groups[case] for case in part}
        assert not inside & {groups[case] for case in cases if case not in part}


def test_more_folds_than_patients_are_refused():
    with pytest.raises(UserError, match="4 patients cannot be split into 5 folds"):
        folds.split(SPIDER, 5, 21, group_cases(SPIDER, {}))


def test_cases_of_their_own_are_split_as_without_groups():
    cases = [f"case-{number}" for number in range(7)]
    assert folds.split(cases, 3, 21, group_cases(cases, {})) == folds.split(cases, 3, 21)
