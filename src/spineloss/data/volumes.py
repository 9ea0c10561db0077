"""Volumes: the one reader of every format, orientation, geometry, writing."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.data import dicom, metaimage, nifti, nrrd
from spineloss.data.guards import check_file, check_name, damaged, refuse, shown
from spineloss.errors import UserError
from spineloss.files import write_atomically

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm")
WRITABLE = (".nii.gz", ".nii", ".mha", ".nrrd")
SHEAR = 0.01  # cosine between two axes up to which they are taken to be at right angles
READERS = {
    ".mha": ("MetaImageIO", metaimage.check),
    ".mhd": ("MetaImageIO", metaimage.check),
    ".nrrd": ("NrrdImageIO", nrrd.check),
}

# The axis letters say where an axis of the file points, fastest first: x, y, z.
AXIAL, SAGITTAL, CORONAL = "LPS", "PIL", "LIP"


def suffix_of(path: Path) -> str | None:
    """The suffix of a volume file in lower case, `.nii.gz` as one; none if it is not one."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """The name without the volume suffix."""
    return path.name[: -len(suffix_of(path) or "")] if suffix_of(path) else path.name


def is_series(path: Path) -> bool:
    """Whether a folder holds a DICOM series."""
    return dicom.is_series(path)


def list_folder(folder: Path) -> list[Path]:
    """The volumes and DICOM series' folders in a folder, sorted by name; hidden ones are left out."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{shown(folder)} cannot be listed ({error.strerror}): check it.") from error
    return [
        path
        for path in inside
        if not path.name.startswith(".") and (is_series(path) or (suffix_of(path) and not os.path.isdir(path)))
    ]


def find(path: Path) -> list[Path]:
    """The volumes a path names: a file, a DICOM series' folder, or every volume in a folder, sorted.

    Raises:
        UserError: nothing is there.
    """
    # Path.is_dir raises, before Python 3.14, where a name is too long or a folder above may not be entered.
    if not os.path.isdir(path):
        check_file(path)
        return [path]
    if is_series(path):
        return [path]
    found = list_folder(path)
    if not found:
        raise UserError(f"{path} holds no volume: the formats are {', '.join(SUFFIXES)} and DICOM series.")
    return found


def read(path: Path) -> sitk.Image:
    """Read a 3D volume: .mha, .mhd, .nii, .nii.gz, .nrrd, a multi-frame DICOM file, or a DICOM series' folder.

    NaN and infinite voxels are kept; `refuse_not_finite` refuses them.

    Raises:
        UserError: the file is missing, damaged, or not a 3D volume of one channel.
    """
    channels = read_channels(path)
    if len(channels) > 1:
        raise refuse(path, f"it holds {len(channels)} channels or volumes", "export one of them alone")
    return channels[0]


def read_channels(path: Path) -> list[sitk.Image]:
    """Read a file as `read`, each channel as a volume: those of a 4D NIfTI file, components of a .mha's voxels.

    Raises:
        UserError: the file is missing, damaged, or holds no 3D volumes.
    """
    try:
        with _quiet:
            return channels_of(_read(path), shown(path))
    except MemoryError as error:
        raise refuse(path, "it does not fit into memory", "crop it or use a larger machine") from error
    except RuntimeError as error:
        raise damaged(path, f"its reader reports: {_itk_reason(error)}") from error


def _read(path: Path) -> sitk.Image:
    check_name(path)
    if os.path.isdir(path):
        return dicom.read_series(path)
    check_file(path)
    suffix = suffix_of(path)
    if nifti.is_nifti(path):
        return nifti.read(path)
    if suffix in READERS:
        name, check = READERS[suffix]
        check(path)
        return sitk.ReadImage(str(path), imageIO=name)
    if suffix == ".dcm" or dicom.is_dicom(path):
        return dicom.read_file(path)
    raise refuse(path, "it is no volume by its name", f"convert it to one of {', '.join(SUFFIXES)}")


def count_channels(path: Path) -> int:
    """How many channels a file holds, from its header alone.

    Raises:
        UserError: the header cannot be read.
    """
    if nifti.is_nifti(path):
        return nifti.channels_of(nifti.read_header(path))
    return metaimage.channels_of(path) if suffix_of(path) in (".mha", ".mhd") else 1


def geometry(path: Path) -> tuple[tuple[float, float, float], str]:
    """Spacing in mm as (z, y, x) and orientation of a volume, from its headers alone where they tell.

    Raises:
        UserError: as `read`.
    """
    try:
        with _quiet:
            image = channels_of(_from_headers(path), shown(path))[0]
    except RuntimeError as error:
        raise damaged(path, f"its reader reports: {_itk_reason(error)}") from error
    return spacing_of(image), orientation_of(image)


def _from_headers(path: Path) -> sitk.Image:
    """One voxel where the first one of a volume lies."""
    check_name(path)
    voxel = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    if os.path.isdir(path):
        return dicom.place(voxel, [one.plane for one in dicom.series_of(path)])
    if nifti.is_nifti(path):
        return nifti.place(voxel, nifti.placement(path, nifti.read_header(path)).affine)
    if suffix_of(path) in READERS:
        name, check = READERS[suffix_of(path)]
        check(path, voxels=False)
        reader = sitk.ImageFileReader()
        reader.SetImageIO(name)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        if reader.GetDimension() == 3:
            voxel.SetSpacing(reader.GetSpacing())
            voxel.SetDirection(reader.GetDirection())
            return voxel
    return _read(path)


def remarks(path: Path) -> list[str]:
    """What should be known of a readable file, though it is used: such as a qform and an sform that disagree."""
    if nifti.is_nifti(path):
        return list(nifti.placement(path, nifti.read_header(path)).remarks)
    return dicom.remarks(path) if path.is_file() and dicom.is_dicom(path) else []


def files_of(path: Path) -> list[Path]:
    """Every file that a volume consists of: the slices of a series, the .raw of an .mhd.

    Raises:
        UserError: the header that names them cannot be read.
    """
    if os.path.isdir(path):
        return dicom.files_of(path)
    if suffix_of(path) == ".mhd":
        return metaimage.files_of(path)
    return nrrd.files_of(path) if suffix_of(path) == ".nrrd" else [path]


class _Quiet:
    """Without ITK's warnings on the terminal, which name no file: what they warn of is checked here.

    The switch is one for the process: the last of several threads that read turns it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.before = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.before = sitk.ProcessObject.GetGlobalWarningDisplay()
                sitk.ProcessObject.SetGlobalWarningDisplay(False)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                sitk.ProcessObject.SetGlobalWarningDisplay(self.before)


_quiet = _Quiet()


def _itk_reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("): ", 1)[-1][:200] if lines else "no reason"


def channels_of(image: sitk.Image, name: str) -> list[sitk.Image]:
    """The channels of an image as 3D volumes of real numbers on a rectangular grid.

    They are the components of its voxels, or the volumes of a 4D image.

    Args:
        image: in memory, from whatever reader.
        name: of it, for the message.

    Raises:
        UserError: it is no such image.
    """
    path, size = Path(name), list(image.GetSize())
    if "complex" in image.GetPixelIDTypeAsString() or "label" in image.GetPixelIDTypeAsString():
        raise refuse(path, f"its voxels are of the type {image.GetPixelIDTypeAsString()}", "export real numbers")
    if min(size) < 1:
        raise refuse(path, f"it has no voxels (its size is {size})", "export it again")
    if len(size) not in (3, 4):
        remedy = "stack its slices into a 3D volume" if len(size) == 2 else "split it into 3D files"
        raise refuse(path, f"it is {len(size)}D (its size is {size})", remedy)
    parts = image.GetNumberOfComponentsPerPixel()
    spatial = [image] if len(size) == 3 else [image[:, :, :, number] for number in range(size[3])]
    if parts > 1:
        spatial = [sitk.VectorIndexSelectionCast(each, part) for each in spatial for part in range(parts)]
    return [_rectangular(each, path) for each in spatial]


def _rectangular(image: sitk.Image, path: Path) -> sitk.Image:
    spacing, axes = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    if not (np.isfinite(spacing).all() and (spacing > 1e-6).all() and (spacing < 1e4).all()):
        raise damaged(path, f"its spacing is {spacing.tolist()} mm")
    if not (np.isfinite(axes).all() and np.isfinite(image.GetOrigin()).all()):
        raise damaged(path, "its direction or origin is not finite")
    if np.abs(np.linalg.norm(axes, axis=0) - 1).max() > SHEAR:
        raise damaged(path, "its direction is no rotation")
    cosines = axes.T @ axes - np.eye(3)
    if np.abs(cosines).max() > SHEAR:
        angle = 90 - np.degrees(np.arccos(np.clip(np.abs(cosines).max(), 0, 1)))
        raise refuse(
            path,
            f"its axes are not orthonormal: the grid is sheared by {angle:.1f} degrees, as by gantry tilt",
            "resample it (and its mask) on a rectangular grid",
        )
    if np.abs(cosines).max() > 1e-6:
        left, _, right = np.linalg.svd(axes)  # the nearest rotation: the axes are rounded
        image.SetDirection((left @ right).ravel().tolist())
    return image


def refuse_not_finite(array: np.ndarray, name: str) -> None:
    """Refuse voxels that are NaN or infinite.

    Raises:
        UserError: there are some; the message says how many.
    """
    bad = count_not_finite(array)
    if bad:
        raise UserError(f"{name} has {bad} voxels that are NaN or infinite: export it again or replace them.")


def count_not_finite(array: np.ndarray) -> int:
    """How many voxels are NaN or infinite."""
    return int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0


def write(image: sitk.Image, path: Path) -> None:
    """Write a volume, whole or not at all.

    Raises:
        UserError: the format cannot be written, or the disk is full.
    """
    suffix = _writable(path)

    def save(temporary: Path) -> None:
        # ITK knows endings in lower case alone.
        lower = temporary.with_name(temporary.name[: -len(suffix)] + suffix)
        try:
            sitk.WriteImage(image, str(lower), useCompression=True)
        except RuntimeError as error:
            lower.unlink(missing_ok=True)
            raise OSError(None, f"the volume could not be saved: {_itk_reason(error)}") from error
        os.replace(lower, temporary)

    write_atomically(path, save)


def write_mask(mask: sitk.Image, source: Path, path: Path) -> None:
    """Write the mask of a volume beside which it will lie: under the source's own header where both are NIfTI.

    Raises:
        UserError: the format cannot be written, or the disk is full.
    """
    _writable(path)
    if nifti.is_nifti(path) and source.is_file() and nifti.is_nifti(source):
        header = nifti.read_header(source)
        write_atomically(path, lambda temporary: nifti.write_like(array_of(mask), header, temporary))
    else:
        write(mask, path)


def _writable(path: Path) -> str:
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        raise UserError(f"{shown(path)} cannot be written in that format: choose {', '.join(WRITABLE)}.")
    return suffix


def array_of(image: sitk.Image) -> np.ndarray:
    """Voxels as (Z, Y, X)."""
    return sitk.GetArrayFromImage(image)


def spacing_of(image: sitk.Image) -> tuple[float, float, float]:
    """Spacing in mm as (z, y, x)."""
    return image.GetSpacing()[::-1]


def orientation_of(image: sitk.Image) -> str:
    """Three letters that say where the axes x, y, z point (L, R, A, P, S, I)."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())


def orient(image: sitk.Image, code: str) -> sitk.Image:
    """The same volume with its axes turned to point along `code`."""
    return sitk.DICOMOrient(image, code)


def restore(image: sitk.Image, like: sitk.Image) -> sitk.Image:
    """A volume turned by `orient` back in the exact geometry of `like`."""
    turned = orient(image, orientation_of(like))
    turned.CopyInformation(like)
    return turned


def turned(values: Sequence[float], code: str, to: str) -> tuple[float, ...]:
    """What belongs to the axes (z, y, x) of a volume oriented along `code`, for the same volume turned along `to`.

    >>> turned((305, 306, 39), "RAS", "PIL")
    (39, 305, 306)
    """
    axis = {"L": "x", "R": "x", "A": "y", "P": "y", "S": "z", "I": "z"}
    of_axis = {axis[letter]: value for letter, value in zip(reversed(code), values, strict=True)}
    return tuple(of_axis[axis[letter]] for letter in reversed(to))


def slices_first(geometries: Sequence[tuple[Sequence[float], str]]) -> str:
    """The one orientation of a data set: the same anatomical axes in every file, the coarsest one first.

    A network grid such as [32, 224, 224] means 32 slices: sagittal for a sagittal acquisition, whatever the
    order of axes in the file.

    Args:
        geometries: spacing (z, y, x) in mm and orientation of each case.

    Returns:
        `PIL` for sagittal slices, `LIP` for coronal, `LPS` for axial or isotropic ones.

    >>> slices_first([((4.0, 1.0, 1.0), "PIR")])
    'PIL'
    """
    rows = [
        [spacing[2 - next(axis for axis in range(3) if code[axis] in letters)] for letters in ("LR", "AP", "SI")]
        for spacing, code in geometries
    ]
    left, posterior, superior = np.median(rows, axis=0)
    coarsest = max(left, posterior, superior)
    if coarsest <= 1.01 * superior:
        return AXIAL
    return SAGITTAL if coarsest == left else CORONAL
