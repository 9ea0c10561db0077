"""DICOM series and multi-frame files: whether their slices make one regular volume, and that volume."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from spineloss.data.guards import check_file, check_memory, check_name, damaged, refuse
from spineloss.errors import UserError

OBJECTS = {
    "1.2.840.10008.5.1.4.1.1.66.4": ("a DICOM segmentation (SEG)", "segimage2itkimage of dcmqi"),
    "1.2.840.10008.5.1.4.1.1.66.7": ("a DICOM label map segmentation (SEG)", "segimage2itkimage of dcmqi"),
    "1.2.840.10008.5.1.4.1.1.66.5": ("a DICOM surface segmentation", "3D Slicer"),
    "1.2.840.10008.5.1.4.1.1.481.3": ("a set of DICOM contours (RTSTRUCT)", "plastimatch or 3D Slicer"),
}
# What may differ between two slices at one position, and how that is called.
REPEATS = {
    "EchoTime": "echoes",
    "EchoNumbers": "echoes",
    "ImageType": "kinds of image",
    "TemporalPositionIdentifier": "time points",
    "DiffusionBValue": "diffusion weightings",
    "AcquisitionNumber": "acquisitions",
    "TriggerTime": "heart phases",
}
# What says which number a stored pixel is, and what it is where a header does not say it.
NUMBERS = {
    "RescaleSlope": 1,
    "RescaleIntercept": 0,
    "PixelRepresentation": 0,
    "BitsAllocated": 16,
    "BitsStored": 16,
}
UNEVEN = 0.01  # of the distance between slices, beside 0.01 mm for rounded positions
TILT = 0.01  # mm sideways per mm along the normal; about half a degree
UNDEFINED = 0xFFFFFFFF  # the length of an element that ends where its delimiter says
DEFERRED = 1024  # bytes; values that are longer are passed over, not read


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: its name, position (mm), directions of rows and columns, and pixel spacing."""

    name: str
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        """At right angles to the slice."""
        return np.cross(self.axes[0], self.axes[1])


@dataclass(frozen=True)
class Slice:
    """A file of a series: its header and plane."""

    path: Path
    header: Dataset
    plane: Plane


def is_dicom(path: Path) -> bool:
    """Whether a regular file begins as DICOM files do."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            file.seek(128)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files."""
    try:
        return folder.is_dir() and any(is_dicom(path) for path in sorted(folder.iterdir()))
    except OSError:
        return False


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM by their content or name, in the order of their names."""
    visible = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in visible if is_dicom(path) or path.suffix.lower() in (".dcm", ".ima")]


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    # pydicom raises whatever its parser runs into; each means that the file is damaged.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise damaged(path, f"its DICOM header is damaged ({ascii(reason)[1:-1]})") from error


def read_header(path: Path) -> Dataset:
    """The header of an image, verified to be followed by its pixels.

    Raises:
        UserError: it is damaged, cut short, or another kind of DICOM object.
    """
    size = check_file(path)
    with _parsing(path), path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=False)
        _refuse_other_objects(path, header)
        _check_pixels(path, header, size - file.tell())
        syntax, pixels = header.file_meta.TransferSyntaxUID, file.tell()
        _check_rest(path, file, size, syntax)
        if syntax.is_encapsulated:
            file.seek(max(pixels, size - 4096))
            if b"\xfe\xff\xdd\xe0" not in file.read():
                raise damaged(path, "it is cut short: its compressed pixels have no end")
    return header


def _refuse_other_objects(path: Path, header: Dataset) -> None:
    kind = str(header.get("SOPClassUID", ""))
    if kind in OBJECTS:
        name, tool = OBJECTS[kind]
        raise refuse(path, f"it is {name}, not an image", f"convert it to a label map, as with {tool}")
    if "Rows" not in header:
        name = pydicom.uid.UID(kind).name or "a DICOM object"
        raise refuse(path, f"it holds no image ({ascii(name)[1:-1][:80]})", "name a DICOM image")
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise refuse(path, "its pixels are colours (RGB)", "export one channel of intensities")


def _check_pixels(path: Path, header: Dataset, there: int) -> None:
    sizes = [int(header.get("NumberOfFrames", None) or 1), int(header.Rows), int(header.Columns)]
    if min(sizes) < 1:
        raise damaged(path, f"its header claims the size {sizes[::-1]}")
    bits = int(header.BitsAllocated)
    if bits not in (8, 16, 32, 64):
        raise refuse(path, f"its pixels have {bits} bits", "export them with 8 or 16")
    wanted = int(np.prod(sizes, dtype=object)) * bits // 8
    check_memory(path, wanted)
    if not header.file_meta.TransferSyntaxUID.is_compressed and there < wanted:
        raise damaged(path, f"it is cut short: {max(there, 0)} bytes of pixels, not {wanted}")


def _check_rest(path: Path, file: BinaryIO, size: int, syntax: pydicom.uid.UID) -> None:
    """Refuse elements from the pixels on that claim to be longer than the file.

    ITK's reader takes memory for what they claim: 1.3 GB of a file of 2 kB.
    """

    def is_beyond(tag: BaseTag, kind: str | None, length: int) -> bool:
        if length != UNDEFINED and file.tell() + length > size:
            raise damaged(path, f"its element {tag:08x} claims {length} bytes, more than the file has")
        return False

    for _ in data_element_generator(
        file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=is_beyond, defer_size=DEFERRED
    ):
        pass


def read_series(folder: Path) -> sitk.Image:
    """Read a folder with one DICOM series as a volume.

    Raises:
        UserError: it holds no series or several, or its slices do not make one regular volume.
    """
    slices = series_of(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(one.path) for one in slices])
    kinds = {tuple(str(one.header.get(key, usual)) for key, usual in NUMBERS.items()) for one in slices}
    if len(kinds) > 1:
        # ITK reads all slices as the first one's type, which cuts fractions off and wraps what it does not hold.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    return place(reader.Execute(), [one.plane for one in slices])


def series_of(folder: Path) -> list[Slice]:
    """The slices of a folder's one series, in the order of their positions, verified to be regular.

    Raises:
        UserError: see `read_series`.
    """
    check_name(folder)
    files = files_of(folder)
    headers = [(path, read_header(path)) for path in files if not path.name.upper().startswith("DICOMDIR")]
    series = Counter(str(header.get("SeriesInstanceUID", "")) for _, header in headers)
    if len(series) != 1:
        raise refuse(folder, f"it holds {len(series)} DICOM series, not one", "give each a folder of its own")
    if len(headers) == 1 and int(headers[0][1].get("NumberOfFrames", None) or 1) > 1:
        raise refuse(folder, "its one file holds all frames", f"name the file itself, {headers[0][0]}")
    slices = []
    for path, header in headers:
        with _parsing(path):
            slices.append(Slice(path, header, _plane(path.name, header)))
    if len(slices) < 2:
        raise refuse(folder, "it holds a single slice", "add the other slices of its series")
    if len({(one.header.Rows, one.header.Columns) for one in slices}) > 1:
        raise refuse(folder, "its slices differ in size", "keep those of one volume")
    normal = slices[0].plane.normal
    slices.sort(key=lambda one: float(one.plane.position @ normal))
    _refuse_repeats(folder, slices)
    check_planes(folder, [one.plane for one in slices])
    return slices


def _plane(name: str, header: Dataset) -> Plane:
    for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not header.get(key):
            raise ValueError(f"{name} lacks {key}")
    axes = np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row, column = (float(value) for value in header.PixelSpacing)
    position = np.array(header.ImagePositionPatient, dtype=np.float64)
    if not (np.isfinite(axes).all() and np.isfinite(position).all() and min(row, column) > 0):
        raise ValueError(f"{name} has a position, orientation or pixel spacing that is no number")
    return Plane(name, position, axes, (row, column))


def _refuse_repeats(folder: Path, slices: Sequence[Slice]) -> None:
    """Name what two slices at one position differ in, such as their echo."""
    for before, after in zip(slices, slices[1:], strict=False):
        if np.linalg.norm(after.plane.position - before.plane.position) > 1e-3:
            continue
        for key, name in REPEATS.items():
            values = {str(one.header.get(key, "")) for one in slices}
            if len(values) > 1 and before.header.get(key) != after.header.get(key):
                raise refuse(
                    folder, f"it holds {len(values)} {name} in one series ({key})", "give each a folder of its own"
                )
        raise refuse(
            folder,
            f"{before.path.name} and {after.path.name} lie at the same position (a copy, or a second echo)",
            "keep one slice for each position, or give each echo a folder of its own",
        )


def check_planes(path: Path, planes: Sequence[Plane]) -> None:
    """Verify that planes, in their order, make one regular volume.

    Raises:
        UserError: they differ in orientation or spacing, are sheared, doubled, out of order or unevenly spaced.
    """
    first = planes[0]
    if abs(np.linalg.norm(first.axes, axis=1) - 1).max() > 1e-3 or abs(first.axes[0] @ first.axes[1]) > 1e-3:
        raise damaged(path, "its rows and columns are not at right angles")
    for plane in planes:
        if np.abs(plane.axes - first.axes).max() > 1e-3:
            raise refuse(
                path, f"{first.name} and {plane.name} differ in orientation (a localizer?)", "keep one of them"
            )
        if not np.allclose(plane.spacing, first.spacing, rtol=1e-3):
            raise refuse(path, f"{first.name} and {plane.name} differ in pixel spacing", "keep one of them")
    if len(planes) > 1:
        _check_steps(path, planes)


def _check_steps(path: Path, planes: Sequence[Plane]) -> None:
    normal = planes[0].normal
    steps = np.diff([plane.position for plane in planes], axis=0)
    along = steps @ normal
    step = float(np.median(np.abs(along)))
    tolerance = UNEVEN * step + 0.01
    doubled = np.flatnonzero(np.linalg.norm(steps, axis=1) < 1e-3)
    if len(doubled):
        pair = f"{planes[doubled[0]].name} and {planes[doubled[0] + 1].name}"
        raise refuse(path, f"{pair} lie at the same position", "keep one slice for each position")
    if len(set(np.sign(along))) > 1:
        raise refuse(
            path,
            "its frames are not stored in the order of their positions, or several volumes are in it",
            "convert it with dcm2niix",
        )
    sideways = np.linalg.norm(steps - np.outer(along, normal), axis=1)
    if (sideways > TILT * np.abs(along) + 0.01).any():
        raise refuse(
            path,
            "its slices are shifted sideways from one to the next (gantry tilt), so that the volume is sheared",
            "resample it, as dcm2niix does",
        )
    uneven = np.flatnonzero(np.abs(np.abs(along) - step) > tolerance)
    if len(uneven):
        gap, place = abs(float(along[uneven[0]])), uneven[0]
        times = round(gap / step)
        what = f"{times - 1} missing" if times > 1 and abs(gap - times * step) < tolerance else "uneven spacing"
        raise refuse(
            path,
            f"its slices are {step:.4g} mm apart, but {planes[place].name} and {planes[place + 1].name} are "
            f"{gap:.4g} mm apart ({what})",
            "restore the missing slices, or resample it",
        )


def place(image: sitk.Image, planes: Sequence[Plane]) -> sitk.Image:
    """Give a volume the geometry of its planes; ITK takes parts of it from the first slice alone."""
    first, last = planes[0], planes[-1]
    across = (last.position - first.position) / max(len(planes) - 1, 1)
    step = float(np.linalg.norm(across))
    image.SetOrigin(first.position.tolist())
    image.SetSpacing([first.spacing[1], first.spacing[0], step])
    # At right angles exactly: the check above bounds what is rounded here.
    row = first.axes[0] / np.linalg.norm(first.axes[0])
    normal = first.normal / np.linalg.norm(first.normal)
    direction = np.stack([row, np.cross(normal, row), normal * np.sign(across @ normal)], axis=1)
    image.SetDirection(direction.ravel().tolist())
    return image


def read_file(path: Path) -> sitk.Image:
    """Read a multi-frame DICOM file as a volume.

    Raises:
        UserError: it is a single slice, or its frames do not make one regular volume of one intensity scale.
    """
    planes = frames_of(path)
    image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    return place(image, planes) if planes else image


def frames_of(path: Path) -> list[Plane]:
    """The planes of a multi-frame file, verified; none where it does not say where each frame lies.

    Raises:
        UserError: see `read_file`.
    """
    header = read_header(path)
    frames = int(header.get("NumberOfFrames", None) or 1)
    if frames < 2:
        raise refuse(path, "it is a single slice", "name the folder that holds its whole series")
    with _parsing(path):
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if not groups:
            return []
        if len(groups) != frames:
            raise ValueError(f"{len(groups)} frame descriptions for {frames} frames")
        shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        planes = [_frame(number, group, shared) for number, group in enumerate(groups, start=1)]
        scales = {_scale(group, shared) for group in groups}
    if len(scales) > 1:
        # ITK takes the first one's for all.
        raise refuse(path, "its frames have different intensity scales", "convert it with dcm2niix")
    check_planes(path, planes)
    return planes


def _frame(number: int, group: Dataset, shared: Dataset) -> Plane:
    merged = Dataset()
    for sequence in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
        inner = group.get(sequence) or shared.get(sequence)
        if inner:
            merged.update(inner[0])
    return _plane(f"frame {number}", merged)


def _scale(group: Dataset, shared: Dataset) -> tuple[float, float]:
    """Slope and intercept from stored pixels to intensities."""
    name = "PixelValueTransformationSequence"
    inner = (group.get(name) or shared.get(name) or [Dataset()])[0]
    return float(inner.get("RescaleSlope", 1)), float(inner.get("RescaleIntercept", 0))


def remarks(path: Path) -> list[str]:
    """What a multi-frame file leaves open: where it does not say its spacing, ITK takes 1 mm."""
    header = read_header(path)
    if header.get("PerFrameFunctionalGroupsSequence") or header.get("SpacingBetweenSlices"):
        return []
    return [f"{path} does not say how far apart its frames are: ITK's spacing is taken, compare it with the mask."]
