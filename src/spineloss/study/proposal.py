"""The settings that a study of some data is proposed, each with its reason."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from spineloss.data.cache import Cache
from spineloss.data.fingerprint import Fingerprint, fingerprint
from spineloss.data.groups import group_cases
from spineloss.data.layouts import find_cases
from spineloss.data.preprocessing import Grid
from spineloss.data.resolution import Resolution, Spacing, are_alike, median_spacing
from spineloss.errors import UserError

MOST_VOXELS = 2**18  # of the network's input: a fold of 20 cases then trains in minutes on two cores
LEAST, STEP = 16, 8  # of a patch's sizes: the U-Net halves them four times, an odd one to the lesser half
FOLDS = 3
BATCH = 2
# A floor, no promise: after 600 steps of studies/results/lumbar.md, at the scaled rate, one of four
# losses still improved. Whether curves have settled is read from them after the training.
ENOUGH = 600  # optimiser steps
NEAR = 1.25  # a change of voxel size that costs little
QUARTER = 0.25  # of a median case, that a patch covers
COARSER = 1.03  # the steps in which a spacing is made coarser


@dataclass(frozen=True)
class Proposed:
    """A key of the study file, the value proposed, and why."""

    key: str
    value: Any
    reason: str


def look(source: Path) -> Fingerprint:
    """The fingerprint of a folder of volumes or a manifest; files that were read before are not read again.

    Raises:
        UserError: the folder has no known layout, or fewer than two readable cases or patients.
    """
    layout = find_cases(source)
    report = Cache().report(layout)
    if len(report.rows) < 2:
        raise UserError(f"{source} holds {len(report.rows)} readable cases: a study needs two or more.")
    declared = {case.id: case.group for case in layout.cases if case.group}
    groups = group_cases([row.case for row in report.rows], declared)
    if len(set(groups.values())) < 2:
        raise UserError(f"All cases of {source} are of one patient: a study needs two patients or more.")
    return fingerprint(layout, report, groups)


def propose(found: Fingerprint) -> list[Proposed]:
    """Settings for the data of a fingerprint, in the order of a study file."""
    folds = min(FOLDS, found.patients)
    return [
        _labels(found),
        _target(found),
        *_resolution(found),
        Proposed("width", 8, "an eighth of the thesis's: minutes on a CPU; on a GPU 32 or 64"),
        Proposed("folds", folds, f"of {found.patients} patients"),
        _epochs(found.cases, folds),
        Proposed("batch", BATCH, f"of {MOST_VOXELS} voxels or fewer each"),
        Proposed("learning_rate", "auto", "scales with the width; a list is chosen from, for each method"),
    ]


def _labels(found: Fingerprint) -> Proposed:
    if found.regions:
        return Proposed("labels", "all", "regions are made of them")
    ignored = "" if found.ignored is None else f"; label {found.ignored} is what nobody annotated"
    return Proposed("labels", [share.label for share in found.labels], f"all that occur{ignored}")


def _target(found: Fingerprint) -> Proposed:
    if found.regions:
        return Proposed("target", "regions", f"dataset.json has {', '.join(found.regions)}")
    if len(found.labels) > 1:
        return Proposed("target", "exclusive", "each voxel has one label; merged would not tell them apart")
    return Proposed("target", "merged", "there is one label")


def _epochs(cases: int, folds: int) -> Proposed:
    steps = math.ceil((cases - cases // folds) / BATCH)
    epochs = math.ceil(ENOUGH / steps)
    return Proposed("epochs", epochs, f"{steps} steps each; before {ENOUGH} steps, curves still rise and cross")


def _resolution(found: Fingerprint) -> list[Proposed]:
    """One grid where it changes no case's voxels much; else one spacing, and patches as nnU-Net chooses them.

    References:
        Isensee et al., nnU-Net, Nature Methods 2021.
    """
    middle = tuple(median(axis) for axis in zip(*found.shapes, strict=True))
    grid = tuple(LEAST * max(1, round(size / LEAST)) for size in middle)
    changes = [max(n / to, to / n) for shape in found.shapes for n, to in zip(shape, grid, strict=True)]
    if max(grid) > LEAST and math.prod(grid) <= MOST_VOXELS and max(changes) <= NEAR:
        reason = f"every case fits it: no voxel changes its size by more than {100 * (max(changes) - 1):.0f} %"
        return [Proposed("grid", [*grid], reason)]
    middle = median_spacing(found.spacings)
    alike = are_alike(found.spacings)
    spacing = _coarsened(middle, found)
    if spacing != middle:
        value: Any = [float(f"{step:.3g}") for step in spacing]
        reason = f"at the cases' median of {_by(middle)} mm, a patch would cover less than {QUARTER:.0%} of a case"
    elif alike:
        value, reason = "native", f"all cases have {_by(middle)} mm: nothing is resampled"
    else:
        value, reason = "median", f"{_by(middle)} mm; the cases' own differ"
    shape = _median_shape(spacing, found)
    patch = patch_for(shape)
    covers = f"{_covered(patch, shape):.0%} of a median case of {_by(shape)} voxels; {MOST_VOXELS} are the most"
    return [Proposed("spacing", value, reason), Proposed("patch", [*patch], covers)]


def _median_shape(spacing: Spacing, found: Fingerprint) -> Sequence[float]:
    resolution = Resolution(spacing=spacing)
    shapes = [resolution.grid_of(*case) for case in zip(found.shapes, found.spacings, strict=True)]
    return [median(axis) for axis in zip(*shapes, strict=True)]


def _covered(patch: Grid, shape: Sequence[float]) -> float:
    return math.prod(min(1, size / whole) for size, whole in zip(patch, shape, strict=True))


def _coarsened(spacing: Spacing, found: Fingerprint) -> Spacing:
    """A spacing at which the patch covers a quarter of a median case, by nnU-Net's rule for its low resolution.

    The axes that are finer than half of the coarsest are made coarser first, then all.
    """
    shape = _median_shape(spacing, found)
    while _covered(patch_for(shape), shape) < QUARTER:
        finer = [max(spacing) > 2 * step for step in spacing]
        spacing = tuple(
            step * COARSER if fine or not any(finer) else step for step, fine in zip(spacing, finer, strict=True)
        )
        shape = _median_shape(spacing, found)
    return spacing


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)


def patch_for(shape: Sequence[float]) -> Grid:
    """The shape in multiples of 8, its axes shortened, the one that is covered best first, to `MOST_VOXELS`.

    >>> patch_for((20, 400, 400))
    (16, 128, 128)
    """
    patch = [max(LEAST, STEP * math.ceil(size / STEP)) for size in shape]
    longest = max(range(3), key=lambda axis: shape[axis])
    patch[longest] = max(patch[longest], 2 * LEAST)  # the U-Net's lowest level needs two voxels
    while math.prod(patch) > MOST_VOXELS:
        longer = [axis for axis in range(3) if patch[axis] > LEAST]
        patch[max(longer, key=lambda axis: patch[axis] / shape[axis])] -= STEP
    return tuple(patch)
