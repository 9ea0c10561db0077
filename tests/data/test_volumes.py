import gzip
import os

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from spineloss.data import volumes
from spineloss.data.nifti import to_bytes
from spineloss.errors import UserError

SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")
ARRAY = np.random.default_rng(0).normal(100, 20, (6, 10, 8)).astype(np.float32)


def image_of(array=ARRAY, spacing=(0.9, 0.8, 4.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((3.0, -20.0, 7.5))
    return image


def save(path, image=None, compress=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image if image is not None else image_of(), path, useCompression=compress)
    return path


def voxels_of(path):
    """The file with the voxels: the .raw of an .mhd."""
    return path.with_suffix(".raw") if path.suffix == ".mhd" else path


def refused(path, reason):
    with pytest.raises(UserError) as error:
        volumes.read(path)
    message = str(error.value)
    assert reason in message and "\n" not in message and message.isprintable(), message


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read_as_itk_reads_it(tmp_path, suffix, compress):
    path = save(tmp_path / f"v{suffix}", compress=compress)
    image, itk = volumes.read(path), sitk.ReadImage(path)
    assert np.array_equal(volumes.array_of(image), ARRAY)
    for part in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, part)() == pytest.approx(getattr(itk, part)(), abs=1e-6)
    assert volumes.geometry(path) == (pytest.approx((4.0, 0.8, 0.9)), "LPS")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["half", "one byte", "longer"])
def test_a_file_that_is_not_as_long_as_its_header_says_is_refused(tmp_path, suffix, compress, how):
    if suffix == ".mhd" and compress:
        pytest.skip("its voxels are then in a .zraw")
    path = save(tmp_path / f"v{suffix}", compress=compress)
    content = voxels_of(path).read_bytes()
    kept = {"half": content[: 400 + len(content) // 2], "one byte": content[:-1], "longer": content + b"\1"}[how]
    if how == "half" and suffix == ".mhd":
        kept = content[: len(content) // 2]
    voxels_of(path).write_bytes(kept)
    if how == "longer" and compress and suffix in (".mha", ".nrrd"):
        return  # bytes after the end of a compressed stream belong to no voxel
    with pytest.raises(UserError, match="cut short|longer|damaged"):
        volumes.read(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_one_flipped_byte_of_compressed_voxels_is_refused(tmp_path, suffix):
    path = save(tmp_path / f"v{suffix}", compress=True)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 0x55
    path.write_bytes(content)
    refused(path, "damaged")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nan_is_kept_by_the_reader_and_counted(tmp_path, suffix):
    array = ARRAY.copy()
    array[0, :2] = np.nan
    array[1, 0, 0] = np.inf
    read = volumes.array_of(volumes.read(save(tmp_path / f"v{suffix}", image_of(array))))
    assert volumes.count_not_finite(read) == 17
    with pytest.raises(UserError, match="17 voxels that are NaN"):
        volumes.refuse_not_finite(read, "it")


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("it is 2D", lambda image: image[:, :, 0]),
        ("complex", lambda image: sitk.RealAndImaginaryToComplex(image, image)),
    ],
)
def test_what_is_no_3d_volume_of_one_channel_is_refused_by_its_name(tmp_path, suffix, reason, make):
    image = make(image_of())
    try:
        path = save(tmp_path / f"v{suffix}", image)
    except RuntimeError:
        pytest.skip("ITK does not write it")
    with pytest.raises(UserError) as error:
        volumes.read(path)
    assert any(word in str(error.value) for word in (reason, "several", "channels", "type", "2D"))
    with pytest.raises(UserError, match=f"{reason}|complex"):
        volumes.channels_of(image, "The image")


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nii", ".nii.gz"])
@pytest.mark.parametrize("join", [sitk.JoinSeries, sitk.Compose])
def test_channels_of_one_file_are_read_apart_and_no_mask(tmp_path, suffix, join):
    images = [image_of(), image_of(ARRAY[::-1].copy()), image_of(2 * ARRAY)]
    path = save(tmp_path / f"v{suffix}", join(images))
    assert volumes.count_channels(path) == 3
    for read, image in zip(volumes.read_channels(path), images, strict=True):
        assert np.array_equal(volumes.array_of(read), volumes.array_of(image))
        assert read.GetSpacing() == pytest.approx(image.GetSpacing())
        assert read.GetDirection() == pytest.approx(image.GetDirection())
        assert read.GetOrigin() == pytest.approx(image.GetOrigin())
    assert volumes.geometry(path)[0] == pytest.approx(volumes.spacing_of(images[0]))
    with pytest.raises(UserError, match="holds 3 channels or volumes"):
        volumes.read(path)
    voxels_of(path).write_bytes(voxels_of(path).read_bytes()[:-40])
    with pytest.raises(UserError, match="cut short|damaged"):
        volumes.read_channels(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_a_4d_file_with_one_volume_is_that_volume(tmp_path, suffix):
    path = save(tmp_path / f"v{suffix}", sitk.JoinSeries([image_of()]))
    assert np.array_equal(volumes.array_of(volumes.read(path)), ARRAY)
    assert volumes.geometry(path)[0] == pytest.approx((4.0, 0.8, 0.9))


def edit(path, before, after):
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"NDims = 3", b"NDims = -3", "-3 axes"),
        (b"NDims = 3", b"NDims = 999999999", "claims"),
        (b"DimSize = 8 10 6", b"DimSize = 8 10 0", "size"),
        (b"DimSize = 8 10 6", b"DimSize = 8 10", "DimSize"),
        (b"DimSize = 8 10 6", b"DimSize = 80000 100000 600000", "claims"),
        (b"ElementSpacing", b"ElementSpacinh", "probably ElementSpacing"),
        (b"ElementSpacing = 0.9", b"ElementSpacing = nan", "ElementSpacing"),
        (b"ElementSpacing = 0.9", b"ElementSpacing = 0.0", "spacing"),
        (b"TransformMatrix = 1", b"TransformMatrix = 7", "direction"),
        (b"ElementType = MET_FLOAT", b"ElementType = MET_FLOAZ", "MET_FLOAZ"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = other", "does not exist"),
        (b"ElementDataFile", b"ElementDatbFile", "damaged"),
    ],
)
def test_absurd_meta_headers_are_refused_in_one_sentence(tmp_path, before, after, reason):
    path = save(tmp_path / "v.mha")
    edit(path, before, after)
    refused(path, reason)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"dimension: 3", b"dimension: -3", "axes"),
        (b"dimension: 3", b"dimension: 16", "axes"),
        (b"sizes: 8 10 6", b"sizes: 8 10 0", "sizes"),
        (b"sizes: 8 10 6", b"sizes: 8 10 7", "cut short"),
        (b"type: float", b"type: block", "block"),
        (b"space directions: (0.9", b"space directions: (nan", "finite"),
        (b"encoding: raw", b"encoding: hex", "hex"),
        (b"NRRD0004", b"NRRD9994", "NRRD header"),
    ],
)
def test_absurd_nrrd_headers_are_refused_in_one_sentence(tmp_path, before, after, reason):
    path = save(tmp_path / "v.nrrd")
    content = path.read_bytes()
    if before.startswith(b"space directions"):
        before = content[content.index(b"space directions: (") :].split(b",")[0]
    edit(path, before, after)
    refused(path, reason)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("dim", [-3, 8, 10, 6, 1, 1, 1, 1], "axes"),
        ("dim", [3, 8, 10, 0, 1, 1, 1, 1], "size"),
        ("dim", [3, 8, 10, 7, 1, 1, 1, 1], "cut short"),
        ("dim", [2, 8, 60, 1, 1, 1, 1, 1], "2D"),
        ("pixdim", [1, np.nan, 1, 1, 1, 1, 1, 1], "spacing"),
        ("vox_offset", np.nan, "byte"),
        ("vox_offset", 1e9, "bytes"),
        ("bitpix", 16, "16 bits"),
        ("datatype", 32, "complex"),
        ("datatype", 128, "RGB"),
        ("datatype", 12345, "header is damaged"),
        ("srow_x", [0, 0, 0, 0], "invertible"),
        ("magic", b"xyz", "single-file"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_absurd_nifti_headers_are_refused_in_one_sentence(tmp_path, suffix, field, value, reason):
    content = save(tmp_path / "v.nii").read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    header[field] = value
    changed = header.binaryblock + content[348:]
    path = tmp_path / f"changed{suffix}"
    path.write_bytes(gzip.compress(changed) if suffix == ".nii.gz" else changed)
    refused(path, reason)


def test_a_header_that_claims_far_more_than_its_file_is_refused_before_memory_is_taken(tmp_path):
    content = save(tmp_path / "v.nii").read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    header["dim"] = [3, 1200, 1200, 700, 1, 1, 1, 1]
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(header.binaryblock + content[348:]))
    refused(tmp_path / "bomb.nii.gz", "cannot hold")


def test_gzip_under_another_name_is_said(tmp_path):
    save(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "gzip-compressed, whatever its name says; rename it so that it ends in .nii.gz")
    save(tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    refused(tmp_path / "b.nii.gz", "not gzip-compressed")


def test_pipes_folders_and_odd_names_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    refused(tmp_path / "pipe.nii.gz", "a pipe")
    (tmp_path / "loop.mha").symlink_to(tmp_path / "loop.mha")
    refused(tmp_path / "loop.mha", "symbolic links")
    named = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mha")
    os.rename(save(tmp_path / "v.mha"), named)
    refused(volumes.Path(named), r"caf\xe9.mha")
    (tmp_path / "empty.nii.gz").touch()
    refused(tmp_path / "empty.nii.gz", "empty")
    refused(tmp_path / "absent.mha", "does not exist")
    long = tmp_path / f"{'a' * 300}.mhd"
    refused(long, "file name too long")
    for look in (volumes.find, volumes.geometry, volumes.files_of):
        with pytest.raises(UserError, match="file name too long"):
            look(long)


def nifti(path, *, sform=None, qform=None, array=ARRAY, unit="mm", codes=(2, 1)):
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), sform if sform is not None else qform)
    image.set_sform(sform, codes[0] if sform is not None else 0)
    image.set_qform(qform, codes[1] if qform is not None else 0)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


SFORM, QFORM = np.diag([-1.0, -1.0, 4.0, 1.0]), np.diag([1.0, -1.0, 4.0, 1.0])
SFORM[:3, 3], QFORM[:3, 3] = (20, 20, -10), (-19, 20, -10)


def test_forms_that_disagree_are_said_and_a_mask_keeps_both(tmp_path):
    path = nifti(tmp_path / "both.nii.gz", sform=SFORM, qform=QFORM)
    (remark,) = volumes.remarks(path)
    assert "qform and an sform that disagree" in remark
    image = volumes.read(path)
    # The sform: RAS to LPS turns the signs of x and y.
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1) and image.GetOrigin() == (-20, -20, -10)
    volumes.write_mask(image > 100, path, tmp_path / "mask.NII.GZ")
    mask, whole = nibabel.load(tmp_path / "mask.NII.GZ"), nibabel.load(path)
    for form in ("sform", "qform"):
        assert np.array_equal(getattr(mask, f"get_{form}")(), getattr(whole, f"get_{form}")())
        assert mask.header[f"{form}_code"] == whole.header[f"{form}_code"]
    assert np.array_equal(mask.get_fdata(), whole.get_fdata() > 100)


def test_units_and_forms_alone(tmp_path):
    metres = SFORM * np.array([[0.001], [0.001], [0.001], [1]])
    one = volumes.read(nifti(tmp_path / "m.nii", sform=metres, unit="meter"))
    assert one.GetSpacing() == pytest.approx((1, 1, 4)) and one.GetOrigin() == pytest.approx((-20, -20, -10))
    alone = volumes.read(nifti(tmp_path / "q.nii", qform=QFORM))
    assert alone.GetOrigin() == pytest.approx((19, -20, -10)) and volumes.remarks(tmp_path / "q.nii") == []
    nifti(tmp_path / "none.nii", sform=SFORM, qform=QFORM, codes=(0, 0))
    assert "does not say how it is oriented" in volumes.remarks(tmp_path / "none.nii")[0]


def test_a_sheared_grid_is_refused_by_its_name_and_a_rounded_one_is_read(tmp_path):
    sheared = SFORM.copy()
    sheared[1, 2] = 0.3
    refused(nifti(tmp_path / "tilt.nii", sform=sheared), "sheared by 4.3 degrees")
    rounded = SFORM.copy()
    rounded[1, 2] = 0.01
    axes = np.array(volumes.read(nifti(tmp_path / "ok.nii", sform=rounded)).GetDirection()).reshape(3, 3)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)


def test_scaled_intensities(tmp_path):
    image = nibabel.Nifti1Image(np.arange(480, dtype=np.int16).reshape(8, 10, 6), SFORM)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "s.nii")
    wanted = nibabel.load(tmp_path / "s.nii").get_fdata().transpose(2, 1, 0)
    assert np.array_equal(volumes.array_of(volumes.read(tmp_path / "s.nii")), wanted)


@pytest.mark.parametrize("name", ["mask.mha", "mask.MHA", "mask.NRRD", "mask.nii", "mask.NII.GZ"])
def test_a_mask_is_written_whatever_the_case_of_its_ending(tmp_path, name):
    volumes.write(image_of(ARRAY.astype(np.uint8)), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert np.array_equal(volumes.array_of(volumes.read(tmp_path / name)), ARRAY.astype(np.uint8))


def test_itk_is_silent_while_reading_and_as_loud_as_before_afterwards(tmp_path, capfd):
    sitk.ProcessObject.SetGlobalWarningDisplay(True)
    volumes.read(save(tmp_path / "v.mha"))
    assert sitk.ProcessObject.GetGlobalWarningDisplay()
    assert capfd.readouterr() == ("", "")


def test_a_volume_in_memory_is_the_file_that_itk_writes(tmp_path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    image.SetSpacing((0.5, 0.75, 4.0))
    image.SetOrigin((-7.0, 11.0, 3.0))
    image.SetDirection(Rotation.from_euler("xyz", (5, -20, 40), degrees=True).as_matrix().ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "itk.nii"))
    theirs, ours = nibabel.load(tmp_path / "itk.nii"), nibabel.Nifti1Image.from_bytes(to_bytes(image))
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata())
    assert np.allclose(ours.affine, theirs.affine, atol=1e-5)
    assert ours.header.get_xyzt_units()[0] == "mm"
