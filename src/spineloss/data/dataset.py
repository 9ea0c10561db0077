"""A folder of volumes as samples on the network grid: checked, oriented, preprocessed, cached."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spineloss.data import preprocessing, volumes
from spineloss.data.cache import Cache, key_of
from spineloss.data.cases import Case, Layout, find_cases, read_case
from spineloss.data.check import Report
from spineloss.data.groups import group_cases
from spineloss.data.preprocessing import Grid
from spineloss.errors import UserError
from spineloss.files import read_tensor, write_tensors


@dataclass(frozen=True)
class Sample:
    """One case on the network grid: image (1, *grid) float32, target (C, *grid) uint8, spacing (z, y, x) mm."""

    case: str
    image: torch.Tensor
    target: torch.Tensor
    spacing: tuple[float, float, float]
    file: Path

    def own_target(self) -> torch.Tensor:
        """The target on the case's own grid: (C, Z, Y, X) uint8, oriented like the rest of the data."""
        return read_tensor(self.file, "own_target")

    def own_spacing(self) -> tuple[float, float, float]:
        """Spacing of the case's own grid, (z, y, x) mm."""
        return tuple(read_tensor(self.file, "own_spacing").tolist())


@dataclass(frozen=True)
class Dataset:
    """Samples by case id, the group (patient) of each, target channels, common orientation, a digest of it all."""

    samples: dict[str, Sample]
    groups: dict[str, str]
    channels: tuple[str, ...]
    orientation: str
    digest: str


def prepare(
    source: Path,
    *,
    grid: Grid,
    labels: str | Sequence[int],
    target: str,
    leave_out: Sequence[str],
    groups: str = "auto",
    cache: Cache,
    progress: Callable[[str], None],
) -> Dataset:
    """Check the data of a study and bring each case to the network grid, from the cache where it is there.

    Args:
        source: folder of volumes, or a CSV manifest.
        grid: (Z, Y, X) voxels of the network's input.
        labels: `all`, or the chosen ones.
        target: `merged` or `per-label`.
        leave_out: ids of cases to leave out, whatever is wrong with them.
        groups: `auto`, or a regular expression that finds the patient in a case id; see `group_cases`.
        cache: where prepared cases are kept.
        progress: told in a line what is being done.

    Raises:
        UserError: the data has problems, or no case holds a chosen label.
    """
    progress(f"Looking at {source}")
    layout = find_cases(source)
    report = cache.report(source, layout)
    kept = _without(layout, leave_out, source)
    _refuse_problems(report, leave_out, source)
    chosen = _chosen_labels(report, kept, labels, source)
    rows = {row.case: row for row in report.rows}
    orientation = volumes.slices_first([(rows[case.id].spacing, rows[case.id].orientation) for case in kept])
    samples = {}
    for number, case in enumerate(kept, start=1):
        digest = report.content[case.id]
        file = cache.tensors(key_of([digest, grid, chosen, target, orientation]))
        if not file.exists():
            progress(f"Preparing {case.id} ({number}/{len(kept)})")
            write_tensors(file, _preprocess(case, orientation, grid, chosen, target))
        samples[case.id] = Sample(
            case.id,
            read_tensor(file, "image"),
            read_tensor(file, "target"),
            tuple(read_tensor(file, "spacing").tolist()),
            file,
        )
    names = ("all",) if target == "merged" else tuple(str(label) for label in chosen)
    content = "\n".join(f"{case} {report.content[case]}" for case in sorted(samples))
    declared = {case.id: case.group for case in kept if case.group}
    return Dataset(
        samples,
        group_cases(samples, declared, groups),
        names,
        orientation,
        hashlib.sha256(content.encode()).hexdigest(),
    )


def _without(layout: Layout, leave_out: Sequence[str], source: Path) -> list[Case]:
    known = {case.id for case in layout.cases} | {problem.case for problem in layout.problems}
    unknown = sorted(set(leave_out) - known)
    if unknown:
        raise UserError(
            f"{source} has no case {unknown[0]!r} to leave out: `spineloss data check` lists its cases."
        )
    return [case for case in layout.cases if case.id not in leave_out]


def _refuse_problems(report: Report, leave_out: Sequence[str], source: Path) -> None:
    problems = [problem for problem in report.problems if problem.case not in leave_out]
    if problems:
        concerned = ", ".join(dict.fromkeys([*leave_out, *(problem.case for problem in problems)]))
        raise UserError(
            f"{source} has {len(problems)} problem(s); the first: {problems[0].sentence} "
            f"To go on without, set `leave_out: [{concerned}]`."
        )


def _chosen_labels(report: Report, kept: Sequence[Case], labels: str | Sequence[int], source: Path) -> list[int]:
    ids = {case.id for case in kept}
    present = Counter(label for row in report.rows if row.case in ids for label in row.voxels)
    if labels == "all":
        return sorted(present)
    absent = [label for label in labels if label not in present]
    if absent:
        raise UserError(f"{source}: no case holds label {absent[0]}; the labels there are {sorted(present)}.")
    return sorted(labels)


def _preprocess(
    case: Case, orientation: str, grid: Grid, labels: Sequence[int], target: str
) -> dict[str, torch.Tensor]:
    image, label_map = read_case(case, orientation)
    own = torch.from_numpy(preprocessing.channels_of(volumes.array_of(label_map), labels, target))
    spacing = torch.tensor(volumes.spacing_of(image), dtype=torch.float64)
    scale = torch.tensor(own.shape[1:], dtype=torch.float64) / torch.tensor(grid, dtype=torch.float64)
    normal = torch.from_numpy(preprocessing.normalise(volumes.array_of(image)))[None]
    return {
        "image": preprocessing.resize_image(normal, grid).contiguous(),
        "target": preprocessing.resize_mask(own, grid),
        "spacing": spacing * scale,
        "own_target": own.to(torch.uint8),
        "own_spacing": spacing,
    }
