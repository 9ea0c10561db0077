"""Several image channels: where they lie, how they reach the grid, and which files are one case."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from data.test_cases import myosegmentum, save, volume
from data.test_layouts import prepared, raw
from spineloss.data import volumes
from spineloss.data.cases import read_images
from spineloss.data.check import check
from spineloss.data.layouts import find_cases
from spineloss.data.preprocessing import normalise, resize_image
from spineloss.data.unsegmented import unsegmented_cases
from spineloss.errors import UserError

TWO = {"channel_names": {"0": "T1", "1": "T2"}}


def numbered(folder):
    return raw(folder, 2, TWO)


def in_one_nifti(folder):
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "T1", "1": "T2"}}))
    for case in range(2):
        channels = sitk.JoinSeries([volume(10 * case), volume(10 * case + 1)])
        save(channels, folder / "imagesTr" / f"c{case}.nii.gz")
        save(volume(labels=True), folder / "labelsTr" / f"c{case}.nii.gz")
    return folder


def components(folder):
    for case in range(2):
        save(sitk.Compose([volume(10 * case), volume(10 * case + 1)]), folder / "images" / f"c{case}.mha")
        save(volume(labels=True), folder / "masks" / f"c{case}.mha")
    return folder


def columns(folder):
    raw(folder, 2)
    lines = ["case,Image_T1,image_T2,mask"]
    lines += [f"c{n},imagesTr/c{n}_0000.nii.gz,imagesTr/c{n}_0001.nii.gz,labelsTr/c{n}.nii.gz" for n in range(2)]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.mark.parametrize("layout", [numbered, in_one_nifti, components, columns])
def test_channels_are_found_and_normalised_each_by_itself(layout, tmp_path):
    source = layout(tmp_path)
    found = find_cases(source)
    assert found.channels == (("channel 0", "channel 1") if layout is components else ("T1", "T2"))
    assert check(found).problems == []
    data = prepared(source)
    assert data.channels == found.channels
    image = data.samples["c1"].image
    assert image.shape == (2, 16, 16, 16)
    for seed, channel in zip((10, 11), image, strict=True):
        turned = volumes.array_of(volumes.orient(volume(seed), data.orientation))
        expected = resize_image(torch_of(normalise(turned)), (16, 16, 16))[0]
        np.testing.assert_allclose(channel, expected, atol=1e-5)


def torch_of(array):
    import torch

    return torch.from_numpy(array)[None]


def test_channels_that_dataset_json_names_are_corrected(tmp_path):
    """The report of a check is kept, and is not that of other channels."""
    source = in_one_nifti(tmp_path)
    two, three = {"0": "T1", "1": "T2"}, {"0": "T1", "1": "T2", "2": "T3"}
    for said in (three, two, three):
        (source / "dataset.json").write_text(json.dumps({"modality": said}))
        if said is two:
            assert prepared(source).channels == ("T1", "T2")
        else:
            with pytest.raises(UserError, match="but the data set has 3"):
                prepared(source)


def test_a_study_takes_the_channels_that_it_names_in_its_order(tmp_path):
    source = numbered(tmp_path)
    both, swapped, one = (prepared(source, channels=names) for names in (None, ("T2", "T1"), ("T2",)))
    assert np.array_equal(both.samples["c0"].image.flip(0), swapped.samples["c0"].image)
    assert np.array_equal(both.samples["c0"].image[1:], one.samples["c0"].image)
    assert len({data.digest for data in (both, swapped, one)}) == 3
    with pytest.raises(UserError, match="has the channels T1, T2: .* 'T3' is none"):
        prepared(source, channels=("T3",))
    with pytest.raises(UserError, match="'T1' is named twice"):
        prepared(source, channels=("T1", "T1"))


def test_the_thesis_takes_water_alone_of_its_three_channels(tmp_path):
    source = myosegmentum(tmp_path)
    layout = find_cases(source)
    assert layout.channels == ("WATER", "FAT", "PDFF") and len(read_images(layout.cases[0])) == 3
    assert prepared(source).channels == ("WATER",)
    assert prepared(source, channels=("WATER", "FAT")).samples["c1"].image.shape[0] == 2
    (tmp_path / "c2" / "vertebrae" / "FAT.dcm").unlink()
    assert find_cases(source).channels == ("WATER", "PDFF")


def test_a_channel_that_lies_elsewhere_or_is_missing_is_told(tmp_path):
    source = numbered(tmp_path)
    moved = volume(5)
    moved.SetSpacing((0.9, 0.8, 3.0))
    save(moved, source / "imagesTr" / "c0_0001.nii.gz")
    (problem,) = check(find_cases(source)).problems
    assert "c0_0001.nii.gz has another spacing than" in problem.sentence and problem.case == "c0"
    (source / "imagesTr" / "c0_0001.nii.gz").unlink()
    (problem,) = find_cases(source).problems
    assert "c0 has the channels _0000, but the data set 2 (T1, T2)" in problem.sentence


def test_a_file_with_another_number_of_channels_is_told(tmp_path):
    source = in_one_nifti(tmp_path)
    save(sitk.JoinSeries([volume(seed) for seed in range(3)]), source / "imagesTr" / "c1.nii.gz")
    (problem,) = check(find_cases(source)).problems
    assert "c1.nii.gz makes a case of 3 channels, but the data set has 2 (T1, T2)" in problem.sentence


def files(folder, *names):
    for name in names:
        save(volume(1), folder / f"{name}.mha")
    return [folder / f"{name}.mha" for name in names]


def found(paths, channels=("T1", "T2")):
    return {case.id: [path.name[:-4] for path in case.images] for case in unsegmented_cases(paths, channels)}


def test_files_are_one_case_by_number_by_name_or_by_place(tmp_path):
    assert found(files(tmp_path, "a_0001", "a_0000", "b_0000", "b_0001")) == {
        "a": ["a_0000", "a_0001"],
        "b": ["b_0000", "b_0001"],
    }
    assert found(files(tmp_path, "s1_T2", "s1_t1", "s2-T1", "s2-T2")) == {
        "s1": ["s1_t1", "s1_T2"],
        "s2": ["s2-T1", "s2-T2"],
    }
    assert found(files(tmp_path, "one", "two")) == {"one": ["one", "two"]}
    assert found(files(tmp_path, "x", "y", "z")) == {"x": ["x"], "y": ["y"], "z": ["z"]}
    assert found(files(tmp_path / "31" / "vertebrae", "FAT", "WATER"), ("WATER", "FAT")) == {
        "vertebrae": ["WATER", "FAT"]
    }
    assert found(files(tmp_path, "a_0000", "c2"), ("image",)) == {"a_0000": ["a_0000"], "c2": ["c2"]}
    assert found(files(tmp_path, "case_2", "case_1"), ("1", "2")) == {"case_2": ["case_2", "case_1"]}


@pytest.mark.parametrize("make", [in_one_nifti, components])
def test_as_many_files_of_all_channels_as_there_are_channels_are_cases(tmp_path, make):
    images = sorted((make(tmp_path) / ("imagesTr" if make is in_one_nifti else "images")).iterdir())
    cases = unsegmented_cases(images, ("T1", "T2"))
    assert [case.images for case in cases] == [(image,) for image in images]
    images[0].write_bytes(b"damaged")  # it fails alone
    assert len(unsegmented_cases(images, ("T1", "T2"))) == 2


def test_a_wrong_order_is_told_where_names_show_it(tmp_path):
    with pytest.raises(UserError, match="a_T2_0000.mha is the file of T1 by its number and of T2 by its name"):
        found(files(tmp_path, "a_T2_0000", "a_T1_0001"))
    with pytest.raises(UserError, match="both the T1 of a: keep one"):
        found([*files(tmp_path, "a_0000"), tmp_path / "a_0000.mha"])
