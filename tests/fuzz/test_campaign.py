"""A small slice of the campaign (`make fuzz` is the rest of it), and the harness itself."""

import pytest

from fuzz import harness
from fuzz.campaign import SUBJECTS
from fuzz.harness import GOOD, outcomes
from fuzz.own.each_outcome import KINDS
from spineloss.seeding import generator

SLICE = 40  # inputs of each subject
OWN, SEED = "own.each_outcome", 715  # its first eight inputs end in eight ways


@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_input_ends_in_anything_but_a_result_or_a_sentence(subject):
    bad = [found for found in outcomes(subject, seed=0, most=SLICE) if found.kind not in GOOD]
    assert not bad, "\n\n".join(f"{found.subject}:{found.number} {found.kind}\n{found.detail}" for found in bad)


def kind_of(number):
    return KINDS[generator(OWN, SEED, number).integers(len(KINDS))]


def test_the_harness_knows_every_outcome(monkeypatch):
    monkeypatch.setattr(harness, "PATIENCE", 1.0)
    most = len(KINDS)
    assert {kind_of(number) for number in range(most)} == set(KINDS)
    found = list(outcomes(OWN, SEED, most=most))
    assert [outcome.number for outcome in found] == list(range(most))
    expected = {"two lines": "traceback", "locked": "ok"}
    assert [outcome.kind for outcome in found] == [
        expected.get(kind_of(number), kind_of(number)) for number in range(most)
    ]
    details = {kind_of(outcome.number): outcome.detail for outcome in found}
    assert "KeyError: 'traceback'" in details["traceback"]
    assert "last words" in details["crash"] and details["silent"] == "3 for 4"
