"""Averages of cases: what is undefined, and what is infinitely bad, stays so."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

CaseValues = Mapping[str, Mapping[str, float]]  # method -> case (or patient) -> value
LabelValues = Mapping[str, Mapping[str, Mapping[str, float]]]  # method -> case -> label -> value


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


class Labelled(dict[str, Mapping[str, float]]):
    """Case values of methods of several labels: each method's own, over the labels that it has a value of.

    Args:
        labels: method -> case -> label -> value; NaN where undefined.
        groups: case -> patient, as for `average_groups`.
    """

    def __init__(self, labels: LabelValues, groups: Mapping[str, str]) -> None:
        self._labels, self._groups = labels, groups
        self._undefined = {
            method: {(case, label) for case in cases for label, value in cases[case].items() if math.isnan(value)}
            for method, cases in labels.items()
        }
        super().__init__({method: self._without(method, self._undefined[method]) for method in labels})

    def of(self, *methods: str) -> CaseValues:
        """The values of some methods over the labels that each of them has in the case: what no other changes."""
        found = [method for method in methods if method in self]
        undefined = set().union(*(self._undefined[method] for method in found))
        return {
            method: self[method] if self._undefined[method] == undefined else self._without(method, undefined)
            for method in found
        }

    def _without(self, method: str, undefined: set[tuple[str, str]]) -> Mapping[str, float]:
        cases = {
            case: average([value for label, value in labels.items() if (case, label) not in undefined])
            for case, labels in self._labels[method].items()
        }
        return average_groups(cases, self._groups)


def pair_of(values: CaseValues, method: str, reference: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The values of two methods, over the same labels; empty where there are none."""
    both = values.of(method, reference) if isinstance(values, Labelled) else values
    return both.get(method, {}), both.get(reference, {})
