import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from spineloss.data.check import check
from spineloss.data.layouts import find_cases
from spineloss.data.phantom import make_case, write_phantom
from spineloss.data.volumes import orientation_of
from spineloss.errors import UserError


@pytest.fixture(scope="module", params=["lumbar", "cervical"])
def cases(request):
    return request.param, [make_case(request.param, 21, case) for case in range(3)]


def test_every_vertebra_is_there_once(cases):
    anatomy, made = cases
    for _, labels in made:
        assert sorted(np.unique(labels)) == list(range(6 if anatomy == "lumbar" else 8))
        for label in np.unique(labels)[1:]:
            parts, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
            largest = np.bincount(parts.ravel())[1:].max()
            assert largest > 0.9 * (labels == label).sum(), f"label {label} is in {count} parts"


def test_vertebrae_follow_each_other_downward(cases):
    for _, labels in cases[1]:
        rows = [np.argwhere(labels == label)[:, 1].mean() for label in np.unique(labels)[1:]]
        assert rows == sorted(rows)


def test_the_foreground_is_as_scarce_as_in_real_volumes(cases):
    for _, labels in cases[1]:
        assert 0.02 < (labels > 0).mean() < 0.12


def test_cases_differ_and_come_again(cases):
    anatomy, made = cases
    assert not np.array_equal(made[0][1], made[1][1])
    again = make_case(anatomy, 21, 0)
    assert np.array_equal(again[0], made[0][0]) and np.array_equal(again[1], made[0][1])
    assert not np.array_equal(make_case(anatomy, 22, 0)[0], made[0][0])


def test_noise_is_rician():
    image, _ = make_case("lumbar", 21, 0)
    air = image[:, :, -4:].astype(float)
    # In air, where there is no signal, Rician noise is Rayleigh: mean / std = sqrt(pi / (4 - pi)).
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.05)


def test_files_are_a_clean_data_set_of_sagittal_slices(tmp_path):
    paths = write_phantom(tmp_path, "lumbar", cases=2, seed=3)
    assert orientation_of(sitk.ReadImage(paths[0])) == "PIL"
    report = check(find_cases(tmp_path))
    assert (len(report.rows), report.problems) == (2, [])


def test_an_unknown_anatomy_is_told():
    with pytest.raises(UserError, match="lumbar or cervical"):
        make_case("thoracic", 1, 1)
