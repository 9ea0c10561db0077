import math

import numpy as np
import pytest

from results.demsar import by_case
from spineloss.results.selection import select


def test_the_winners_curse_is_taken_off():
    # Ten equal methods of mean 0: the best of them looks good on 30 cases, and is worth 0 on others.
    random = np.random.default_rng(1)
    found = []
    for _ in range(60):
        scores = random.normal(size=(1, 30)) + random.normal(size=(10, 30))
        values = by_case({f"m{number}": row for number, row in enumerate(scores)})
        found.append((select(values, higher_is_better=True, draws=200), scores.mean()))
    observed = np.mean([selection.observed - mean for selection, mean in found])
    expected = np.mean([selection.expected - mean for selection, mean in found])
    # The highest of ten standard normal values is 1.539 on average; here each has a deviation of sqrt(1/30).
    assert observed == pytest.approx(1.539 / math.sqrt(30), rel=0.1)
    assert abs(expected) < 0.02


def test_a_clear_winner_is_always_chosen():
    values = by_case({"near": np.linspace(1, 2, 20), "far": np.linspace(3, 4, 20)})
    found = select(values, higher_is_better=False)
    assert found.chosen == {"near": 1.0, "far": 0.0}
    assert found.observed == pytest.approx(1.5) and found.expected == pytest.approx(1.5, abs=0.01)


def test_where_nothing_can_be_said():
    few = by_case({"a": range(9), "b": range(9)})
    assert select(few, higher_is_better=True) is None
    missed = by_case({"a": range(12), "b": [math.inf] * 12})
    assert select(missed, higher_is_better=False) is None
    assert select({"a": dict.fromkeys("123456789abc", 1.0)}, higher_is_better=True) is None
