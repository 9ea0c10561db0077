import math

import numpy as np
import pytest
import torch
import torchio
from monai.transforms import AdjustContrast

from spineloss.data import intensity
from spineloss.data.intensity import CHANGES, Noise
from spineloss.seeding import generator


@pytest.fixture
def channel():
    return np.random.default_rng(1).standard_normal((12, 20, 24), np.float32)


def test_noise_is_torchios(channel):
    image = torch.from_numpy(channel)[None]
    expected = torchio.Noise(mean=0.0, std=0.2, seed=3)(image.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    before = torch.random.get_rng_state()
    found = intensity.noisy(channel[None], Noise(0.2, 3))
    assert np.array_equal(found, expected.numpy())
    assert torch.equal(torch.random.get_rng_state(), before)  # the network's own stream is another
    assert (found - channel).std() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("gamma", [0.7, 1.5])
@pytest.mark.parametrize("invert", [False, True])
def test_gamma_is_monais(channel, gamma, invert):
    expected = AdjustContrast(gamma, invert_image=invert, retain_stats=True)(torch.from_numpy(channel)[None])[0]
    change = intensity.inversely_gamma_changed if invert else intensity.gamma_changed
    assert np.allclose(change(channel, gamma), expected.numpy(), atol=1e-4)


def test_gamma_keeps_mean_and_spread_and_leaves_a_constant(channel):
    changed = intensity.gamma_changed(channel, 1.4)
    assert changed.mean() == pytest.approx(channel.mean(), abs=1e-5)
    assert changed.std() == pytest.approx(channel.std(), rel=1e-5)
    constant = np.full((4, 4, 4), 2.0, np.float32)
    assert np.array_equal(intensity.gamma_changed(constant, 1.4), constant)


def test_blur_spreads_a_point_as_a_gaussian():
    point = np.zeros((13, 13, 13), np.float32)
    point[6, 6, 6] = 1
    found = intensity.blurred(point, (0.5, 1.0, 0.8))
    assert found.sum() == pytest.approx(1)
    beside = [found[7, 6, 6], found[6, 7, 6], found[6, 6, 7]]
    for value, deviation in zip(beside, (0.5, 1.0, 0.8), strict=True):
        assert value / found[6, 6, 6] == pytest.approx(math.exp(-0.5 / deviation**2), rel=1e-5)


def test_contrast_by_hand():
    assert intensity.contrasted(np.arange(5, dtype=np.float32), 0.5).tolist() == [1, 1.5, 2, 2.5, 3]
    assert intensity.contrasted(np.arange(5, dtype=np.float32), 1.5).tolist() == [0, 0.5, 2, 3.5, 4]


def test_brightness_by_hand():
    assert intensity.brightened(np.array([-1, 2], np.float32), 0.5).tolist() == [-0.5, 1]


def test_low_resolution_of_a_ramp_is_the_ramp_and_spares_the_slices_of_a_thin_grid():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 40, 40)).copy()
    assert np.array_equal(intensity.coarsened(ramp, 0.5), ramp)  # 40 > 3 * 8: no coarser along the slices
    checks = np.broadcast_to(np.arange(16, dtype=np.float32) % 2, (16, 16, 16)).copy()
    assert len(np.unique(intensity.coarsened(checks, 0.5))) == 1  # every second voxel of it


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_shape_and_type_and_leaves_its_argument(channel, name):
    draw, change = CHANGES[name]
    before = channel.copy()
    changed = change(channel, draw(generator(1)))
    assert changed.shape == channel.shape and changed.dtype == channel.dtype
    assert np.array_equal(channel, before) and not np.array_equal(changed, before)


def test_factors_are_below_one_as_often_as_above():
    draw = CHANGES["gamma"][0]
    drawn = [draw(generator(number)) for number in range(1000)]
    assert 450 < sum(factor < 1 for factor in drawn) < 550
    assert 0.7 <= min(drawn) < 0.72 and 1.48 < max(drawn) <= 1.5


def test_noise_keeps_its_probability_and_its_largest_deviation():
    drawn = [intensity.draw_noise(generator(case), 0.3, 0.1) for case in range(1000)]
    assert 250 < sum(noise is not None for noise in drawn) < 350
    assert max(noise.std for noise in drawn if noise is not None) <= 0.1
