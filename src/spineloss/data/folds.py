"""Folds over case ids."""

from collections.abc import Sequence

from sklearn.model_selection import KFold

from spineloss.errors import UserError


def split(cases: Sequence[str], folds: int, seed: int) -> list[list[str]]:
    """The validation cases of each fold: a shuffled partition that depends on the ids and the seed alone.

    Args:
        cases: case ids, in any order.
        folds: number of folds, 2 to the number of cases.
        seed: of the shuffle.

    Raises:
        UserError: fewer cases than folds.

    >>> split(["a", "b", "c", "d"], 2, seed=21) == split(["d", "c", "b", "a"], 2, seed=21)
    True
    """
    ordered = sorted(cases)
    if len(ordered) < folds:
        raise UserError(f"{len(ordered)} cases cannot be split into {folds} folds: lower `folds` or add cases.")
    shuffled = KFold(folds, shuffle=True, random_state=seed)
    return [[ordered[index] for index in validation] for _, validation in shuffled.split(ordered)]
