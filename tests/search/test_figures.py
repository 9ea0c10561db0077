import re
from xml.etree import ElementTree

import pytest

from learned.test_expression import TREES, WILD
from spineloss.grammar import Text
from spineloss.learned.expression import OPERATORS, Evolved
from spineloss.losses import parse
from spineloss.search.evolve import Generation
from spineloss.search.figures import draw_fitness, draw_tree


def written(path) -> list[str]:
    """The texts of a picture: Matplotlib draws them, and names them in a comment."""
    ElementTree.parse(path)
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", path.read_text(), re.DOTALL)]


@pytest.mark.parametrize("text", [*TREES.values(), *WILD])
def test_a_tree_shows_every_node_and_the_formula(tmp_path, text):
    loss = parse(text)
    draw_tree(loss, tmp_path / "tree.svg")
    heads = [str(node.head) for node in loss.formula.nodes()]
    assert sorted(written(tmp_path / "tree.svg")) == sorted([*heads, f"${loss.latex}$"])


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_can_be_typeset(tmp_path, name):
    inside = ", ".join(["mean(p)"] * OPERATORS[name].arity)
    draw_tree(Evolved(Text("formula", f"{name}({inside})").formula()), tmp_path / "tree.svg")
    assert written(tmp_path / "tree.svg")


def test_fitness_is_drawn_from_the_first_generation_on(tmp_path):
    common = {"drawn": 64, "passed": 20, "trained": 20, "median": 0.5, "std": 0.1, "nodes": 9.0, "seconds": 1.0}
    rows = [Generation(number, best=0.7, mean=0.5, formula="mean(p)", **common) for number in range(3)]
    for generations in (rows[:1], rows):
        draw_fitness(generations, tmp_path / "fitness.svg")
        assert {"generation", "validation Dice (%)", "best"} <= set(written(tmp_path / "fitness.svg"))
