"""How the weights and parameters of a study's methods went while training, in words and as pictures."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from spineloss.errors import UserError
from spineloss.figures.trajectory_plot import draw_course, draw_paths
from spineloss.files import write_atomically
from spineloss.losses.region import Region
from spineloss.results.run_folder import Run, folder_name
from spineloss.results.study_folder import study_file
from spineloss.results.trajectories import Trajectory
from spineloss.study.settings import Study, load
from spineloss.text import parse
from spineloss.weighting import Terms

DOTS_PER_INCH = 150


def read_trajectories(study: Study, folder: Path) -> dict[str, dict[int, Trajectory]]:
    """Method -> fold -> trajectory, of every method that adapts its loss and every fold begun."""
    found = {}
    for method in study.methods:
        runs = {fold: Run.of(folder, method.name, fold) for fold in range(study.folds)}
        known = {fold: run for fold, run in runs.items() if run.records_steps and not run.is_set_aside}
        begun = {fold: run.trajectory() for fold, run in known.items()}
        if method.adapts and begun:
            found[method.name] = begun
    return found


def courses_in_words(trajectories: Mapping[str, Mapping[int, Trajectory]]) -> list[str]:
    """One line per method: each weight or parameter, its mean in the first epoch, the last, and all."""
    return [
        f"{method}: {_what(folds)}s from the first epoch to the last (mean): {_course(list(folds.values()))}"
        for method, folds in trajectories.items()
    ]


def _what(folds: Mapping[int, Trajectory]) -> str:
    return next(iter(folds.values())).course[0]


def _course(folds: Sequence[Trajectory]) -> str:
    first, last, every = _mean(folds, first=True), _mean(folds, last=True), _mean(folds)
    return ", ".join(f"{term} {first[term]:.3f} to {last[term]:.3f} ({every[term]:.3f})" for term in every)


def _mean(folds: Sequence[Trajectory], first: bool = False, last: bool = False) -> Terms:
    rows = [
        row
        for fold in folds
        for epoch, row in zip(fold.epochs, fold.course[1], strict=True)
        if not (first and epoch > fold.epochs[0]) and not (last and epoch < fold.epochs[-1])
    ]
    return {term: math.fsum(row[term] for row in rows) / len(rows) for term in rows[0]}


def figures(study: Study, folder: Path, titled: Callable[[str], str] = str) -> Iterator[tuple[str, Figure]]:
    """The name and the picture of each method's course, and of its path where its loss is a point (a, b).

    Args:
        study: whose methods they are.
        folder: the study's.
        titled: from a method's name to what its pictures are titled with.
    """
    losses = {method.name: method.loss for method in study.methods}
    for method, folds in read_trajectories(study, folder).items():
        yield method, draw_course({f"fold {fold}": found for fold, found in folds.items()}, titled(method))
        loss = parse(losses[method], study.folder)
        if _what(folds) == "parameter" and isinstance(loss, Region):
            paths = {
                f"fold {fold}": [loss.tuned(row).plane for row in found.course[1]] for fold, found in folds.items()
            }
            yield f"{method} on the plane", draw_paths(paths, f"{titled(method)} on the plane of T(a, b)")


def draw_trajectories(folder: Path, output: Path) -> Iterator[Path]:
    """Draw how each method's weights or parameters went, one panel per fold, as PNG files in `output`.

    Args:
        folder: the study's.
        output: made if it is not there.

    Raises:
        UserError: no study is there, or none of its methods adapts and has a run begun.
    """
    pictures = list(figures(load(study_file(folder)), folder))
    if not pictures:
        raise UserError(f"{folder} has nothing to draw: train a method with a `weighting` or a `tuning` first.")
    for name, figure in pictures:
        picture = output / f"{folder_name(name)}.png"
        write_atomically(picture, lambda to, figure=figure: figure.savefig(to, format="png", dpi=DOTS_PER_INCH))
        yield picture
