"""Folds over case ids; the cases of one patient stay together."""

from collections.abc import Mapping, Sequence

from sklearn.model_selection import KFold

from spineloss.errors import UserError


def split(cases: Sequence[str], folds: int, seed: int, groups: Mapping[str, str] | None = None) -> list[list[str]]:
    """The validation cases of each fold: a shuffled partition that depends on ids, groups and seed alone.

    Args:
        cases: case ids, in any order.
        folds: number of folds, 2 to the number of groups.
        seed: of the shuffle, 0 to 2^32 - 1.
        groups: of `group_cases`; each case is a group of its own if none are given.

    Raises:
        UserError: fewer groups than folds.

    >>> split(["a", "b", "c", "d"], 2, seed=21) == split(["d", "c", "b", "a"], 2, seed=21)
    True
    >>> sorted(split(["1_t1", "1_t2", "2_t1"], 2, seed=21, groups={"1_t1": "1", "1_t2": "1", "2_t1": "2"}))
    [['1_t1', '1_t2'], ['2_t1']]
    """
    group_of = {case: groups[case] if groups else case for case in sorted(cases)}
    ordered = sorted(set(group_of.values()))
    if len(ordered) < folds:
        kind = "cases" if len(ordered) == len(group_of) else "patients"
        raise UserError(f"{len(ordered)} {kind} cannot be split into {folds} folds: lower `folds` or add {kind}.")
    shuffled = KFold(folds, shuffle=True, random_state=seed)
    parts = [{ordered[index] for index in validation} for _, validation in shuffled.split(ordered)]
    return [[case for case, group in group_of.items() if group in part] for part in parts]
