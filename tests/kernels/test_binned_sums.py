"""Sums by bins of probability: the library against plain operations in double precision, and against NumPy."""

import numpy as np
import pytest
import torch

from spineloss.kernels.binned_sums import binned_sums

SHAPE = (2, 3, 5, 31, 67)


def draw(kind, activation, dtype=torch.float32):
    """Logits, a target of a kind, and a mask."""
    random = torch.Generator().manual_seed(5)
    logits = (4 * torch.randn(SHAPE, generator=random)).to(dtype)
    labels = torch.randint(SHAPE[1], (SHAPE[0], *SHAPE[2:]), generator=random)
    shares = torch.rand(SHAPE, generator=random)
    target = {
        "labels": labels,
        "volumes": torch.nn.functional.one_hot(labels).movedim(-1, 1).to(torch.uint8),
        "soft": shares / shares.sum(1, keepdim=True) if activation == "softmax" else shares,
    }[kind]
    return logits, target, torch.rand(SHAPE[0], 1, *SHAPE[2:], generator=random) > 0.3


def values_and_slope(logits, target, mask, **settings):
    """Voxels, errors, and the gradient of a mix of the errors; of double precision by plain operations."""
    logits = logits.clone().requires_grad_()
    voxels, errors = binned_sums(logits, target, mask, **settings)
    mix = torch.linspace(-1, 2, errors.numel(), dtype=errors.dtype).view_as(errors)
    return voxels, errors.detach(), torch.autograd.grad((mix * errors).sum(), logits)[0]


@pytest.mark.parametrize("bins", [2, 20, 1000])
@pytest.mark.parametrize("kind", ["labels", "volumes", "soft"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_they_equal_plain_operations_in_double(lanes, activation, kind, bins):
    logits, target, mask = draw(kind, activation)
    ignore = 2 if kind == "labels" else None
    settings = {"bins": bins, "activation": activation, "ignore": ignore}
    for counted in (mask, None):
        voxels, errors, slope = values_and_slope(logits, target, counted, **settings)
        expected = values_and_slope(logits.double(), target, counted, **settings)
        # A voxel at the border of two bins may be in either.
        assert (voxels - expected[0]).abs().max() <= 1 and voxels.sum() == expected[0].sum()
        torch.testing.assert_close(errors.double(), expected[1], atol=1.01, rtol=1e-5)
        assert ((slope - expected[2]).abs() > 1e-5).count_nonzero() <= 3 * SHAPE[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_have_the_sums_of_single_precision(dtype):
    logits, target, mask = draw("labels", "softmax", dtype)
    halves, singles = (
        values_and_slope(each, target, mask, bins=20, activation="softmax") for each in (logits, logits.float())
    )
    assert torch.equal(halves[0], singles[0]) and torch.equal(halves[1], singles[1])
    torch.testing.assert_close(halves[2], singles[2].to(dtype))


def test_a_bin_is_numpys():
    logits, target, _ = draw("volumes", "sigmoid")
    voxels, errors = binned_sums(logits, target, bins=20)
    probabilities = torch.sigmoid(logits.double()).numpy()
    edges = np.linspace(0, 1, 21)
    for sample in range(SHAPE[0]):
        for one in range(SHAPE[1]):
            p, y = probabilities[sample, one].ravel(), target[sample, one].numpy().ravel()
            assert np.abs(np.histogram(p, edges)[0] - voxels[sample, one].numpy()).max() <= 1
            weighted = np.histogram(p, edges, weights=p - y)[0]
            assert np.abs(weighted - errors[sample, one].numpy()).max() <= 1.01


def test_the_gradient_can_be_derived_again():
    logits, target, _ = draw("volumes", "sigmoid")
    logits.requires_grad_()
    errors = binned_sums(logits, target, bins=20)[1]
    (slope,) = torch.autograd.grad(errors.square().sum(), logits, create_graph=True)
    assert torch.autograd.grad(slope.sum(), logits)[0].isfinite().all()
