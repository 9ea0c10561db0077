"""NIfTI files: read with NaN kept and verified; masks written under the header of their image."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.spatialimages import HeaderDataError

from spineloss.data.guards import check_file, check_length, check_memory, damaged, open_gzip, read_gzip, refuse

# NIfTI points to the right, anterior and superior; ITK to the left, posterior and superior.
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 needs 348
AGREEMENT = 1e-3  # of the qform's and sform's columns, relative to the spacing

Header = nibabel.Nifti1Header | nibabel.Nifti2Header


@dataclass(frozen=True)
class Placement:
    """Where a file says its voxels lie: index to LPS mm (4 x 4), and remarks on what it says."""

    affine: np.ndarray
    remarks: tuple[str, ...]


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_header(path: Path) -> Header:
    """The header alone, verified.

    Raises:
        UserError: it is no header of a volume of three axes or more, or contradicts itself.
    """
    check_file(path)
    if path.name.lower().endswith(".gz"):
        _expect_gzip(path, True)
        with open_gzip(path) as file:
            return _parse(path, file.read(HEADER_BYTES))
    _expect_gzip(path, False)
    with path.open("rb") as file:
        return _parse(path, file.read(HEADER_BYTES))


def _expect_gzip(path: Path, wanted: bool) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise damaged(path, "it is empty")
    if (start == b"\x1f\x8b") != wanted:
        ending, name = (".nii", "not gzip-compressed") if wanted else (".nii.gz", "gzip-compressed")
        raise refuse(path, f"it is {name}, whatever its name says", f"rename it so that it ends in {ending}")


def _parse(path: Path, start: bytes) -> Header:
    size = {order: int.from_bytes(start[:4], order) for order in ("little", "big")}
    if 348 in size.values() and len(start) >= 348:
        kind, magic, expected = nibabel.Nifti1Header, b"n+1", 348
    elif 540 in size.values() and len(start) >= 540:
        kind, magic, expected = nibabel.Nifti2Header, b"n+2", 540
    else:
        raise damaged(path, "it does not begin with a NIfTI header")
    order = next(order for order, value in size.items() if value == expected)
    try:
        parsed = kind(start[:expected], endianness=order, check=False)
        code = parsed.get_data_dtype()
    except (HeaderDataError, ValueError, KeyError) as error:
        raise damaged(path, f"its header is damaged ({_line(error)})") from error
    if bytes(parsed["magic"])[:3] != magic:
        raise refuse(path, "it is no single-file NIfTI (.img pairs and Analyze are not read)", "convert it")
    _check_shape(path, parsed)
    _check_voxels(path, parsed, code)
    return parsed


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _check_shape(path: Path, header: Header) -> None:
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise damaged(path, f"its header claims {axes} axes")
    sizes = [int(size) for size in header["dim"][1 : axes + 1]]
    if min(sizes) < 1:
        raise damaged(path, f"its header claims the size {sizes}")
    if axes < 3:
        raise refuse(path, f"it is {axes}D (its size is {sizes})", "stack its slices into a 3D volume")


def channels_of(header: Header) -> int:
    """How many volumes lie one after another in a file of more than three axes; 1 in one of three."""
    return int(np.prod(header["dim"][4 : int(header["dim"][0]) + 1], dtype=np.int64))


def _check_voxels(path: Path, header: Header, dtype: np.dtype) -> None:
    if dtype.kind == "c":
        raise refuse(path, "its voxels are complex numbers", "export their magnitude")
    if dtype.fields is not None:
        raise refuse(path, "its voxels are colours (RGB)", "export one channel of intensities")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise refuse(path, f"its voxels are of the type {dtype}", "export them as int16 or float32")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise damaged(path, f"its header claims {int(header['bitpix'])} bits for a voxel of type {dtype}")
    offset = float(header["vox_offset"])
    least = header.template_dtype.itemsize
    if not (offset >= least and offset == int(offset)):
        raise damaged(path, f"its header claims that voxels begin at byte {offset:g}")


def placement(path: Path, header: Header) -> Placement:
    """Where the voxels lie: by the sform, like nibabel, FSL and MONAI; without one by the qform.

    Raises:
        UserError: the form is no invertible map.
    """
    remarks = []
    scale = MILLIMETRES.get(_unit(header), 1.0)
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64) * scale
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise damaged(path, f"its header claims the spacing {sizes.tolist()}")
    sform, qform = _form(path, header, "sform"), _form(path, header, "qform")
    if sform is not None and qform is not None and _differ(sform, qform):
        remarks.append(
            f"{path} has a qform and an sform that disagree: the sform is used, as in FSL, nibabel and MONAI "
            "(ITK and ITK-SNAP use the qform)."
        )
    affine = sform if sform is not None else qform
    if affine is None:
        remarks.append(f"{path} does not say how it is oriented (its qform and sform codes are 0): LPS is taken.")
        return Placement(np.diag([*sizes, 1.0]), tuple(remarks))
    affine = TO_LPS @ affine
    affine[:3] *= scale
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(lengths, sizes, rtol=1e-4, atol=0):
        affine[:3, :3] *= sizes / lengths  # float32 rows are rounded more than the sizes beside them
    elif sform is not None and qform is None:
        remarks.append(
            f"{path} has an sform whose spacing ({_sizes(lengths)} mm) is not the header's ({_sizes(sizes)} mm): "
            "the sform is used."
        )
    return Placement(affine, tuple(remarks))


def _sizes(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _unit(header: Header) -> str:
    try:
        return header.get_xyzt_units()[0]
    except KeyError:
        return "unknown"


def _form(path: Path, header: Header, name: str) -> np.ndarray | None:
    if int(header[f"{name}_code"]) <= 0:
        return None
    try:
        affine = header.get_sform() if name == "sform" else header.get_qform()
    except (HeaderDataError, ValueError) as error:
        raise damaged(path, f"its {name} is damaged ({_line(error)})") from error
    affine = np.asarray(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise damaged(path, f"its {name} is no invertible map from voxels to mm")
    return affine


def _differ(sform: np.ndarray, qform: np.ndarray) -> bool:
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    return bool(
        (np.abs(sform[:3, :3] - qform[:3, :3]) > AGREEMENT * spacing).any()
        or (np.abs(sform[:3, 3] - qform[:3, 3]) > 0.1 * spacing.min()).any()
    )


def read(path: Path) -> sitk.Image:
    """Read a volume, NaN and infinities included; one of several channels as a 4D image.

    Raises:
        UserError: the file is damaged, no such volume, or its header contradicts itself.
    """
    header = read_header(path)
    channels = channels_of(header)
    shape = (*(int(size) for size in header["dim"][1:4]), channels)
    dtype = header.get_data_dtype()
    offset = int(header["vox_offset"])
    wanted = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if path.name.lower().endswith(".gz"):
        content = read_gzip(path, HEADER_BYTES, lambda start: wanted)
    else:
        check_length(path, wanted, check_file(path))
        check_memory(path, wanted)
        content = path.read_bytes()
    array = _scaled(path, header, np.frombuffer(content, dtype, offset=offset).reshape(shape[::-1]))
    affine = placement(path, header).affine
    placed = [place(sitk.GetImageFromArray(channel), affine) for channel in array]
    return placed[0] if channels == 1 else sitk.JoinSeries(placed)


def _scaled(path: Path, header: Header, array: np.ndarray) -> np.ndarray:
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise damaged(path, f"its intensity scale is damaged ({_line(error)})") from error
    if slope is None or (slope, intercept) == (1.0, 0.0):
        return array.astype(array.dtype.newbyteorder("="))
    return (array * np.float64(slope) + np.float64(intercept)).astype(np.float32)


def place(image: sitk.Image, affine: np.ndarray) -> sitk.Image:
    """Give an image the geometry of an index-to-LPS map."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def to_bytes(image: sitk.Image) -> bytes:
    """A volume as the content of a `.nii` file, made in memory: ITK writes into files alone."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    volume = nibabel.Nifti1Image(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0), TO_LPS @ affine)
    volume.header.set_xyzt_units("mm")
    return volume.to_bytes()


def write_like(array: np.ndarray, header: Header, target: Path) -> None:
    """Write a (Z, Y, X) label map under another file's header: the same forms, codes and units.

    Args:
        array: integers.
        header: of the image that the labels lie on.
        target: a `.nii` or `.nii.gz` file.
    """
    own = header.copy()
    own.set_data_dtype(array.dtype)
    own.set_data_shape(array.shape[::-1])
    own.set_slope_inter(1, 0)
    own["vox_offset"] = 0
    own["cal_min"] = own["cal_max"] = 0
    own.extensions.clear()
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    # Without an affine nibabel leaves both forms as they are.
    content = kind(array.transpose(2, 1, 0), None, own).to_bytes()
    if target.name.lower().endswith(".gz"):
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
            file.write(content)
        content = buffer.getvalue()
    target.write_bytes(content)
