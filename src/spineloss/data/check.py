"""What a folder of volumes holds, and everything wrong with it."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.data.cases import Case, Layout, Problem, geometry_difference, read_images, read_labels
from spineloss.errors import UserError

LARGEST_LABEL = 2**31 - 1
# Volumes of more voxels are taken one after the other: each takes gigabytes while it is looked at and prepared.
LARGE = 2**25
ALONE = threading.Lock()
# By bytes in a voxel. Volumes of these types are digested without it, as they were when studies of them began.
USUAL = {1: np.uint8, 2: np.int16, 4: np.float32, 8: np.float64}

# Takes a case without problems, its digest, channels and label map, while they are in memory.
Use = Callable[[Case, str, list[sitk.Image], sitk.Image], None]


@dataclass(frozen=True)
class Row:
    """One readable case: shape and spacing as (z, y, x), intensities, voxels of each label, foreground's share."""

    case: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    low: float
    high: float
    voxels: dict[int, int]
    foreground: float


@dataclass(frozen=True)
class Report:
    """Rows of the readable cases, problems, a digest of each case's content, and remarks that stop nothing."""

    layout: str
    rows: list[Row]
    problems: list[Problem]
    content: dict[str, str]
    remarks: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Inspection:
    problems: list[Problem]
    remarks: list[Problem] = field(default_factory=list)
    row: Row | None = None
    pixels: str | None = None
    content: str | None = None


def check(layout: Layout, use: Use | None = None) -> Report:
    """Read every case once, and report what is there and what is wrong.

    Found are: a missing or extra mask, an unreadable file, a channel too many or too few, a mask or a channel with
    another geometry than the first image, NaN or infinite voxels, a mask that is empty or not of whole numbers,
    and images that occur twice.

    Args:
        layout: the cases, from `find_cases`.
        use: called with each case that has no problem while its volumes are in memory.
    """
    with ThreadPoolExecutor() as pool:
        inspected = list(pool.map(lambda case: _inspect(case, layout, use), layout.cases))
    by_case = dict(zip([case.id for case in layout.cases], inspected, strict=True))
    problems = [*layout.problems, *(problem for one in inspected for problem in one.problems)]
    return Report(
        layout.name,
        [one.row for one in inspected if one.row is not None],
        problems + _duplicates({case: one.pixels for case, one in by_case.items()}),
        {case: one.content for case, one in by_case.items() if one.content is not None},
        [remark for one in inspected for remark in one.remarks],
    )


def _inspect(case: Case, layout: Layout, use: Use | None) -> _Inspection:
    try:
        images, (labels, overlaps) = read_images(case), read_labels(case.masks)
        sentences = [*overlaps, *(sentence for path in case.paths() for sentence in volumes.remarks(path))]
        remarks = [Problem(case.id, "remark", sentence) for sentence in sentences]
    except UserError as error:
        return _Inspection([Problem(case.id, "unreadable", str(error))])
    if (problem := _wrong_count(case, len(images), layout.channels)) is not None:
        return _Inspection([problem], remarks)
    with ALONE if images[0].GetNumberOfPixels() > LARGE else nullcontext():
        return _measure(case, layout, images, labels, remarks, use)


def _measure(
    case: Case,
    layout: Layout,
    images: list[sitk.Image],
    labels: sitk.Image,
    remarks: list[Problem],
    use: Use | None,
) -> _Inspection:
    arrays, label_map = [volumes.array_of(image) for image in images], volumes.array_of(labels)
    image, ignore = images[0], layout.labels.ignore
    problems = _problems(case, images, labels, arrays, label_map, ignore, remarks)
    if any(problem.kind == "labels" for problem in problems):
        return _Inspection(problems, remarks)
    values, counts = np.unique(label_map, return_counts=True)
    voxels = {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}
    row = Row(
        case.id,
        arrays[0].shape,
        volumes.spacing_of(image),
        volumes.orientation_of(image),
        float(min(array.min() for array in arrays)),
        float(max(array.max() for array in arrays)),
        voxels,
        sum(count for label, count in voxels.items() if label != ignore) / label_map.size,
    )
    geometry = repr((image.GetSize(), image.GetSpacing(), image.GetDirection())).encode()
    pixels = _digest(*(part for array in arrays for part in (_type_of(array), array.data)))
    content = _digest(pixels.encode(), geometry, label_map.astype(np.int32).data)
    if use is not None and not problems:
        use(case, content, images, labels)
    return _Inspection(problems, remarks, row, pixels, content)


def _type_of(array: np.ndarray) -> bytes:
    """The type of voxels whose bytes are other numbers in the usual type of that size; of all others nothing."""
    usual, own = np.dtype(USUAL[array.dtype.itemsize]), array.dtype
    whole = "f" not in (usual.kind, own.kind)
    if own == usual or (whole and np.array_equal(array.view(usual), array)):
        return b""
    return own.name.encode()


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _wrong_count(case: Case, count: int, channels: tuple[str, ...]) -> Problem | None:
    if count == len(channels):
        return None
    sentence = (
        f"{case.images[0]} makes a case of {count} channels, but the data set has {len(channels)} "
        f"({', '.join(channels)}): export it with those, or leave its case out."
    )
    return Problem(case.id, "channels", sentence)


def _problems(
    case: Case,
    images: list[sitk.Image],
    labels: sitk.Image,
    arrays: list[np.ndarray],
    label_map: np.ndarray,
    ignore: int | None,
    remarks: list[Problem],
) -> list[Problem]:
    problems = []
    mask = case.masks[0][0]
    # Channels in one file share its geometry.
    others = [(mask, labels), *zip(case.images[1:], images[1:], strict=False)]
    for path, other in others:
        if (difference := geometry_difference(images[0], other)) is not None:
            sentence = f"{path} has another {difference} than {case.images[0]}: {_remedy(remarks)}."
            problems.append(Problem(case.id, "geometry", sentence))
    if bad := sum(volumes.count_not_finite(array) for array in arrays):
        names = ", ".join(str(path) for path in case.images)
        sentence = f"{names} has {bad} voxels that are NaN or infinite: export it again or replace them."
        problems.append(Problem(case.id, "NaN", sentence))
    if (sentence := _no_label_map(label_map)) is not None:
        problems.append(Problem(case.id, "labels", f"{mask} {sentence}."))
    elif np.isin(label_map, [0] if ignore is None else [0, ignore]).all():
        problems.append(Problem(case.id, "empty mask", f"{mask} is empty: segment it or leave its case out."))
    return problems


def _remedy(remarks: list[Problem]) -> str:
    if any("disagree" in remark.sentence for remark in remarks):
        return "its files' qform and sform disagree, make the two forms of each the same"
    return "resample it onto its image"


def _no_label_map(label_map: np.ndarray) -> str | None:
    if bad := volumes.count_not_finite(label_map):
        return f"has {bad} voxels that are NaN or infinite: set them to a label, such as 0 for background"
    if (label_map != np.round(label_map)).any() or label_map.min() < 0 or label_map.max() > LARGEST_LABEL:
        return "holds values that are no labels (0, 1, 2, ...): export it as a label map"
    return None


def _duplicates(pixels: dict[str, str | None]) -> list[Problem]:
    groups = defaultdict(list)
    for case, digest in pixels.items():
        if digest is not None:
            groups[digest].append(case)
    return [
        Problem(
            later,
            "duplicate",
            f"{later} has the same image as {', '.join(group[:number])}: keep one, or folds are not independent.",
            tuple(group[:number]),
        )
        for group in groups.values()
        for number, later in enumerate(group)
        if number
    ]
