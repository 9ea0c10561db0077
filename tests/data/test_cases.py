import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.data.cases import read_case
from spineloss.data.check import check
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError


def volume(seed=0, labels=False, shape=(6, 10, 8), code="PIR"):
    random = np.random.default_rng(seed)
    array = random.integers(1, 900, shape).astype(np.uint16)
    if labels:
        array = np.zeros(shape, np.uint8)
        array[2:4, 3:7, 2:5] = 1
        array[2:4, 7:9, 2:5] = 2
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 0.8, 4.0))
    image.SetDirection(sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code))
    image.SetOrigin((3.0, -20.0, 7.5))
    return image


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, path)


def paired(folder, suffix=".mha", count=2):
    for case in range(1, count + 1):
        save(volume(case), folder / "images" / f"c{case}{suffix}")
        save(volume(labels=True), folder / "masks" / f"c{case}{suffix}")
    return folder


def nnunet(folder):
    for case in (1, 2):
        save(volume(case), folder / "imagesTr" / f"c{case}_0000.nii.gz")
        save(volume(labels=True), folder / "labelsTr" / f"c{case}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI"}}))
    return folder


def myosegmentum(folder):
    for case in ("c1", "c2"):
        for kind in ("WATER", "FAT", "PDFF"):
            save(volume(int(case[1])), folder / case / "vertebrae" / f"{kind}.dcm")
        # DICOM rewrites the geometry: the masks take it from the image, as the data set's do.
        image = volumes.read(folder / case / "vertebrae" / "WATER.dcm")
        for label in (1, 2):
            mask = sitk.GetImageFromArray((sitk.GetArrayFromImage(volume(labels=True)) == label).astype(np.uint8))
            mask.CopyInformation(image)
            save(mask, folder / case / "vertebrae" / f"L{label}.mha")
    return folder


def cervical(folder):
    for case in (1, 2):
        save(volume(case), folder / f"c{case}" / f"data_c{case}.nii.gz")
        save(volume(labels=True), folder / f"c{case}" / f"label_c{case}.nii.gz")
    return folder


def manifest(folder):
    paired(folder)
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("case", "image", "mask"), *((f"c{n}", f"images/c{n}.mha", f"masks/c{n}.mha") for n in (1, 2))]
        )
    return folder / "list.csv"


@pytest.mark.parametrize("layout", [paired, nnunet, myosegmentum, cervical, manifest])
def test_layouts_are_found_by_looking(layout, tmp_path):
    source = layout(tmp_path)
    found = find_cases(source)
    assert [case.id for case in found.cases] == ["c1", "c2"] and not found.problems
    (image, *_), labels = read_case(found.cases[0], "PIR")
    assert image.GetSize() == labels.GetSize()
    assert np.unique(volumes.array_of(labels)).tolist() == [0, 1, 2]
    report = check(find_cases(source))
    assert report.problems == []
    assert report.rows[0].voxels == {1: 24, 2: 12}


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nii", ".nii.gz", ".nrrd"])
def test_formats(suffix, tmp_path):
    report = check(find_cases(paired(tmp_path, suffix)))
    assert report.problems == []
    assert report.rows[0].shape == (6, 10, 8)
    assert report.rows[0].spacing == pytest.approx((4.0, 0.8, 0.9))


def test_a_dicom_series(tmp_path):
    array = np.random.default_rng(0).integers(0, 900, (5, 10, 8)).astype(np.int16)
    folder = tmp_path / "series"
    folder.mkdir()
    for index, plane in enumerate(array):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.9, 0.8, 4.0))
        image.SetMetaData("0020|000e", "1.2.3.4")
        image.SetMetaData("0020|0032", f"0\\0\\{4.0 * index}")
        image.SetMetaData("0020|0013", str(index))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(image)
    read = volumes.read(folder)
    assert volumes.array_of(read).shape == (5, 10, 8)
    assert np.array_equal(np.sort(volumes.array_of(read), axis=None), np.sort(array, axis=None))
    assert volumes.spacing_of(read) == pytest.approx((4.0, 0.8, 0.9))


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SAL"])
def test_orientation_means_the_same_in_every_file_and_is_undone_exactly(code):
    original = volume(1)
    turned = sitk.DICOMOrient(original, code)
    assert np.array_equal(
        volumes.array_of(volumes.orient(turned, "PIL")), volumes.array_of(volumes.orient(original, "PIL"))
    )
    back = volumes.restore(volumes.orient(turned, "PIL"), turned)
    assert np.array_equal(volumes.array_of(back), volumes.array_of(turned))
    assert back.GetOrigin() == turned.GetOrigin() and back.GetDirection() == turned.GetDirection()


def spoil(folder, how):
    image, mask = folder / "images" / "c1.mha", folder / "masks" / "c1.mha"
    if how == "missing mask":
        mask.unlink()
    elif how == "extra mask":
        image.unlink()
    elif how == "unreadable":
        image.write_bytes(image.read_bytes()[:100])
    elif how == "geometry":
        moved = sitk.ReadImage(mask)
        moved.SetSpacing((0.9, 0.8, 3.0))
        save(moved, mask)
    elif how == "NaN":
        array = sitk.GetArrayFromImage(sitk.ReadImage(image)).astype(np.float32)
        array[0, 0, 0] = np.nan
        broken = sitk.GetImageFromArray(array)
        broken.CopyInformation(sitk.ReadImage(image))
        save(broken, image)
    elif how == "empty mask":
        save(sitk.ReadImage(mask) * 0, mask)
    elif how == "labels":
        save(sitk.Cast(sitk.ReadImage(mask), sitk.sitkFloat32) * 0.3, mask)
    elif how == "duplicate":
        save(sitk.ReadImage(folder / "images" / "c2.mha"), image)


@pytest.mark.parametrize(
    "how", ["missing mask", "extra mask", "unreadable", "geometry", "NaN", "empty mask", "labels", "duplicate"]
)
def test_every_problem_is_found_and_named(how, tmp_path):
    folder = paired(tmp_path, count=3)
    spoil(folder, how)
    (problem,) = check(find_cases(folder)).problems
    assert problem.kind == how
    assert "c1" in problem.sentence or "c2" in problem.sentence
    assert "\n" not in problem.sentence


def test_a_mask_of_one_label_that_lies_elsewhere_than_the_others_or_has_nan_is_refused(tmp_path):
    folder = myosegmentum(tmp_path)
    second = folder / "c1" / "vertebrae" / "L2.mha"
    mask = sitk.ReadImage(second)
    mirrored = sitk.Flip(mask, [True, False, False])
    # The same voxels in space: the grid alone is another.
    assert mirrored.GetSize() == mask.GetSize() and mirrored.GetDirection() != mask.GetDirection()
    array = sitk.GetArrayFromImage(mask).astype(np.float32)
    array[0, 0, 0] = np.nan
    broken = sitk.GetImageFromArray(array)
    broken.CopyInformation(mask)
    for image, reason in (
        (mirrored, "another direction than the masks beside it"),
        (broken, "1 voxels that are NaN"),
    ):
        save(image, second)
        (problem,) = check(find_cases(folder)).problems
        assert reason in problem.sentence and str(second) in problem.sentence and problem.case == "c1"


def test_a_mask_of_one_label_that_lies_over_others_is_said(tmp_path):
    folder = myosegmentum(tmp_path)
    masks = [folder / "c1" / "vertebrae" / f"L{label}.mha" for label in (1, 2)]
    save(sitk.ReadImage(masks[0]) | sitk.ReadImage(masks[1]), masks[1])
    report = check(find_cases(folder))
    (overlap,) = [remark.sentence for remark in report.remarks if "lies over" in remark.sentence]
    assert overlap == f"{masks[1]} lies over the masks before it in 24 voxels, which get its label 2."
    assert report.problems == [] and report.rows[0].voxels == {2: 36}


@pytest.mark.parametrize("content", [None, "empty", "case,picture\n1,2\n", "case,image,mask\na/b,i,m\n"])
def test_what_is_no_data_is_told(content, tmp_path):
    source = tmp_path / "data"
    if content == "empty":
        source.mkdir()
    elif content is not None:
        source.write_text(content)
    with pytest.raises(UserError, match="data"):
        find_cases(source)


def test_the_real_lumbar_volumes_are_clean_and_keep_their_volume(lumbar):
    import torch

    from spineloss.data.preprocessing import resize_labels, resize_mask

    report = check(find_cases(lumbar))
    assert (len(report.rows), report.problems) == (30, [])
    geometries = [(row.spacing, row.orientation) for row in report.rows]
    assert volumes.slices_first(geometries) == "PIL"
    for case in find_cases(lumbar).cases[:6]:
        _, labels = read_case(case, "PIL")
        label_map = torch.from_numpy(volumes.array_of(labels))[None]
        mask = label_map > 0
        for grid in ((16, 64, 64), (32, 224, 224)):
            share = resize_mask(mask, grid).float().mean() / mask.float().mean()
            assert share.item() == pytest.approx(1, abs=0.02)
            resized = resize_labels(label_map, grid)
            for label in range(1, 6):
                share = (resized == label).float().mean() / (label_map == label).float().mean()
                assert share.item() == pytest.approx(1, abs=0.02)


def test_the_real_hippocampus_volumes_are_clean(hippocampus):
    report = check(find_cases(hippocampus))
    assert (len(report.rows), report.problems) == (160, [])
    assert all(set(row.voxels) == {1, 2} for row in report.rows)
