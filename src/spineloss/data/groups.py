"""Patients: which cases belong to one person, so that no fold trains on a person that it validates on."""

import re
from collections.abc import Iterable, Mapping

from spineloss.errors import UserError

# Case ids of public data sets with several volumes per person; the first group is the person.
RECOGNISED = {
    "SPIDER": re.compile(r"(\d+)_t[12](?:_SPACE)?", re.IGNORECASE),
    "ACDC": re.compile(r"(patient\d+)_(?:ED|ES|frame\d+)", re.IGNORECASE),
}


def group_cases(cases: Iterable[str], declared: Mapping[str, str], pattern: str = "auto") -> dict[str, str]:
    """The group (patient) of each case.

    Args:
        cases: case ids.
        declared: groups that a manifest names, by case id; a case without one is a group of its own.
        pattern: a regular expression that is searched for in each id: its first parenthesis, or else the whole
            match, is the group. `auto` takes the declared groups, or else recognises the ids of SPIDER (`1_t1`)
            and ACDC (`patient001_ED`), or else makes each case a group of its own.

    Raises:
        UserError: the pattern is not found in a case id.

    >>> group_cases(["1_t1", "1_t2", "2_t1"], {})
    {'1_t1': '1', '1_t2': '1', '2_t1': '2'}
    >>> group_cases(["anna-left", "anna-right"], {}, "[a-z]+")
    {'anna-left': 'anna', 'anna-right': 'anna'}
    """
    cases = list(cases)
    if pattern != "auto":
        return {case: _found(pattern, case) for case in cases}
    if declared:
        return {case: declared.get(case, case) for case in cases}
    for layout in RECOGNISED.values():
        matches = {case: layout.fullmatch(case) for case in cases}
        if all(matches.values()):
            return {case: match[1] for case, match in matches.items()}
    return {case: case for case in cases}


def _found(pattern: str, case: str) -> str:
    match = re.search(pattern, case)
    group = None if match is None else match[1 if match.re.groups else 0]
    if not group:
        raise UserError(
            f"groups: the pattern {pattern!r} finds no patient in the case id {case!r}: "
            "write one that does in every id, or set `groups: auto`."
        )
    return group
