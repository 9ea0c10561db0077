from itertools import combinations

import pytest
import torch

from learned.test_formula import TREES
from spineloss.grammar import Formula, Text
from spineloss.learned.formula import Evolved
from spineloss.search.gate import Gate, inspect, phantom_masks
from spineloss.search.variation import random_formula
from spineloss.text import parse

FORMULAS = {name: text.removeprefix("evolved(").removesuffix(")") for name, text in TREES.items()}


def formula(text: str) -> Formula:
    return Text("formula", text).formula()


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(phantom_masks())


@pytest.mark.parametrize("name", FORMULAS)
def test_known_losses_pass(gate, name):
    verdict = gate(formula(FORMULAS[name]))
    assert verdict.passed and verdict.gradient


@pytest.mark.parametrize("pair", combinations(FORMULAS, 2), ids=" + ".join)
def test_sums_of_known_losses_pass(gate, pair):
    assert gate(formula(f"add({FORMULAS[pair[0]]}, {FORMULAS[pair[1]]})")).passed


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("mean(p)", "evidence"),
        ("mean(negate(negate(negate(negate(negate(negate(negate(multiply(p, y)))))))))", "balance"),
        (f"negate({FORMULAS['dice']})", "sign"),
        (f"divide({FORMULAS['dice']}, mean(subtract(y, y)))", "finite"),
        ("divide(mean(p), add(mean(multiply(p, y)), 1e-9))", "finite"),
        ("mean(multiply(p, complement(y)))", "sign"),
        ("subtract(mean(square(subtract(p, y))), mean(square(square(subtract(p, y)))))", "monotone"),
    ],
)
def test_what_fails_is_named(gate, text, failed):
    assert gate(formula(text)).failed == failed


def test_a_formula_too_long_is_refused():
    long = FORMULAS["dice"]
    for _ in range(4):
        long = f"add({long}, {FORMULAS['dice']})"
    assert inspect(formula(long)) == "size"


def test_the_optimised_prediction_is_the_mask_itself(gate):
    loss = parse(TREES["dice"])
    assert gate.optimised_dice(loss) == pytest.approx(1.0)
    assert gate.optimised_dice(Evolved(formula("mean(p)"))) == 0.0
    # Noise is half foreground: as many voxels as the mask's share are right by chance.
    assert gate.optimised_dice(Evolved(formula("multiply(mean(p), 0)"))) < 0.2


def test_the_gradient_is_the_formula_up_to_scale(gate):
    same = ["mean({})", "multiply(3, mean({}))", "add(1.5, mean({}))", "mean(multiply({}, 0.01))"]
    error = "square(subtract(p, y))"
    digests = {gate(formula(text.format(error))).gradient for text in same}
    assert len(digests) == 1 and "" not in digests
    assert gate(formula("mean(square(square(subtract(p, y))))")).gradient not in digests


def test_few_random_formulas_pass(gate):
    passed = sum(gate(random_formula(9, number)).passed for number in range(200))
    assert passed < 0.05 * 200


def test_phantom_masks_are_of_vertebrae():
    masks = phantom_masks()
    assert masks.shape == (2, 1, 8, 32, 32)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert all(0.01 < share < 0.2 for share in masks.mean((1, 2, 3, 4)))
    assert not torch.equal(masks[0], masks[1])
