"""Averages of cases: what is undefined, and what is infinitely bad, stays so."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

CaseValues = Mapping[str, Mapping[str, float]]  # method -> case (or patient) -> value


def average(values: Sequence[float]) -> float:
    """The mean; NaN of nothing, and where a part is NaN.

    >>> average([0.25, 0.75]), average([]), average([1.0, math.inf])
    (0.5, nan, inf)
    """
    return math.fsum(values) / len(values) if values else math.nan


def average_groups(cases: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, float]:
    """One value per patient: the mean of the patient's cases.

    Two cases of one patient are alike: counted as two, they would make every p-value too small.

    Args:
        cases: case -> value.
        groups: case -> patient; a case that is not in it is a patient of its own.

    >>> average_groups({"1_t1": 0.5, "1_t2": 1.0, "2_t1": 0.25}, {"1_t1": "1", "1_t2": "1"})
    {'1': 0.75, '2_t1': 0.25}
    """
    found: dict[str, list[float]] = defaultdict(list)
    for case, value in cases.items():
        found[groups.get(case, case)].append(value)
    return {patient: average(values) for patient, values in found.items()}
