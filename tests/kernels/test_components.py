import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from spineloss.kernels import native
from spineloss.kernels.components import _plain, components_of, nearest_components, nearest_numbers
from spineloss.kernels.native import libraries

RANDOM = np.random.default_rng(0)
SPACINGS = [(1, 1, 1), (4, 0.9, 0.9), (0.7, 3.0, 1.3)]
MASKS = {
    f"{share} of {shape}": RANDOM.random(shape) < share
    for shape in [(9,), (14, 11), (9, 14, 11), (1, 7, 33)]
    for share in (0.02, 0.15, 0.5)
}


@pytest.fixture(params=[4, 8, 16, "plain"])
def each_way(request, monkeypatch):
    """With the compiled search, of each width of vectors, and without."""
    functions = None if request.param == "plain" else libraries().get(request.param)
    if functions is None and request.param != "plain":
        pytest.skip(f"this processor, or this installation, has no vectors of {request.param} floats")
    monkeypatch.setattr(native, "library", lambda: functions)


def volumes(mask):
    return torch.from_numpy(mask)[None, None]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_components_are_those_of_scipy(mask):
    expected, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    np.testing.assert_array_equal(components_of(volumes(mask))[0, 0], expected)


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything(value):
    mask = torch.full((2, 1, 3, 4), value)
    assert (components_of(mask) == int(value)).all()
    assert (nearest_components(mask) == 1).all()
    assert components_of(torch.zeros(0, 1, 3, 4, dtype=torch.bool)).shape == (0, 1, 3, 4)


@pytest.mark.parametrize("mask", [mask for mask in MASKS.values() if mask.ndim > 1])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_nearest_is_as_near_as_scipy_says(mask, spacing, each_way):
    spacing = spacing[-mask.ndim :]
    numbers, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    found = nearest_numbers(torch.from_numpy(numbers.astype(np.int32))[None, None], spacing)[0, 0].numpy()
    distances = np.stack([ndimage.distance_transform_edt(numbers != k, spacing) for k in range(1, count + 1)])
    at_found = np.take_along_axis(distances, found[None] - 1, 0)[0]
    np.testing.assert_allclose(at_found, distances.min(0), rtol=1e-5)
    assert (found[mask] == numbers[mask]).all()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_plain_operations_break_ties_alike(spacing):
    numbers = components_of(torch.from_numpy(RANDOM.random((3, 1, 9, 14, 11)) < 0.02))
    plain = torch.stack([_plain(each, spacing) for each in numbers])
    same = (plain == nearest_numbers(numbers, spacing)).double().mean()
    # Two distances that are equal on paper may be rounded apart.
    assert same == 1 if spacing == (1, 1, 1) else same > 0.99


def test_without_a_number_there_is_none(each_way):
    assert not nearest_numbers(torch.zeros(1, 2, 3, 4, 5, dtype=torch.int32)).any()


def test_each_sample_and_channel_apart_with_its_own_spacing():
    masks = torch.from_numpy(RANDOM.random((2, 2, 5, 8, 7)) < 0.05)
    spacing = torch.tensor([[1.0, 1.0, 1.0], [4.0, 0.9, 0.9]])
    found = nearest_components(masks, spacing)
    for sample in range(2):
        for channel in range(2):
            alone = nearest_components(masks[sample, channel][None, None], spacing[sample])
            assert torch.equal(found[sample, channel], alone[0, 0])


def test_the_vertebrae_of_a_real_spine(lumbar):
    mask = sitk.GetArrayFromImage(sitk.ReadImage(next((lumbar / "masks").iterdir()))) > 0
    expected, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count > 1
    np.testing.assert_array_equal(components_of(volumes(mask))[0, 0], expected)
    nearest = ndimage.distance_transform_edt(~mask, (4, 0.9, 1.1), return_distances=False, return_indices=True)
    found = nearest_components(volumes(mask), (4, 0.9, 1.1))[0, 0].numpy()
    assert (found == expected[tuple(nearest)]).mean() > 0.999  # but for ties
