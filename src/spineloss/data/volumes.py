"""Volume files: reading, orientation, geometry, writing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.errors import UserError
from spineloss.files import write_atomically

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm")
WRITABLE = (".nii.gz", ".nii", ".mha", ".nrrd")

# The axis letters say where an axis of the file points, fastest first: x, y, z.
AXIAL, SAGITTAL, CORONAL = "LPS", "PIL", "LIP"


def suffix_of(path: Path) -> str | None:
    """The suffix of a volume file, `.nii.gz` as one; none if it is not one."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """The name without the volume suffix."""
    return path.name[: -len(suffix_of(path) or "")] if suffix_of(path) else path.name


def is_series(path: Path) -> bool:
    """Whether a folder holds a DICOM series."""
    return path.is_dir() and bool(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path)))


def find(path: Path) -> list[Path]:
    """The volumes a path names: a file, a DICOM series' folder, or every volume in a folder, sorted.

    Raises:
        UserError: nothing is there.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: check its spelling.")
    if path.is_file() or is_series(path):
        return [path]
    found = sorted(inner for inner in path.iterdir() if suffix_of(inner) and not inner.name.startswith("."))
    if not found:
        raise UserError(f"{path} holds no volume: the formats are {', '.join(SUFFIXES)} and DICOM series.")
    return found


def read(path: Path) -> sitk.Image:
    """Read a 3D volume: .mha, .mhd, .nii, .nii.gz, .nrrd, a DICOM file, or a folder with a DICOM series.

    Raises:
        UserError: the file is missing, unreadable, or not a 3D volume of one channel.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: check its spelling.")
    try:
        image = _read_series(path) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as a volume: replace it or leave its case out.") from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{path} is not a 3D volume of one channel (its size is {list(image.GetSize())}): convert it."
        )
    return image


def _read_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise UserError(f"{folder} holds {len(series)} DICOM series, not one: give each its own folder.")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    return reader.Execute()


def write(image: sitk.Image, path: Path) -> None:
    """Write a volume, whole or not at all.

    Raises:
        UserError: the format cannot be written, or the disk is full.
    """
    if suffix_of(path) not in WRITABLE:
        raise UserError(f"{path} cannot be written in that format: choose {', '.join(WRITABLE)}.")

    def save(temporary: Path) -> None:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OSError(None, "the volume could not be saved") from error

    write_atomically(path, save)


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
