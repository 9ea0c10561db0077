"""How many more cases would decide what is undecided."""

import math

import numpy as np
from scipy import stats

POWER_WANTED = 0.8


def more_cases(differences: np.ndarray, level: float, equivalence: tuple[float, float] | None = None) -> float:
    """How many more cases would decide a pair with 80 % power, were the observed differences the true ones.

    Better or worse, or equivalent where that is asked, whichever needs fewer. For planning only: the observed
    effect is itself uncertain.

    Args:
        differences: (cases,) paired differences.
        level: of the test, corrected for the others.
        equivalence: its margin, and the level of its test, corrected likewise.

    Returns:
        At least 1; infinite where the differences point nowhere.
    """
    needed = cases_needed(positive_share(differences), level / 2)
    if equivalence is not None:
        margin, one_sided = equivalence
        # Both one-sided tests have to hold, so each gets half of the probability to miss.
        ends = (positive_share(differences + margin), positive_share(margin - differences))
        needed = min(
            needed, max(cases_needed(share, one_sided, (1 + POWER_WANTED) / 2, one_way=True) for share in ends)
        )
    return max(needed - len(differences), 1)


def positive_share(differences: np.ndarray) -> float:
    """The share of pairs of cases whose differences sum to above 0, ties counted half; 1/2 below two cases."""
    first, second = np.triu_indices(len(differences), k=1)
    sums = differences[first] + differences[second]
    return float(np.mean((np.sign(sums) + 1) / 2)) if len(sums) else 0.5


def cases_needed(share: float, level: float, power: float = POWER_WANTED, one_way: bool = False) -> float:
    """Cases for a Wilcoxon signed-rank test: (z_level + z_power)² / (3 (share - 1/2)²), rounded up.

    Args:
        share: probability that the differences of two cases sum to above 0.
        level: of one side.
        power: probability to find the difference.
        one_way: only a share above 1/2 counts.

    Returns:
        Infinite at a share of 1/2.

    References:
        Noether, Sample size determination for some common nonparametric tests, JASA 82, 1987.
    """
    if share == 0.5 or (one_way and share < 0.5):
        return math.inf
    z = stats.norm.isf(level) + stats.norm.ppf(power)
    return math.ceil(z**2 / (3 * (share - 0.5) ** 2))
