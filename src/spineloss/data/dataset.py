"""A folder of volumes as samples at one resolution: checked, oriented, preprocessed, cached."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
import torch

from spineloss.data import preprocessing, volumes
from spineloss.data.cache import Cache, key_of, map_tensor
from spineloss.data.cases import Case, Layout, orient_alike, read_case
from spineloss.data.check import Report
from spineloss.data.groups import group_cases
from spineloss.data.labelling import Kind, Labelling, labelling_of
from spineloss.data.layouts import find_cases
from spineloss.data.patches import places_of
from spineloss.data.preprocessing import Grid
from spineloss.data.resolution import Resolution, Spacing, resolve
from spineloss.errors import UserError

# What the cache keeps of a case: of its volumes, and of the labels chosen from them.
VOLUME = ("image", "own_labels", "spacing", "own_spacing")
TARGET = ("target", "own_target", "spacing", "own_spacing")


@dataclass(frozen=True)
class Sample:
    """One case as it was resampled, its spacing (z, y, x) in mm, and the files of the cache that hold it.

    Each look maps a file anew and lets it go with the tensor: memory does not grow with the number of cases, and a
    process that is handed a sample is handed two paths. The data set's `Labelling` says what the target means.
    """

    case: str
    spacing: tuple[float, float, float]
    image_file: Path
    target_file: Path

    @property
    def image(self) -> torch.Tensor:
        """(channels, Z, Y, X) float32."""
        return map_tensor(self.image_file, "image")

    @property
    def target(self) -> torch.Tensor:
        """(C, Z, Y, X) uint8."""
        return map_tensor(self.target_file, "target")

    @property
    def places(self) -> torch.Tensor:
        """Voxels that patches can lie around; see `places_of`. Samples on one grid have none."""
        return map_tensor(self.target_file, "places")

    def own_target(self) -> torch.Tensor:
        """The target on the case's own grid: (C, Z, Y, X) uint8, oriented like the rest of the data."""
        return map_tensor(self.target_file, "own_target")

    def own_spacing(self) -> tuple[float, float, float]:
        """Spacing of the case's own grid, (z, y, x) mm."""
        return tuple(map_tensor(self.target_file, "own_spacing").tolist())


@dataclass(frozen=True)
class Dataset:
    """Samples by case id, the group (patient) of each, and what they share.

    `channels` are the images' by name; `digest` is of all that the samples are made of.
    """

    samples: dict[str, Sample]
    groups: dict[str, str]
    channels: tuple[str, ...]
    labelling: Labelling
    orientation: str
    resolution: Resolution
    digest: str


def prepare(
    source: Path,
    *,
    grid: Grid | None,
    spacing: Literal["median", "native"] | Spacing | None = None,
    labels: str | Sequence[int],
    target: Kind,
    channels: Sequence[str] | None = None,
    ignore: int | None = None,
    leave_out: Sequence[str],
    groups: str = "auto",
    orientation: str | None = None,
    cache: Cache,
    progress: Callable[[str], None],
) -> Dataset:
    """Check the data of a study and bring each case to its resolution, from the cache where it is there.

    Args:
        source: folder of volumes, or a CSV manifest.
        grid: (Z, Y, X) voxels that every case is brought to; none where there is a spacing.
        spacing: (z, y, x) mm, the `median` of the cases, or `native`, each case's own.
        labels: `all`, in the order of their numbers, or the chosen ones in theirs.
        target: how labels become targets; see `Labelling`.
        channels: of the images, by name; the data set's usual ones by default.
        ignore: the label of what is not annotated; what the data set says of it by default.
        leave_out: ids of cases to leave out, whatever is wrong with them.
        groups: `auto`, or a regular expression that finds the patient in a case id; see `group_cases`.
        orientation: that all volumes are turned to; the data's own, slices first, if none.
        cache: where prepared cases are kept.
        progress: called with one line per step.

    Raises:
        UserError: the data has problems, or no case holds a chosen label.
    """
    progress(f"Looking at {source}")
    layout = find_cases(source)
    kept = _without(layout, leave_out, source)
    taken = layout.channels_taken(channels)
    names = tuple(layout.channels[number] for number in taken)
    frame_of = partial(_frame, grid=grid, spacing=spacing, orientation=orientation, taken=taken)
    report, frame = _look(layout, kept, frame_of, cache)
    _refuse_problems(report, leave_out, source)
    described = layout.labels if ignore is None else replace(layout.labels, ignore=ignore)
    labelling = labelling_of(target, _chosen_labels(report, kept, labels, described.ignore, source), described)
    wanted = TARGET if grid else (*TARGET, "places")
    samples = {}
    for number, case in enumerate(kept, start=1):
        digest = report.content[case.id]
        volume_key, target_key = frame.key(digest), frame.key(digest, labelling.plain())
        targets = cache.read(target_key, *wanted)
        if targets is None or cache.read(volume_key, "image") is None:
            progress(f"Preparing {case.id} ({number}/{len(kept)})")
            volume = cache.read(volume_key, *VOLUME)
            if volume is None:
                volume = frame.resampled(*read_case(case, frame.orientation))
                cache.write(volume_key, volume)
            targets = _targets(volume, labelling)
            if not grid:
                targets["places"] = places_of(labelling.annotated(targets["target"]))
            cache.write(target_key, targets)
        own = tuple(targets["spacing"].tolist())
        samples[case.id] = Sample(case.id, own, cache.path(volume_key), cache.path(target_key))
    remarks = [] if described.ignore is None else [f"label {described.ignore} is ignored"]
    remarks += [f"regions {sorted(described.regions.items())}"] if target == "regions" else []
    remarks += [f"channels {', '.join(names)}"] if len(layout.channels) > 1 else []
    content = "\n".join([*(f"{case} {report.content[case]}" for case in sorted(samples)), *remarks])
    declared = {case.id: case.group for case in kept if case.group}
    return Dataset(
        samples,
        group_cases(samples, declared, groups),
        names,
        labelling,
        frame.orientation,
        frame.resolution,
        hashlib.sha256(content.encode()).hexdigest(),
    )


@dataclass(frozen=True)
class _Frame:
    """What every case is turned and resampled to, and the numbers of the channels that are taken of it."""

    orientation: str
    resolution: Resolution
    taken: list[int]

    def key(self, digest: str, *more: Any) -> str:
        """Of what comes of a case with this digest of its content."""
        voxels = self.resolution.grid or {"spacing": self.resolution.spacing}
        # What is kept of a first channel alone has the key that it had before there were several.
        channels = [] if self.taken == [0] else [self.taken]
        return key_of([digest, voxels, self.orientation, *channels, *more])

    def resampled(self, images: Sequence[sitk.Image], labels: sitk.Image) -> dict[str, torch.Tensor]:
        """What the cache keeps of a case's channels and labels, which are turned already."""
        channels = normalised([images[number] for number in self.taken])
        own = volumes.spacing_of(images[0])
        grid = self.resolution.grid_of(tuple(channels.shape[1:]), own)
        spacing = torch.tensor(own, dtype=torch.float64)
        scale = torch.tensor(channels.shape[1:], dtype=torch.float64) / torch.tensor(grid, dtype=torch.float64)
        return {
            "image": preprocessing.resize_image(channels, grid).contiguous(),
            "own_labels": torch.from_numpy(volumes.array_of(labels).astype(np.int32)),
            "spacing": spacing * scale,
            "own_spacing": spacing,
        }


def _frame(
    geometries: Iterable[tuple[Sequence[float], str]],
    grid: Grid | None,
    spacing: Literal["median", "native"] | Spacing | None,
    orientation: str | None,
    taken: list[int],
) -> _Frame:
    known = list(geometries)
    if orientation is None:
        orientation = volumes.slices_first(known) if known else volumes.AXIAL
    spacings = [volumes.turned(own, code, orientation) for own, code in known]
    return _Frame(orientation, resolve(grid, spacing, spacings), taken)


def _without(layout: Layout, leave_out: Sequence[str], source: Path) -> list[Case]:
    known = {case.id for case in layout.cases} | {problem.case for problem in layout.problems}
    unknown = sorted(set(leave_out) - known)
    if unknown:
        raise UserError(
            f"{source} has no case {unknown[0]!r} to leave out: `spineloss data check` lists its cases."
        )
    kept = [case for case in layout.cases if case.id not in leave_out]
    if not kept:
        raise UserError(f"{source} has no case left: take some out of `leave_out`.")
    return kept


def _refuse_problems(report: Report, leave_out: Sequence[str], source: Path) -> None:
    left = set(leave_out)
    problems = [
        problem
        for problem in report.problems
        if problem.case not in left and not (problem.twins and left.issuperset(problem.twins))
    ]
    if problems:
        concerned = dict.fromkeys([*leave_out, *(problem.case for problem in problems)])
        # In quotes, as JSON, which is YAML: without them a study file reads 03 as a number and null as none.
        remedy = json.dumps([*concerned], ensure_ascii=False)
        raise UserError(
            f"{source} has {len(problems)} problem(s); the first: {problems[0].sentence} "
            f"To go on without, set `leave_out: {remedy}`."
        )


def _chosen_labels(
    report: Report, kept: Sequence[Case], labels: str | Sequence[int], ignore: int | None, source: Path
) -> list[int]:
    ids = {case.id for case in kept}
    present = Counter(label for row in report.rows if row.case in ids for label in row.voxels)
    if labels == "all":
        return sorted(label for label in present if label != ignore)
    absent = [label for label in labels if label not in present]
    if absent:
        raise UserError(f"{source}: no case holds label {absent[0]}; the labels there are {sorted(present)}.")
    return list(labels)


def _look(
    layout: Layout, kept: Sequence[Case], frame_of: Callable[[Iterable], _Frame], cache: Cache
) -> tuple[Report, _Frame]:
    """The report and the frame of all cases; a case read for the report is brought to the frame on the way."""
    if cache.has_report(layout):
        report = cache.report(layout)
        rows = {row.case: row for row in report.rows}
        return report, frame_of(
            (rows[case.id].spacing, rows[case.id].orientation) for case in kept if case.id in rows
        )
    frame = frame_of(geometry for case in kept if (geometry := _geometry(case)) is not None)
    wanted = {case.id for case in kept}

    def use(case: Case, digest: str, images: list[sitk.Image], labels: sitk.Image) -> None:
        if case.id in wanted:
            *turned, turned_labels = orient_alike([*images, labels], frame.orientation)
            cache.write(frame.key(digest), frame.resampled(turned, turned_labels))

    return cache.report(layout, use), frame


def _geometry(case: Case) -> tuple[Sequence[float], str] | None:
    """Spacing and orientation by the header alone; none where it cannot be read, which the report explains."""
    try:
        return volumes.geometry(case.images[0])
    except UserError:
        return None


def normalised(images: Sequence[sitk.Image]) -> torch.Tensor:
    """The channels of a case as (C, Z, Y, X) float32, each normalised by itself."""
    return torch.stack([torch.from_numpy(preprocessing.normalise(volumes.array_of(image))) for image in images])


def _targets(volume: dict[str, torch.Tensor], labelling: Labelling) -> dict[str, torch.Tensor]:
    own = labelling.target_of(volume["own_labels"].numpy())
    return {
        "target": labelling.resized(own, tuple(volume["image"].shape[1:])),
        "own_target": own,
        "spacing": volume["spacing"],
        "own_spacing": volume["own_spacing"],
    }
