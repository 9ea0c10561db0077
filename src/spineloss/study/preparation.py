"""The data of a study: prepared before it runs, and again to look at what came out."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from spineloss.data import dataset
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset
from spineloss.errors import UserError
from spineloss.results.study_folder import read_folds
from spineloss.study.settings import Study, load


def prepare_study(
    study: Study,
    progress: Callable[[str], None],
    cache: Cache | None = None,
    orientation: str | None = None,
    labels: Literal["all"] | tuple[int, ...] | None = None,
) -> Dataset:
    """The samples that a study trains on.

    Args:
        study: names the data and how it is resampled.
        progress: receives a line about what is being done.
        cache: of prepared cases; the user's by default.
        orientation: that of networks trained before; the data's own by default.
        labels: in the order of the structures of networks trained before; the study's, sorted, by default.

    Raises:
        UserError: the data has problems.
    """
    own = study.labels if study.labels == "all" else sorted(study.labels)
    return dataset.prepare(
        study.data,
        grid=study.grid,
        spacing=study.spacing,
        labels=labels or own,
        target=study.target,
        channels=None if study.channels == "auto" else study.channels,
        ignore=study.ignore,
        leave_out=study.leave_out,
        groups=study.groups,
        orientation=orientation,
        cache=cache or Cache(),
        progress=progress,
    )


def read_diagonals(folder: Path) -> dict[str, float]:
    """The diagonal of each case's image in mm, as some challenges count a structure that was missed.

    Raises:
        UserError: the data of the study in the folder is no longer there, has problems, or is other data.
    """
    data = prepare_again(load(folder / "study.yaml"), folder, lambda line: None)
    return {
        case: math.dist(
            [0, 0, 0], [n * mm for n, mm in zip(sample.own_target().shape[1:], sample.own_spacing(), strict=True)]
        )
        for case, sample in data.samples.items()
    }


def prepare_again(study: Study, folder: Path, progress: Callable[[str], None]) -> Dataset:
    """The samples that the runs in a study's folder were trained on.

    Raises:
        UserError: the data is no longer there, has problems, or is other data.
    """
    began = read_folds(folder)
    # A test of networks trained before keeps the order that its labels were named in.
    labels = study.labels if (folder / "test.json").exists() else None
    data = prepare_study(study, progress, orientation=began["orientation"], labels=labels)
    if began["data"] != data.digest:
        raise UserError(f"{study.data} is not the data that {folder} was trained on: bring it back.")
    return data
