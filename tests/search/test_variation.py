import hashlib
import random
import subprocess
import sys

import pytest

from spineloss.grammar import Formula, Text
from spineloss.learned.formula import Evolved
from spineloss.search import variation
from spineloss.search.variation import DEPTHS, Scored, child, random_formula

DICE = "complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y))))"
ENTROPY = "negate(mean(add(multiply(y, log(p)), multiply(complement(y), log(complement(p))))))"


def formula(text: str) -> Formula:
    return Text("formula", text).formula()


def leaf_depths(tree: Formula, depth: int = 0) -> list[int]:
    """Of the leaves that are no numbers."""
    if not tree.arguments:
        return [depth] if isinstance(tree.head, str) else []
    return [found for argument in tree.arguments for found in leaf_depths(argument, depth + 1)]


def test_random_formulas_are_typed_and_within_their_depths():
    least, most = DEPTHS
    for number in range(300):
        made = random_formula(1, number)
        assert least <= min(leaf_depths(made)) and max(leaf_depths(made)) <= most
        if Formula("p") in made.nodes():
            Evolved(made)  # which refuses a map, an unknown name and a wrong number of arguments


@pytest.mark.parametrize("text", [DICE, ENTROPY, "mean(power(absolute(subtract(p, y)), 1.45))"])
def test_a_formula_becomes_a_tree_and_back(text):
    tree = variation._tree(Scored(formula(text), 1.0))
    assert variation.formula_of(tree) == formula(text)
    assert len(tree) == len(list(formula(text).nodes()))


def test_children_are_typed_and_vary():
    parents = [Scored(formula(DICE), 0.8), Scored(formula(ENTROPY), 0.7)]
    children = [child(parents, 2, number) for number in range(300)]
    for made in children:
        if Formula("p") in made.nodes():
            Evolved(made)
    assert len(set(children)) > 150


def test_the_fitter_parent_has_more_children(monkeypatch):
    monkeypatch.setattr(variation, "VARIATIONS", {variation._constant_mutation: 1.0})
    parents = [Scored(formula(ENTROPY), 0.2), Scored(formula("mean(multiply(p, complement(y)))"), 0.9)]
    children = [child(parents, 3, number) for number in range(200)]
    # The fitter one wins unless four draws of two miss it, and then it is the shorter as well.
    assert children.count(parents[1].formula) > 180


def test_constants_mutate_alone(monkeypatch):
    monkeypatch.setattr(variation, "VARIATIONS", {variation._constant_mutation: 1.0})
    made = {child([Scored(formula(DICE), 1.0)], 4, number) for number in range(20)}
    assert len(made) > 10
    heads = [[node.head for node in each.nodes() if isinstance(node.head, str)] for each in made]
    assert all(each == heads[0] for each in heads)


def test_draws_leave_the_stream_of_python_as_it_was():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    random_formula(1, 1)
    assert random.random() == expected


def test_every_process_draws_the_same():
    code = (
        "import hashlib; from spineloss.search.variation import *\n"
        "parents = [Scored(random_formula(1, i), i) for i in range(10)]\n"
        "print(hashlib.sha256(str([str(child(parents, 2, i)) for i in range(100)]).encode()).hexdigest())"
    )
    told = {subprocess.run([sys.executable, "-c", code], capture_output=True).stdout for _ in range(2)}
    parents = [Scored(random_formula(1, i), i) for i in range(10)]
    text = str([str(child(parents, 2, i)) for i in range(100)])
    assert told == {hashlib.sha256(text.encode()).hexdigest().encode() + b"\n"}
