import errno
import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from data.test_cases import paired, save, volume
from spineloss.data.cache import Cache
from spineloss.data.cases import read_case
from spineloss.data.check import check
from spineloss.data.dataset import prepare
from spineloss.data.layouts import find_cases
from spineloss.data.nnunet_layout import read_layout
from spineloss.errors import UserError
from spineloss.study.yaml_text import read_yaml

GRID = (16, 16, 16)


def prepared(source, *, leave_out=(), cache=None, labels="all", target="merged", channels=None):
    return prepare(
        source,
        grid=GRID,
        labels=labels,
        target=target,
        channels=channels,
        leave_out=leave_out,
        cache=cache or Cache(),
        progress=lambda line: None,
    )


def raw(folder, channels=1, description=None, cases=2):
    for case in range(cases):
        for channel in range(channels):
            save(volume(10 * case + channel), folder / "imagesTr" / f"c{case}_{channel:04d}.nii.gz")
        save(volume(labels=True), folder / "labelsTr" / f"c{case}.nii.gz")
    if description is not None:
        (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_two_files_of_one_stem_are_refused_by_both_names(tmp_path):
    folder = paired(tmp_path, count=3)
    save(volume(9), folder / "images" / "c1.nii.gz")
    save(volume(labels=True), folder / "masks" / "c2.NRRD.nrrd")
    save(volume(labels=True), folder / "masks" / "c3.nrrd")
    problems = {problem.case: problem for problem in find_cases(folder).problems}
    assert "c1.mha and" in problems["c1"].sentence and "c1.nii.gz" in problems["c1"].sentence
    assert "masks/c3.mha" in problems["c3"].sentence and "c3.nrrd" in problems["c3"].sentence


@pytest.mark.parametrize(
    "bad", ["03", "010", "08", "no", "1e3", "2020-01-01", "x, y", "a: b", "[c]", "ü", "it's", "null", "#1"]
)
def test_the_printed_leave_out_works_when_pasted(tmp_path, bad):
    for number, name in enumerate(("1", "2", bad)):
        save(volume(number), tmp_path / "images" / f"{name}.mha")
        save(volume(labels=True) * (name != bad), tmp_path / "masks" / f"{name}.mha")
    with pytest.raises(UserError) as error:
        prepared(tmp_path)
    message = str(error.value)
    (tmp_path / "study.yaml").write_text(message[message.index("`leave_out") + 1 : message.rindex("`")])
    remedy, _ = read_yaml(tmp_path / "study.yaml")
    assert remedy == {"leave_out": [bad]}
    assert list(prepared(tmp_path, leave_out=remedy["leave_out"]).samples) == ["1", "2"]


@pytest.mark.parametrize(
    ("left_out", "still"),
    [((), ["c2", "c3"]), (["c1"], ["c3"]), (["c3"], ["c2"]), (["c1", "c2"], []), (["c2"], ["c3"])],
)
def test_of_copies_any_one_can_be_kept(tmp_path, left_out, still):
    paired(tmp_path, count=4)
    for name in ("c2", "c3"):
        shutil.copy(tmp_path / "images" / "c1.mha", tmp_path / "images" / f"{name}.mha")
    if still:
        with pytest.raises(UserError) as error:
            prepared(tmp_path, leave_out=left_out)
        assert json.dumps([*left_out, *still]) in str(error.value)
    assert len(prepared(tmp_path, leave_out=[*left_out, *still]).samples) == 2


def test_leaving_out_everything_or_nobody_is_said(tmp_path):
    paired(tmp_path)
    with pytest.raises(UserError, match="no case left"):
        prepared(tmp_path, leave_out=["c1", "c2"])
    with pytest.raises(UserError, match="no case 'c9'"):
        prepared(tmp_path, leave_out=["c9"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "utf-8"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_manifest_as_spreadsheets_write_it(tmp_path, encoding, delimiter):
    paired(tmp_path)
    os.rename(tmp_path / "images" / "c2.mha", tmp_path / "images" / "für.mha")
    lines = [
        "Case;Image;Mask;Comment;;",
        "1;images\\c1.mha;masks\\c1.mha;ü",
        'b;"images/für.mha";masks/c2.mha;',
        ";;;",
    ]
    text = "\r\n".join(lines).replace(";", delimiter)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    layout = find_cases(tmp_path / "list.csv")
    assert [case.id for case in layout.cases] == ["1", "b"] and not layout.problems
    assert check(layout).problems == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line"),
        (b"case,image,mask\n", "lists no case"),
        (b"PK\x03\x04\0\0", "binary"),
        (b"case,image,mask\na,b,c\na,b,c\n", "line 3"),
        (b"case,image,mask\na,b\n", "line 2"),
        (b"case,image,Image,mask\na,b,c,b\n", "the column 'image' twice: .* such as image_T1"),
        (b"case,image_T1,image_T1,mask\na,b,c,b\n", "the column 'image_T1' twice"),
        (b"case,image,mask,mask\na,b,c,b\n", "the column 'mask' twice"),
    ],
)
def test_what_is_no_manifest_is_explained(tmp_path, content, reason):
    (tmp_path / "list.csv").write_bytes(content)
    (tmp_path / "b").touch()
    (tmp_path / "c").touch()
    with pytest.raises(UserError, match=reason):
        find_cases(tmp_path / "list.csv")


def test_names_in_another_encoding_are_problems_and_the_others_go_on(tmp_path):
    paired(tmp_path)
    for kind in ("images", "masks"):
        os.rename(tmp_path / kind / "c2.mha", os.fsencode(tmp_path / kind) + b"/caf\xe9.mha")
    layout = find_cases(tmp_path)
    assert [case.id for case in layout.cases] == ["c1"]
    (problem,) = layout.problems
    assert "rename it" in problem.sentence and problem.sentence.isprintable() and problem.case == r"caf\xe9"


def test_a_pipe_and_a_link_loop_in_a_folder_are_problems(tmp_path):
    paired(tmp_path, count=3)
    for name in ("c1", "c2"):
        (tmp_path / "images" / f"{name}.mha").unlink()
    os.mkfifo(tmp_path / "images" / "c1.mha")
    (tmp_path / "images" / "c2.mha").symlink_to(tmp_path / "images" / "c2.mha")
    (tmp_path / "images" / "more").symlink_to(tmp_path / "images")
    problems = {problem.case: problem.sentence for problem in check(find_cases(tmp_path)).problems}
    assert "a pipe" in problems["c1"] and "symbolic links" in problems["c2"] and len(problems) == 2


def test_version_1_of_a_description_counts_channels_too(tmp_path):
    source = raw(tmp_path, 2, {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "bone"}})
    layout = read_layout(source)
    assert layout.channels == ("T1", "T2") and layout.labels.names == {1: "bone"}
    assert [len(case.images) for case in layout.cases] == [2, 2]
    (source / "imagesTr" / "c1_0001.nii.gz").unlink()
    (problem,) = read_layout(source).problems
    assert "_0000, but the data set 2 (T1, T2)" in problem.sentence


@pytest.mark.parametrize("description", [{"channel_names": None}, {}, None])
def test_channels_without_a_description_are_found_by_their_numbers(tmp_path, description):
    assert find_cases(raw(tmp_path, 1, description)).channels == ("channel 0",)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("[1]", "JSON object"),
        ("{", "not valid JSON"),
        ('{"channel_names": [1]}', "must map"),
        ('{"channel_names": {"1": "T1"}}', "count from 0"),
        ('{"labels": {"a": "b"}}', "whole number"),
        ('{"labels": {"a": [1, 2]}}', "regions_class_order"),
        ('{"file_ending": ".png"}', "2D"),
        ("[" * 100000, "not valid JSON"),
    ],
)
def test_a_description_that_is_none_is_refused_in_one_sentence(tmp_path, description, reason):
    raw(tmp_path)
    (tmp_path / "dataset.json").write_text(description)
    with pytest.raises(UserError, match=reason) as error:
        find_cases(tmp_path)
    assert "dataset.json" in str(error.value) and len(str(error.value)) < 400


def test_2d_images_and_the_folder_above_are_named(tmp_path):
    (tmp_path / "set" / "imagesTr").mkdir(parents=True)
    (tmp_path / "set" / "labelsTr").mkdir()
    sitk.WriteImage(sitk.Image(4, 4, sitk.sitkUInt8), tmp_path / "set" / "imagesTr" / "c_0000.png")
    with pytest.raises(UserError, match="c_0000.png is a 2D image"):
        find_cases(tmp_path / "set")
    with pytest.raises(UserError, match="name .*set, which is an nnU-Net raw folder"):
        find_cases(tmp_path)


def test_regions_and_ignore_are_read_as_nnunet_writes_them(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    layout = read_layout(raw(tmp_path, 1, {"labels": labels, "regions_class_order": [1, 2]}))
    assert layout.labels.ignore == 3
    assert layout.labels.regions == {"whole": (1, 2), "core": (2,)} and layout.labels.values == {
        "whole": 1,
        "core": 2,
    }


def test_names_that_come_again_are_told_apart(tmp_path):
    labels = {"0": "background", "1": "muscle", "2": "muscle", "3": "bone"}
    names = read_layout(raw(tmp_path, 1, {"labels": labels})).labels.names
    assert names == {1: "muscle 1", 2: "muscle 2", 3: "bone"}


def test_each_volume_is_read_once_from_file_to_sample(tmp_path, monkeypatch):
    from spineloss.data import volumes

    paired(tmp_path)
    read, count = volumes.read_channels, []
    monkeypatch.setattr(volumes, "read_channels", lambda path: count.append(path) or read(path))
    first = prepared(tmp_path)
    assert sorted(path.name for path in count) == ["c1.mha", "c1.mha", "c2.mha", "c2.mha"]
    again = prepared(tmp_path)
    other = prepared(tmp_path, target="per-label")
    assert len(count) == 4 and other.labelling.names == ["1", "2"]
    assert np.array_equal(first.samples["c1"].image, again.samples["c1"].image)


def oblique(degrees):
    """The labels of `volume`, turned about the patient's long axis."""
    image, x, y = volume(labels=True, code="LPS"), np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    image.SetDirection((x, -y, 0, y, x, 0, 0, 0, 1))
    return image


@pytest.mark.parametrize("angles", [(44.99, 45.01), (45.01, 44.99)])
def test_an_image_and_its_mask_that_differ_by_rounding_are_turned_alike(tmp_path, angles):
    for kind, degrees in zip(("images", "masks"), angles, strict=True):
        save(oblique(degrees), tmp_path / kind / "c1.mha")
    data = prepared(tmp_path)
    (image,), labels = read_case(find_cases(tmp_path).cases[0], data.orientation)
    image, labels = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(labels)
    assert np.array_equal(image, labels)
    assert np.array_equal(data.samples["c1"].own_target()[0], labels > 0)


def test_a_damaged_cache_is_made_again_with_the_same_numbers(tmp_path):
    source, cache = paired(tmp_path / "data"), Cache(tmp_path / "cache")
    first = prepared(source, cache=cache)
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for path in files:
        for damage in (
            lambda content: content[: len(content) // 2],
            lambda content: flipped(content),
            lambda _: b"",
        ):
            replace(path, damage(path.read_bytes()))
            again = prepared(source, cache=cache)
            assert again.digest == first.digest
            for case, sample in first.samples.items():
                assert np.array_equal(again.samples[case].image, sample.image)
                assert np.array_equal(again.samples[case].own_target(), sample.own_target())
    sample = first.samples["c1"]
    replace(sample.target_file, sample.target_file.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged: delete it"):
        sample.own_target()


def replace(path, content):
    path.unlink()  # the old file stays mapped into memory
    path.write_bytes(content)


def flipped(content):
    middle = len(content) * 2 // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_cache_on_a_full_or_read_only_disk_is_said_and_holds_no_half_file(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    source, cache = paired(tmp_path / "data"), Cache(tmp_path / "cache")
    monkeypatch.setattr("spineloss.files.os.replace", refuse)
    with pytest.raises(UserError, match=rf"{os.strerror(number)}.*(folder|SPINELOSS_CACHE)"):
        prepared(source, cache=cache)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_raw_of_an_mhd_counts(tmp_path):
    source, cache = paired(tmp_path / "data", ".mhd"), Cache(tmp_path / "cache")
    first = prepared(source, cache=cache)
    raw_file = source / "images" / "c1.raw"
    content = bytearray(raw_file.read_bytes())
    content[-1] ^= 1
    raw_file.write_bytes(content)
    assert prepared(source, cache=cache).digest != first.digest


@pytest.mark.parametrize(
    ("value", "kind", "other"),
    [(200, np.uint8, np.int8), (-200, np.int16, np.uint16), (0.5, np.float32, np.int32)],
)
def test_bytes_that_are_other_numbers_in_another_type_are_other_content(tmp_path, value, kind, other):
    source = paired(tmp_path, count=1)

    def digest(array):
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(volume(1))
        save(image, source / "images" / "c1.mha")
        return check(find_cases(source)).content["c1"]

    array = np.full((6, 10, 8), value, kind)
    assert digest(array) != digest(array.view(other))
    # The same numbers are the same content, as they were when digests had no type.
    few = np.arange(480, dtype=np.uint16).reshape(array.shape)
    assert digest(few) == digest(few.astype(np.int16))


def test_no_number_is_pushed_off_the_screen(tmp_path, capsys, monkeypatch):
    import sys

    from spineloss.cli import main

    long = "sub-" + "x" * 150
    array = np.zeros((6, 10, 8), np.uint16)
    array.flat[:40] = np.arange(40)
    labels = sitk.GetImageFromArray(array)
    labels.CopyInformation(volume(1))
    save(volume(1), tmp_path / "images" / f"{long}.mha")
    save(labels, tmp_path / "masks" / f"{long}.mha")
    monkeypatch.setattr(sys, "argv", ["spineloss", "data", "check", str(tmp_path)])
    main_exit(main)
    table = [
        line for line in capsys.readouterr().out.splitlines() if "Checking" not in line and "cases" not in line
    ]
    assert max(map(len, table)) <= 120
    assert all(part in "\n".join(table) for part in ("6 x 10 x 8", "PIR", "1-39", "8.12 %"))


def main_exit(main):
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
