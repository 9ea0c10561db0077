from dataclasses import replace

import numpy as np
import pytest
import torch

from spineloss.figures.shape_plot import draw
from spineloss.lossbook.curves import against_probability, over_plane
from spineloss.lossbook.shapes import library_table, toy_shapes
from spineloss.losses import LOSSES
from spineloss.text import parse


def test_cross_entropy_is_the_logarithm():
    p, values, slopes = against_probability(parse("cross_entropy"))
    np.testing.assert_allclose(values, -np.log(p), rtol=1e-9)
    np.testing.assert_allclose(slopes, -1 / p, rtol=1e-9)


def test_dice_is_a_line_and_iou_a_curve_below_it():
    p, values, slopes = against_probability(parse("dice"))
    np.testing.assert_allclose(values, 1 - p, atol=1e-5)
    np.testing.assert_allclose(slopes, -1, atol=1e-4)
    np.testing.assert_allclose(against_probability(parse("iou"))[1], 1 - p / (2 - p), atol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_gamma_bends_focal_and_tversky_focal_as_their_formulas_say(gamma):
    p, values, slopes = against_probability(parse(f"focal(alpha=1.0, gamma={gamma})"))
    np.testing.assert_allclose(values, -((1 - p) ** gamma) * np.log(p), rtol=1e-9)
    expected = (1 - p) ** gamma * (gamma * np.log(p) / (1 - p) - 1 / p)
    np.testing.assert_allclose(slopes, expected, rtol=1e-9, atol=1e-12)
    # FP = FN, so alpha + beta = 1 makes Tversky the line 1 - p.
    p, values, slopes = against_probability(parse(f"tversky_focal(alpha=0.7, beta=0.3, gamma={gamma})"))
    np.testing.assert_allclose(values, (1 - p) ** (1 / gamma), rtol=1e-4)
    np.testing.assert_allclose(slopes, -((1 - p) ** (1 / gamma - 1)) / gamma, rtol=1e-4)


SUM, OF_BATCH, FOREIGN = "0.8*dice + 0.2*boundary", "dice(over=batch)", "torch.nn.SoftMarginLoss"


@pytest.mark.parametrize("spec", [*LOSSES, SUM, OF_BATCH, FOREIGN])
def test_each_point_is_the_loss_of_one_image(spec):
    p, values, _ = against_probability(parse(spec))
    target = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    target[..., :2] = 1
    for point in (0, 60, 199):
        logits = np.log(p[point] / (1 - p[point])) * (2 * target - 1)
        assert values[point] == pytest.approx(parse(spec)(logits, target).item(), rel=1e-6, abs=1e-9)


def test_the_plane_is_what_the_losses_say():
    shape = next(shape for shape in toy_shapes() if shape.name == "fitting_2")
    plane = over_plane(shape, [0.0, 0.3, 0.7])
    table = library_table([shape], ["tversky(alpha=0.3, beta=0.7)", "tversky(alpha=0.7, beta=0.3)"])
    assert [plane[2, 1], plane[1, 2]] == pytest.approx([row["fitting_2"] for row in table.values()], abs=1e-6)
    assert plane[0, 0] == 0


def test_the_plane_holds_dice_and_iou():
    shape = next(shape for shape in toy_shapes() if shape.name == "awareness_1")
    plane = over_plane(shape, [0.5, 1.0])
    assert plane[0, 0] == pytest.approx(0.5) and plane[1, 1] == pytest.approx(2 / 3)


def test_pictures_are_written(tmp_path):
    paths = draw(toy_shapes(), ["dice", "0.8*dice + 0.2*boundary"], tmp_path / "new")
    assert {path.name for path in paths} >= {"shapes.png", "curves.svg", "gamma.png", "plane.svg"}
    assert all(path.stat().st_size > 1000 for path in paths)


def test_only_region_losses_have_a_plane(tmp_path):
    shape = replace(toy_shapes()[0], name=r"$\foo$, which is no formula")
    paths = draw([shape], ["cross_entropy"], tmp_path)
    assert {path.stem for path in paths} == {"shapes", "losses", "curves", "gamma"}
