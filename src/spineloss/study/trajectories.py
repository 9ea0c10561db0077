"""How the weights of a study's methods went while training, in words and as pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spineloss.analysis.trajectories import Trajectory, read_trajectory
from spineloss.analysis.trajectory_figures import draw_weights
from spineloss.errors import UserError
from spineloss.files import write_atomically
from spineloss.study.runs import Run, folder_name
from spineloss.study.specification import Study, load
from spineloss.weighting import Terms

DOTS_PER_INCH = 150


def read_trajectories(study: Study, folder: Path) -> dict[str, dict[int, Trajectory]]:
    """Method -> fold -> trajectory, of every method with a weighting and every fold begun."""
    found = {}
    for method in study.methods:
        runs = {fold: Run.of(folder, method.name, fold) for fold in range(study.folds)}
        begun = {fold: read_trajectory(run.steps) for fold, run in runs.items() if run.steps.exists()}
        if method.weighting is not None and begun:
            found[method.name] = begun
    return found


def weights_in_words(trajectories: Mapping[str, Mapping[int, Trajectory]]) -> list[str]:
    """A line a method: each term's mean weight in the first epoch, in the last one, and over the run."""
    return [
        f"{method}: weights from the first epoch to the last (mean): {_course(list(folds.values()))}"
        for method, folds in trajectories.items()
    ]


def _course(folds: Sequence[Trajectory]) -> str:
    first, last, every = _mean(folds, first=True), _mean(folds, last=True), _mean(folds)
    return ", ".join(f"{term} {first[term]:.3f} to {last[term]:.3f} ({every[term]:.3f})" for term in every)


def _mean(folds: Sequence[Trajectory], first: bool = False, last: bool = False) -> Terms:
    rows = [
        row
        for fold in folds
        for epoch, row in zip(fold.epochs, fold.weights, strict=True)
        if not (first and epoch > fold.epochs[0]) and not (last and epoch < fold.epochs[-1])
    ]
    return {term: math.fsum(row[term] for row in rows) / len(rows) for term in rows[0]}


def draw_trajectories(folder: Path, output: Path) -> Iterator[Path]:
    """Draw the weights of each method that has some, a panel a fold, as PNG files in `output`.

    Args:
        folder: the study's.
        output: made if it is not there.

    Raises:
        UserError: no study is there, or none of its methods has a weighting and a run begun.
    """
    path = folder / "study.yaml"
    if not path.exists():
        raise UserError(f"{folder} holds no study: name a folder with a study.yaml.")
    trajectories = read_trajectories(load(path), folder)
    if not trajectories:
        raise UserError(f"{folder} has no weights to draw: train a method with a `weighting` first.")
    for method, folds in trajectories.items():
        figure = draw_weights({f"fold {fold}": found for fold, found in folds.items()}, method)
        picture = output / f"{folder_name(method)}.png"
        write_atomically(picture, lambda to, figure=figure: figure.savefig(to, format="png", dpi=DOTS_PER_INCH))
        yield picture
