"""What a folder of volumes holds, and everything wrong with it."""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.data.cases import Case, Problem, find_cases, read_labels
from spineloss.errors import UserError

TOLERANCE = 1e-3  # of geometry: relative to the spacing, and of direction cosines


@dataclass(frozen=True)
class Row:
    """One readable case: shape and spacing as (z, y, x), intensities, voxels of each label."""

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
    """Rows of the readable cases, problems, and a digest of each case's content."""

    layout: str
    rows: list[Row]
    problems: list[Problem]
    content: dict[str, str]


def check(source: Path) -> Report:
    """Read every case of a folder or manifest and report what is there and what is wrong.

    Found are: a missing or extra mask, an unreadable file, a mask with another geometry than its image, NaN or
    infinite voxels, a mask that is empty or not of whole numbers, and images that occur twice.

    Raises:
        UserError: the folder has no known layout.
    """
    layout = find_cases(source)
    with ThreadPoolExecutor() as pool:
        inspected = list(pool.map(_inspect, layout.cases))
    rows = [row for row, _, _, _ in inspected if row is not None]
    problems = [*layout.problems, *(problem for _, found, _, _ in inspected for problem in found)]
    problems += _duplicates(
        {case.id: image for case, (_, _, image, _) in zip(layout.cases, inspected, strict=True)}
    )
    content = {
        case.id: digest
        for case, (_, _, _, digest) in zip(layout.cases, inspected, strict=True)
        if digest is not None
    }
    return Report(layout.name, rows, problems, content)


def _inspect(case: Case) -> tuple[Row | None, list[Problem], str | None, str | None]:
    try:
        image, labels = volumes.read(case.image), read_labels(case.masks)
    except UserError as error:
        return None, [Problem(case.id, "unreadable", str(error))], None, None
    array, label_map = volumes.array_of(image), volumes.array_of(labels)
    problems = _problems(case, image, labels, array, label_map)
    if any(problem.kind == "labels" for problem in problems):
        return None, problems, None, None
    values, counts = np.unique(label_map, return_counts=True)
    voxels = {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}
    row = Row(
        case.id,
        array.shape,
        volumes.spacing_of(image),
        volumes.orientation_of(image),
        float(array.min()),
        float(array.max()),
        voxels,
        sum(voxels.values()) / label_map.size,
    )
    geometry = repr((image.GetSize(), image.GetSpacing(), image.GetDirection())).encode()
    pixels = _digest(array.tobytes())
    return row, problems, pixels, _digest(pixels.encode(), geometry, label_map.astype(np.int32).tobytes())


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _problems(
    case: Case, image: sitk.Image, labels: sitk.Image, array: np.ndarray, label_map: np.ndarray
) -> list[Problem]:
    problems = []
    mask = case.masks[0][0]
    if (difference := _geometry_difference(image, labels)) is not None:
        sentence = f"{mask} has another {difference} than {case.image}: resample it onto its image."
        problems.append(Problem(case.id, "geometry", sentence))
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        sentence = f"{case.image} has {bad} voxels that are NaN or infinite: export it again or replace them."
        problems.append(Problem(case.id, "NaN", sentence))
    if not np.isfinite(label_map).all() or (label_map != np.round(label_map)).any() or label_map.min() < 0:
        sentence = f"{mask} holds values that are no labels (0, 1, 2, ...): export it as a label map."
        problems.append(Problem(case.id, "labels", sentence))
    elif not label_map.any():
        problems.append(Problem(case.id, "empty mask", f"{mask} is empty: segment it or leave its case out."))
    return problems


def _geometry_difference(image: sitk.Image, labels: sitk.Image) -> str | None:
    if image.GetSize() != labels.GetSize():
        return f"size ({list(labels.GetSize())}, not {list(image.GetSize())})"
    spacing = np.array(image.GetSpacing())
    if np.abs(np.subtract(labels.GetSpacing(), spacing) / spacing).max() > TOLERANCE:
        return "spacing"
    if np.abs(np.subtract(labels.GetDirection(), image.GetDirection())).max() > TOLERANCE:
        return "direction"
    corner = image.TransformContinuousIndexToPhysicalPoint([0.0, 0.0, 0.0])
    if np.abs(np.subtract(labels.GetOrigin(), corner)).max() > 0.1 * spacing.min():
        return "origin"
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
            f"{later} has the same image as {group[0]}: keep one, or folds are not independent.",
        )
        for group in groups.values()
        for later in group[1:]
    ]
