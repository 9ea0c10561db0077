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


def touching():
    """A ball of two halves with a core, each a label, (1, 39, 60, 60), and their volumes in voxels."""
    z, y, x = np.ogrid[:39, :60, :60]
    ball = ((z - 20) / 12) ** 2 + ((y - 30) / 18) ** 2 + ((x - 25) / 15) ** 2
    labels = np.where(ball < 1, np.where(y < 26, 1, 2), 0)
    labels[ball < 0.1] = 3
    return torch.from_numpy(labels.astype(np.uint8))[None], np.bincount(labels.ravel())


@pytest.mark.parametrize("grid", [(16, 64, 64), (32, 32, 32), (32, 224, 224), (48, 16, 80)])
def test_resize_labels_keeps_the_volume_of_each_and_stays_near_the_likeliest(grid):
    labels, volumes = touching()
    resized = preprocessing.resize_labels(labels, grid)
    wanted = volumes / volumes.sum() * np.prod(grid)
    np.testing.assert_allclose(np.bincount(resized.flatten())[1:], wanted[1:], atol=0.5)
    shares = torch.stack([(labels[0] == label).float() for label in range(4)])
    likeliest = preprocessing.resize_image(shares, grid).argmax(0)
    for label in (1, 2, 3):
        mine, theirs = resized[0] == label, likeliest == label
        assert 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()) > 0.85


def test_resize_labels_loses_no_speck_and_invents_none():
    labels = torch.full((1, 32, 64, 64), 7, dtype=torch.uint8)
    labels[0, :, :, :32] = 0
    labels[0, 5, 5, 50] = 2
    resized = preprocessing.resize_labels(labels, (16, 16, 16))
    assert (resized == 2).nonzero().tolist() == [[0, 2, 1, 12]]
    assert (resized == 7).sum() == 16**3 / 2 - 1 and not resized[..., :8].any()


@pytest.mark.parametrize("resize", [preprocessing.resize_labels, preprocessing.resize_mask])
def test_what_is_ignored_stays_so_and_leaks_into_nothing(resize):
    labels, _ = touching()
    labels = (labels > 0).to(torch.uint8)
    labels[:, :, 40:] = preprocessing.IGNORED
    resized = resize(labels, (16, 30, 30))
    ignored = resized == preprocessing.IGNORED
    assert ignored[:, :, 20:].all() and not ignored[:, :, :20].any()
    share = (resized == 1).sum() / (~ignored).sum()
    assert share.item() == pytest.approx((labels == 1).sum().item() / (39 * 40 * 60), abs=1 / (16 * 20 * 30))


def test_a_voxel_is_ignored_when_mostly_ignored():
    labels = torch.full((1, 2, 2, 6), preprocessing.IGNORED, dtype=torch.uint8)
    labels[..., :2] = 2  # the first voxel of the grid is all of it
    labels[0, 0, :, 2] = 3  # the second one a quarter
    labels[0, :, :, 4] = torch.tensor([[3, 3], [2, 3]])  # the third one half: three to one
    assert preprocessing.resize_labels(labels, (1, 1, 3)).tolist() == [[[[2, 255, 3]]]]
