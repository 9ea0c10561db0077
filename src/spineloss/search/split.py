"""Which cases a search may look at, and which are left for the final comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

from spineloss.data import folds

THIRDS, QUARTERS = 3, 4


@dataclass(frozen=True)
class Split:
    """Case ids: to train on and to score by while searching, and those that no search sees."""

    training: list[str]
    validation: list[str]
    held_out: list[str]


def split(cases: Sequence[str], seed: int) -> Split:
    """A third of the cases held out, a quarter of the others to score by.

    Args:
        cases: case ids, in any order.
        seed: of the shuffle; a study of three folds with the same seed has the held-out third as its first fold.

    Raises:
        UserError: too few cases.

    >>> [len(part) for part in vars(split([f"case-{i}" for i in range(30)], seed=21)).values()]
    [15, 5, 10]
    """
    held_out = folds.split(cases, THIRDS, seed)[0]
    seen = sorted(set(cases) - set(held_out))
    validation = folds.split(seen, QUARTERS, seed)[0]
    return Split([case for case in seen if case not in validation], validation, held_out)
