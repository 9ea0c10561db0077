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
def test_a_part_is_replaced_where_it_is_and_nowhere_else(text):
    whole = formula(text)
    nodes = list(whole.nodes())
    for place, node in enumerate(nodes):
        assert variation._replaced(whole, place, node) == whole
        changed = list(variation._replaced(whole, place, Formula("new")).nodes())
        assert changed[place] == Formula("new")
        inside = len(list(node.nodes()))
        assert [each.head for each in changed[:place] + changed[place + 1 :]] == [
            each.head for each in nodes[:place] + nodes[place + inside :]
        ]


def drawn_by(monkeypatch, vary, parents, count=300):
    monkeypatch.setattr(variation, "VARIATIONS", {vary: 1.0})
    return [child([Scored(formula(text), 1.0) for text in parents], 6, number) for number in range(count)]


def test_a_crossover_takes_a_part_of_the_same_kind(monkeypatch):
    """Of mean(p) and mean(square(y)), by hand: p is a map and so are y and square(y); the roots stay."""
    found = {str(made) for made in drawn_by(monkeypatch, variation._crossover, ["mean(p)", "mean(square(y))"])}
    of_each_with_itself = {"mean(p)", "mean(square(y))", "mean(square(square(y)))", "mean(y)"}
    of_both = {"mean(square(p))", "mean(p)", "mean(y)", "mean(square(y))"}
    assert found == of_each_with_itself | of_both


def test_a_node_is_replaced_by_one_of_its_arity(monkeypatch):
    found = {str(made) for made in drawn_by(monkeypatch, variation._node_mutation, ["mean(add(p, 1))"])}
    binary = ("add", "subtract", "multiply", "divide", "power")
    numbers = {text for text in found if not text.endswith(", 1))")}
    assert found - numbers == {f"mean({name}(p, 1))" for name in binary} | {"mean(add(y, 1))"}
    assert numbers and all(text.startswith("mean(add(p, ") for text in numbers)


def test_the_shorter_of_two_winners_is_a_parent_more_often(monkeypatch):
    """Each of two winners is either formula alike: the shorter one is the parent with 1/4 + 1/2 * 0.7 = 0.6."""
    monkeypatch.setattr(variation, "TOURNAMENT", 1)
    made = drawn_by(monkeypatch, variation._constant_mutation, ["mean(p)", "mean(square(p))"], count=2000)
    assert 0.57 < sum(str(each) == "mean(p)" for each in made) / len(made) < 0.63


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
