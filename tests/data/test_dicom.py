import numpy as np
import pytest
import SimpleITK as sitk

from data.series import CONTOURS, SEGMENTATION, write_enhanced, write_series
from spineloss.data import volumes
from spineloss.errors import UserError

ARRAY = np.random.default_rng(0).integers(0, 900, (8, 10, 12))


def test_a_series_is_read_in_the_order_of_its_positions(tmp_path):
    folder = write_series(tmp_path / "series", ARRAY, name="{0}.dcm")
    (folder / "0.dcm").rename(folder / "z.dcm")
    (folder / "README.txt").write_text("not an image")
    image = volumes.read(folder)
    assert np.array_equal(volumes.array_of(image), ARRAY)
    assert image.GetSpacing() == (0.9, 0.8, 4.0) and image.GetOrigin() == (5.0, -3.0, 0.0)
    assert volumes.geometry(folder) == ((4.0, 0.8, 0.9), "LPS")


def test_slices_keep_the_fractions_of_their_own_scale(tmp_path):
    def scale(header, number):
        header.RescaleSlope, header.RescaleIntercept = (1 if number == 0 else 0.5), 0

    image = volumes.read(write_series(tmp_path / "s", ARRAY, change=scale))
    wanted = ARRAY * np.array([1.0] + [0.5] * 7)[:, None, None]
    assert np.array_equal(volumes.array_of(image), wanted)


def unsigned(header, number):
    header.PixelRepresentation = int(number > 0)


def of_8_bits(header, number):
    if number == 0:
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
        header.PixelData = header.PixelData[::2]


def stored_in_12_bits(header, number):
    header.RescaleSlope, header.RescaleIntercept = 2, 0
    if number == 0:
        header.BitsStored, header.HighBit = 12, 11


@pytest.mark.parametrize(("change", "scale"), [(unsigned, 1), (of_8_bits, 1), (stored_in_12_bits, 2)])
def test_slices_keep_their_numbers_where_pixel_types_differ(tmp_path, change, scale):
    array = 50 * (ARRAY - 450)
    array[0] = ARRAY[0] % 200
    image = volumes.read(write_series(tmp_path / "s", array, change=change))
    assert np.array_equal(volumes.array_of(image), scale * array)


def moved(sideways=0.0, along=0.0, only=None):
    def change(header, number):
        if only in (None, number):
            x, y, z = header.ImagePositionPatient
            header.ImagePositionPatient = [x, y + sideways * number, z + along]

    return change


def turned(header, number):
    if number == 3:
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]


def resized(header, number):
    if number == 3:
        header.PixelSpacing = [1.6, 1.8]


def echo(header, number):
    header.EchoTime = 2.3


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("002.dcm and 004.dcm are 8 mm apart (1 missing)", {"keep": {0, 1, 2, 4, 5, 6, 7}}),
        ("uneven spacing", {"change": moved(along=0.4, only=5)}),
        ("gantry tilt", {"change": moved(sideways=1.0)}),
        ("differ in orientation", {"change": turned}),
        ("differ in pixel spacing", {"change": resized}),
    ],
)
def test_slices_that_make_no_regular_volume_are_refused(tmp_path, reason, spoil):
    folder = write_series(tmp_path / "series", ARRAY, **spoil)
    for read in (volumes.read, volumes.geometry):
        with pytest.raises(UserError) as error:
            read(folder)
        assert reason in str(error.value) and str(folder) in str(error.value)


def test_two_echoes_a_copy_and_two_series_in_one_folder_are_refused(tmp_path):
    write_series(tmp_path / "echoes", ARRAY)
    write_series(tmp_path / "echoes", ARRAY + 1, name="E2_{:03d}.dcm", change=echo)
    write_series(tmp_path / "copy", ARRAY)
    write_series(tmp_path / "copy", ARRAY, name="copy{:03d}.dcm", keep={4})
    write_series(tmp_path / "series", ARRAY)
    write_series(tmp_path / "series", ARRAY, uid="1.2.9", name="b{:03d}.dcm")
    for name, reason in (("echoes", "2 echoes"), ("copy", "same position"), ("series", "2 DICOM series")):
        with pytest.raises(UserError, match=reason):
            volumes.read(tmp_path / name)


def test_frames_in_order_are_read_and_others_refused(tmp_path):
    upward = volumes.read(write_enhanced(tmp_path / "up.dcm", ARRAY, 4.0 * np.arange(8)))
    downward = volumes.read(write_enhanced(tmp_path / "down.dcm", ARRAY[::-1], 4.0 * np.arange(8)[::-1]))
    assert upward.GetSpacing() == downward.GetSpacing() == (0.9, 0.8, 4.0)
    assert np.array_equal(volumes.array_of(upward), ARRAY)
    # The same volume, wherever its first frame lies: turned alike, it is equal.
    same = volumes.orient(downward, "LPS")
    assert np.array_equal(volumes.array_of(same), ARRAY) and same.GetOrigin() == upward.GetOrigin()
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])
    with pytest.raises(UserError, match="order of their positions"):
        volumes.read(write_enhanced(tmp_path / "mixed.dcm", ARRAY[order], 4.0 * order))
    with pytest.raises(UserError, match="1 missing"):
        volumes.read(write_enhanced(tmp_path / "gap.dcm", ARRAY, [0, 4, 8, 16, 20, 24, 28, 32]))
    with pytest.raises(UserError, match="same position"):
        volumes.read(write_enhanced(tmp_path / "twice.dcm", ARRAY, np.repeat(4.0 * np.arange(4), 2)))


def test_frames_of_one_intensity_scale_are_read_and_of_several_refused(tmp_path):
    positions = 4.0 * np.arange(8)
    alike = volumes.read(write_enhanced(tmp_path / "alike.dcm", ARRAY, positions, slopes=[2, 2.0] * 4))
    assert np.array_equal(volumes.array_of(alike), 2 * ARRAY)
    for name, slopes in (("each", range(1, 9)), ("some", [2])):
        with pytest.raises(UserError, match="different intensity scales; convert it with dcm2niix"):
            volumes.read(write_enhanced(tmp_path / f"{name}.dcm", ARRAY, positions, slopes=slopes))


@pytest.mark.parametrize(("kind", "name"), [(SEGMENTATION, "SEG"), (CONTOURS, "RTSTRUCT")])
def test_other_objects_are_named_as_what_they_are(tmp_path, kind, name):
    def change(header, number):
        header.SOPClassUID = kind

    write_series(tmp_path, ARRAY, change=change, keep={0})
    with pytest.raises(UserError, match=name):
        volumes.read(tmp_path / "000.dcm")


def test_a_single_slice_is_no_volume(tmp_path):
    folder = write_series(tmp_path / "series", ARRAY)
    with pytest.raises(UserError, match="single slice; name the folder"):
        volumes.read(folder / "003.dcm")


def test_a_slice_cut_short_is_refused(tmp_path):
    folder = write_series(tmp_path / "series", ARRAY)
    content = (folder / "003.dcm").read_bytes()
    (folder / "003.dcm").write_bytes(content[:-20])
    with pytest.raises(UserError, match="003.dcm.*cut short"):
        volumes.read(folder)


def test_an_element_that_claims_more_than_the_file_has_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    write_enhanced(path, ARRAY, range(8))
    whole = path.read_bytes()
    private = b"\x01\x70\x10\x10UN\0\0"  # behind the pixels
    path.write_bytes(whole + private + (4).to_bytes(4, "little") + b"abcd")
    assert np.array_equal(volumes.array_of(volumes.read(path)), ARRAY)
    path.write_bytes(whole + private + (1 << 30).to_bytes(4, "little") + b"abcd")
    with pytest.raises(UserError, match="element 70011010 claims 1073741824 bytes, more than the file has"):
        volumes.read(path)


def test_what_itk_writes_as_one_file_is_read_alike(tmp_path):
    image = sitk.GetImageFromArray(ARRAY.astype(np.uint16))
    image.SetSpacing((0.9, 0.8, 4.0))
    sitk.WriteImage(image, tmp_path / "whole.dcm")
    read = volumes.read(tmp_path / "whole.dcm")
    assert np.array_equal(volumes.array_of(read), ARRAY) and read.GetSpacing() == pytest.approx((0.9, 0.8, 4.0))
