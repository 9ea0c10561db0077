import re
from xml.etree import ElementTree

from spineloss.search.evolution import Generation
from spineloss.search.fitness_curve import draw_fitness, write_tree
from spineloss.text import parse


def written(path) -> list[str]:
    """The texts of a picture: Matplotlib draws them, and names them in a comment."""
    ElementTree.parse(path)
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", path.read_text(encoding="utf-8"), re.DOTALL)]


def test_a_tree_is_written(tmp_path):
    loss = parse("evolved(mean(p))")
    write_tree(loss, tmp_path / "tree.svg")
    assert sorted(written(tmp_path / "tree.svg")) == sorted(["mean", "p", f"${loss.latex}$"])


def test_fitness_is_drawn_from_the_first_generation_on(tmp_path):
    common = {"drawn": 64, "passed": 20, "trained": 20, "median": 0.5, "std": 0.1, "nodes": 9.0, "seconds": 1.0}
    rows = [Generation(number, best=0.7, mean=0.5, formula="mean(p)", **common) for number in range(3)]
    for generations in (rows[:1], rows):
        draw_fitness(generations, tmp_path / "fitness.svg")
        assert {"generation", "validation Dice (%)", "best"} <= set(written(tmp_path / "fitness.svg"))
