"""The surface around trained weights, against hand arithmetic."""

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.figures.landscape_plot import draw_landscape
from spineloss.results.run_folder import Run
from spineloss.results.surface import Surface, direction, filters_of, surface


def test_filters_are_found_by_what_they_make():
    network = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.ConvTranspose3d(4, 2, 2), nn.Linear(2, 1)
    )
    assert filters_of(network) == {"0.weight": 0, "2.weight": 1, "3.weight": 0}


def test_each_filter_of_a_direction_is_as_long_as_the_trained_one():
    weights = {
        "conv": torch.tensor([[3.0, 4.0], [0.0, 2.0]]),
        "up": torch.tensor([[3.0, 0.0], [4.0, 2.0]]),
        "bias": torch.tensor([5.0, 5.0]),
    }
    found = direction(weights, {"conv": 0, "up": 1}, seed=1)
    assert set(found) == {"conv", "up"}  # the bias stays
    assert found["conv"].norm(dim=1).tolist() == pytest.approx([5, 2])
    assert found["up"].norm(dim=0).tolist() == pytest.approx([5, 2])
    assert not torch.equal(found["conv"].abs(), weights["conv"])


def test_a_direction_scales_with_the_network_and_is_the_seeds():
    weights = {"conv": torch.randn(4, 3, generator=torch.Generator().manual_seed(0))}
    once, again = (direction(weights, {"conv": 0}, seed=7)["conv"] for _ in range(2))
    assert torch.equal(once, again)
    scaled = direction({"conv": 10 * weights["conv"]}, {"conv": 0}, seed=7)["conv"]
    assert torch.allclose(scaled, 10 * once)
    assert not torch.allclose(direction(weights, {"conv": 0}, seed=8)["conv"], once)


def test_a_filter_of_zeros_stays_zero():
    assert direction({"conv": torch.zeros(2, 3)}, {"conv": 0}, seed=1)["conv"].abs().sum() == 0


def test_the_surface_of_a_quadratic_by_hand():
    # f(theta) = |theta - (1, 2)|^2 at (1, 2) + alpha (3, 0) + beta (0, 4) is 9 alpha^2 + 16 beta^2.
    weights = {"theta": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([7.0])}
    directions = {"theta": torch.tensor([[3.0, 0.0]])}, {"theta": torch.tensor([[0.0, 4.0]])}

    def evaluate(moved):
        assert moved["bias"] is weights["bias"]
        return {"f": float((moved["theta"] - torch.tensor([1.0, 2.0])).square().sum())}

    rows = list(surface(evaluate, weights, directions, points=5, span=0.5))
    assert [row["alpha"] for row in rows[::5]] == [-0.5, -0.25, 0, 0.25, 0.5]
    for row in rows:
        assert row["f"] == pytest.approx(9 * row["alpha"] ** 2 + 16 * row["beta"] ** 2)
    assert rows[12] == {"alpha": 0, "beta": 0, "f": 0}


@pytest.mark.parametrize(("points", "span"), [(4, 1.0), (1, 1.0), (5, 0.0), (5, math.nan)])
def test_a_surface_without_a_centre_is_refused(points, span):
    with pytest.raises(UserError, match="odd|above 0"):
        list(surface(lambda weights: {}, {}, ({}, {}), points=points, span=span))


def test_what_is_written_is_read(tmp_path):
    rows = [{"alpha": a, "beta": b, "x, y": 10 * a + b} for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
    rows[0]["x, y"] = math.nan
    Run(tmp_path).write_landscape(rows)
    found = Run(tmp_path).landscape()
    assert found.offsets == [-1, 0, 1]
    np.testing.assert_array_equal(found.losses["x, y"], [[np.nan, -10, -9], [-1, 0, 1], [9, 10, 11]])


def test_a_network_trained_anew_has_no_landscape_yet(tmp_path):
    Run(tmp_path).write_landscape([{"alpha": 0.0, "beta": 0.0, "dice": 0.5}])
    for kind in ("svg", "png"):
        (tmp_path / f"landscape.{kind}").write_text("")
    Run(tmp_path).finish({}, {"weight": torch.zeros(1)})
    assert Run(tmp_path).landscape() is None and not list(tmp_path.glob("landscape.*"))


def test_it_is_drawn_whatever_the_names_and_where_a_loss_is_undefined():
    heights = np.array([[np.nan, 2.0, 3.0], [1.0, 0.0, 1.0], [np.inf, 2.0, 3.0]])
    figure = draw_landscape(Surface([-1, 0, 1], {"<b> $x$": heights, "0.5*dice + " * 9: heights}), "$ " * 99)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    assert len(buffer.getvalue()) > 10_000


@pytest.mark.parametrize("text", ["", "alpha,beta,x\n", "alpha,beta,x\n0,0,1\n0,1,2\n", "a,b\n1,2\n"])
def test_another_file_is_said(text, tmp_path):
    (tmp_path / "landscape.csv").write_text(text)
    with pytest.raises(UserError, match="landscape.csv is damaged: draw it again with `spineloss landscape"):
        Run(tmp_path).landscape()
