import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from spineloss.data import preprocessing


def test_normalise_by_hand():
    image = np.arange(1000.0).reshape(10, 10, 10)
    low, high = np.percentile(image, [0.5, 99.5])
    clipped = np.clip(image, low, high)
    expected = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(preprocessing.normalise(image), expected, atol=1e-5)


def test_normalise_ignores_outliers():
    image = np.random.default_rng(0).normal(100, 10, (16, 32, 32))
    spiked = image.copy()
    spiked[0, 0, :3] = 1e6
    np.testing.assert_allclose(preprocessing.normalise(spiked)[8], preprocessing.normalise(image)[8], atol=0.05)


def test_normalise_of_a_constant_volume_is_zero():
    assert not preprocessing.normalise(np.full((4, 4, 4), 7)).any()


def test_resize_image_agrees_with_simpleitk():
    array = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 20, 24)), 2).astype(np.float32)
    grid = (16, 32, 32)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid[::-1])
    spacing = np.array(array.shape[::-1]) / grid[::-1]
    resampler.SetOutputSpacing(spacing.tolist())
    resampler.SetOutputOrigin(((spacing - 1) / 2).tolist())
    expected = sitk.GetArrayFromImage(resampler.Execute(sitk.GetImageFromArray(array)))
    ours = preprocessing.resize_image(torch.from_numpy(array)[None], grid)[0].numpy()
    inner = (slice(1, -1),) * 3  # SimpleITK pads outside the outer voxel centres, PyTorch repeats the border
    np.testing.assert_allclose(ours[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("grid", [(16, 64, 64), (32, 32, 32), (32, 224, 224), (48, 16, 80)])
def test_resize_mask_keeps_the_volume(grid):
    z, y, x = np.ogrid[:39, :60, :60]
    ball = ((z - 20) / 12) ** 2 + ((y - 30) / 18) ** 2 + ((x - 25) / 15) ** 2 < 1
    resized = preprocessing.resize_mask(torch.from_numpy(ball)[None], grid)
    share = resized.float().mean().item()
    assert share == pytest.approx(ball.mean(), rel=0.005)
    same = preprocessing.resize_image(torch.from_numpy(ball)[None].float(), grid) > 0.5
    overlap = 2 * (same & resized.bool()).sum() / (same.sum() + resized.sum())
    assert overlap > 0.97


def test_resize_mask_keeps_empty_empty_and_specks_alive():
    mask = torch.zeros(2, 32, 64, 64, dtype=torch.bool)
    mask[1, 5, 5, 5] = True
    assert preprocessing.resize_mask(mask, (16, 16, 16)).sum(dim=(1, 2, 3)).tolist() == [0, 1]


def test_channels_of_labels():
    label_map = np.array([[[0, 1, 2, 5]]])
    assert preprocessing.channels_of(label_map, [1, 5], "merged").astype(int).tolist() == [[[[0, 1, 0, 1]]]]
    assert preprocessing.channels_of(label_map, [1, 5], "per-label").shape == (2, 1, 1, 4)
