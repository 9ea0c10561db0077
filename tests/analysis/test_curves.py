import numpy as np
import pytest

from spineloss.analysis.curves import against_probability, over_plane
from spineloss.analysis.shape_figures import draw
from spineloss.analysis.shapes import seed_shapes
from spineloss.losses import parse


def test_cross_entropy_is_the_logarithm():
    p, values, slopes = against_probability(parse("cross_entropy"))
    np.testing.assert_allclose(values, -np.log(p), rtol=1e-9)
    np.testing.assert_allclose(slopes, -1 / p, rtol=1e-9)


def test_dice_is_a_line_and_iou_a_curve_below_it():
    p, values, slopes = against_probability(parse("dice"))
    np.testing.assert_allclose(values, 1 - p, atol=1e-5)
    np.testing.assert_allclose(slopes, -1, atol=1e-4)
    np.testing.assert_allclose(against_probability(parse("iou"))[1], 1 - p / (2 - p), atol=1e-5)


def test_the_plane_holds_dice_and_iou():
    shape = next(shape for shape in seed_shapes() if shape.name == "awareness_1")
    plane = over_plane(shape, [0.5, 1.0])
    assert plane[0, 0] == pytest.approx(0.5) and plane[1, 1] == pytest.approx(2 / 3)


def test_pictures_are_written(tmp_path):
    paths = draw(seed_shapes(), ["dice", "0.8*dice + 0.2*boundary"], tmp_path / "new")
    assert {path.name for path in paths} >= {"shapes.png", "curves.svg", "gamma.png", "plane.svg"}
    assert all(path.stat().st_size > 1000 for path in paths)
