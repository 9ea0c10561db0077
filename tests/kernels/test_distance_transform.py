import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from spineloss.kernels import native
from spineloss.kernels.distance_transform import (
    _plain,
    distance_map,
    signed_distance_map,
    signed_distance_maps,
)
from spineloss.kernels.native import libraries

RANDOM = np.random.default_rng(0)
MASKS = {
    "random": RANDOM.random((9, 14, 11)) < 0.3,
    "sparse": RANDOM.random((9, 14, 11)) < 0.005,
    "single voxel": np.pad(np.ones((1, 1, 1), bool), ((4, 4), (7, 6), (5, 5))),
    "touching the border": np.pad(np.ones((5, 14, 4), bool), ((0, 4), (0, 0), (7, 0))),
    "wide": RANDOM.random((3, 40, 37)) < 0.01,
    "2D": RANDOM.random((14, 11)) < 0.2,
}


@pytest.fixture(params=[4, 8, 16, "plain"], autouse=True)
def each_way(request, monkeypatch):
    """With the compiled transform, of each width of vectors, and without."""
    functions = None if request.param == "plain" else libraries().get(request.param)
    if functions is None and request.param != "plain":
        pytest.skip(f"this processor, or this installation, has no vectors of {request.param} floats")
    monkeypatch.setattr(native, "library", lambda: functions)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 0.9, 0.9), (0.7, 3.0, 1.3)])
def test_exact_as_scipy(mask, spacing):
    spacing = spacing[: mask.ndim]
    outside = ndimage.distance_transform_edt(~mask, spacing)
    inside = ndimage.distance_transform_edt(mask, spacing)
    np.testing.assert_allclose(distance_map(mask, spacing), outside, rtol=1e-5)
    np.testing.assert_allclose(signed_distance_map(mask, spacing), outside - inside, rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 0.9, 0.9), (0.7, 3.0, 1.3)])
def test_exact_as_every_pair_of_voxels(mask, spacing):
    places = np.stack(np.meshgrid(*map(np.arange, mask.shape), indexing="ij"), -1) * spacing[: mask.ndim]
    inside, outside = places[mask], places[~mask]
    expected = np.empty(mask.shape)
    expected[mask] = -np.linalg.norm(inside[:, None] - outside, axis=-1).min(1)
    expected[~mask] = np.linalg.norm(outside[:, None] - inside, axis=-1).min(1)
    np.testing.assert_allclose(signed_distance_map(mask, spacing[: mask.ndim]), expected, rtol=1e-5)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 0.9, 0.9), (0.7, 3.0, 1.3)])
def test_the_transform_of_other_devices_is_exact_too(spacing):
    volumes = [mask for mask in MASKS.values() if mask.shape == (9, 14, 11)]
    volumes += [np.zeros_like(volumes[0]), np.ones_like(volumes[0])]
    found = _plain(torch.from_numpy(np.stack(volumes)), spacing)
    for mask, distances in zip(volumes, found, strict=True):
        np.testing.assert_allclose(distances, signed_distance_map(mask, spacing), rtol=1e-5)


def test_the_transform_of_other_devices_is_exact_over_long_axes():
    mask = np.zeros((1, 70, 90), bool)
    mask[0, 3, 5] = mask[0, 60:, 80:] = True
    found = _plain(torch.from_numpy(mask)[None], (2.0, 1.5, 0.5))
    np.testing.assert_allclose(found[0], signed_distance_map(mask, (2.0, 1.5, 0.5)), rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_keeps_its_masks_and_finds_the_same():
    masks = torch.from_numpy(np.stack([mask for mask in MASKS.values() if mask.shape == (9, 14, 11)]))[None]
    found = signed_distance_maps(masks.cuda(), (4.0, 0.9, 0.9))
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), signed_distance_maps(masks, (4.0, 0.9, 0.9)))


@pytest.mark.parametrize("value", [False, True])
def test_no_boundary_is_zero(value):
    assert not signed_distance_map(np.full((4, 5, 6), value)).any()
    assert not distance_map(np.full((4, 5, 6), value)).any()


def test_a_mask_of_any_bytes_and_strides_is_read_as_it_is():
    mask = MASKS["random"]
    expected = signed_distance_map(mask)
    odd = (mask.astype(np.uint8) * 6).view(bool)
    np.testing.assert_array_equal(signed_distance_map(odd), expected)
    np.testing.assert_array_equal(signed_distance_map(mask[::-1, :, ::-1].copy()[::-1, :, ::-1]), expected)
    maps = signed_distance_maps(torch.from_numpy(mask).permute(2, 0, 1).contiguous().permute(1, 2, 0)[None, None])
    np.testing.assert_array_equal(maps[0, 0], expected)


def test_a_line_is_a_mask_too():
    np.testing.assert_allclose(signed_distance_map(np.array([1, 1, 0, 0, 0], bool), (2.0,)), [-4, -2, 2, 4, 6])


def test_nothing_has_no_distances():
    assert signed_distance_maps(torch.zeros(2, 1, 0, 5)).shape == (2, 1, 0, 5)


def test_each_sample_and_channel_apart_with_its_own_spacing():
    masks = torch.from_numpy(RANDOM.random((2, 2, 5, 8, 7)) < 0.2)
    spacing = torch.tensor([[1.0, 1.0, 1.0], [4.0, 0.9, 0.9]])
    maps = signed_distance_maps(masks, spacing)
    for sample in range(2):
        for channel in range(2):
            alone = signed_distance_map(masks[sample, channel].numpy(), spacing[sample].tolist())
            np.testing.assert_array_equal(maps[sample, channel].numpy(), alone)


def test_a_real_vertebral_column_is_exact(lumbar):
    mask = sitk.GetArrayFromImage(sitk.ReadImage(next((lumbar / "masks").iterdir()))) > 0
    expected = ndimage.distance_transform_edt(~mask, (4, 0.9, 1.1)) - ndimage.distance_transform_edt(
        mask, (4, 0.9, 1.1)
    )
    np.testing.assert_allclose(signed_distance_map(mask, (4, 0.9, 1.1)), expected, rtol=1e-5)
