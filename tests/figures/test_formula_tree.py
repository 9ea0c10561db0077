import pytest

from learned.test_formula import TREES, WILD
from spineloss.figures.formula_tree import draw_tree
from spineloss.grammar import Text
from spineloss.learned.formula import OPERATORS, Evolved
from spineloss.text import parse


def written(figure):
    """The texts of a figure, once it could be drawn."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return [text.get_text() for text in (*axes.texts, axes.title) if text.get_text()]


@pytest.mark.parametrize("text", [*TREES.values(), *WILD])
def test_a_tree_shows_every_node_and_the_formula(text):
    loss = parse(text)
    heads = [str(node.head) for node in loss.formula.nodes()]
    assert sorted(written(draw_tree(loss))) == sorted([*heads, f"${loss.latex}$"])


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_can_be_typeset(name):
    inside = ", ".join(["mean(p)"] * OPERATORS[name].arity)
    assert written(draw_tree(Evolved(Text("formula", f"{name}({inside})").formula())))
