"""Sums over signed distance maps: the library against plain operations in double precision."""

import pytest
import torch

from spineloss.kernels.level_sums import level_sum

SHAPE = (2, 3, 5, 31, 67)


def draw(dtype=torch.float32):
    """Logits, sure ones and zeros among them, maps with zeros and ones, and which voxels count: NaN elsewhere."""
    random = torch.Generator().manual_seed(5)
    logits = (8 * torch.randn(SHAPE, generator=random)).to(dtype)
    maps = 2 * torch.rand(SHAPE, generator=random) - 1
    logits[:, :, :, ::3], maps[:, :, :, :, ::2], maps[:, 1, :, 1::4] = 0, 0, 1
    mask = torch.rand(SHAPE[0], 1, *SHAPE[2:], generator=random) < 0.8
    return logits, torch.where(mask, maps, torch.nan), mask


def values_and_slope(logits, maps, mask, activation):
    logits = logits.clone().requires_grad_()
    values = level_sum(logits, maps, mask, activation=activation)
    return values.detach(), torch.autograd.grad(values[0, 1] + 2 * values[1].sum(), logits)[0]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_they_equal_plain_operations_in_double(lanes, activation):
    logits, maps, mask = draw()
    values, slope = values_and_slope(logits, maps, mask, activation)
    expected = values_and_slope(logits.double(), maps.double(), mask, activation)
    torch.testing.assert_close(values.double(), expected[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(slope.double(), expected[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_have_the_sums_of_single_precision(dtype):
    logits, maps, mask = draw(dtype)
    half, single = (values_and_slope(each, maps, mask, "softmax") for each in (logits, logits.float()))
    assert torch.equal(half[0], single[0])
    torch.testing.assert_close(half[1], single[1].to(dtype))


def test_the_gradient_can_be_derived_again():
    logits, maps, mask = draw()
    logits.requires_grad_()
    (slope,) = torch.autograd.grad(level_sum(logits, maps, mask).square().sum(), logits, create_graph=True)
    assert torch.autograd.grad(slope.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_map_that_is_nan_where_a_voxel_counts_says_so(activation):
    logits, maps, mask = draw()
    maps[0, 1][mask[0, 0]] = torch.nan
    values = level_sum(logits, maps, mask, activation=activation)
    assert values.isnan().nonzero().tolist() == [[0, 1]]
