"""Trackers follow a study while it trains: TensorBoard, and Weights & Biases. None of them can stop it."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spineloss.errors import UserError
from spineloss.figures.formula_tree import draw_tree
from spineloss.figures.point_cloud import point_cloud
from spineloss.figures.slices import overlay
from spineloss.learned.formula import Evolved
from spineloss.results.run_folder import Run, epoch_row, folder_name
from spineloss.study.jobs import Event
from spineloss.text import parse

HEIGHT = 256  # of a slice, in pixels
POINTS = {"material": {"cls": "PointsMaterial", "size": 1.5}}


class Tracker(Protocol):
    """What takes the events of a study, each run by itself."""

    name: str

    def record(self, event: Event) -> None:
        """Take an epoch, or the failure of a run."""

    def close(self) -> None:
        """Finish what is open."""


def open_trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """Trackers by name, each writing into a folder of its own in the study's.

    Args:
        names: of `TRACKERS`.
        folder: the study's.

    Raises:
        UserError: no such tracker, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"There is no tracker {name!r}: choose {' or '.join(TRACKERS)}.")
        if find_spec(name) is None:
            raise UserError(f"The package {name} is not installed: pip install 'spineloss[trackers]'.")
    return [TRACKERS[name](folder) for name in dict.fromkeys(names)]


def follow(events: Iterator[Event], trackers: Sequence[Tracker], warn: Callable[[str], None]) -> Iterator[Event]:
    """Pass the events on, showing each to the trackers first; one that fails is told once, and left out."""
    working = list(trackers)

    def guard(tracker: Tracker, act: Callable[..., None], *arguments: Any) -> None:
        try:
            act(*arguments)
        except Exception as error:
            working.remove(tracker)
            warn(f"{tracker.name} failed ({error}); training goes on without it.")

    try:
        for event in events:
            for tracker in list(working):
                guard(tracker, tracker.record, event)
            yield event
    finally:
        for tracker in list(working):
            guard(tracker, tracker.close)


def measurements(event: Event) -> dict[str, float]:
    """The numbers of an epoch by name; what its steps recorded (terms, weights) as means over them."""
    row = epoch_row(event.epoch.plain())
    numbers = {f"training/{name}": row.pop(name) for name in ("train_loss", "learning_rate")}
    times = {f"time/{name}": row.pop(name) for name in ("seconds", "compute_seconds")}
    row.pop("epoch")
    steps = event.epoch.steps
    recorded = {
        f"steps/{name}": math.fsum(step[name] for step in steps) / len(steps) for name in next(iter(steps), {})
    }
    return numbers | recorded | {f"validation/{name}": value for name, value in row.items()} | times


def pictures(event: Event, run: Run) -> dict[str, np.ndarray]:
    """Pictures of an epoch, (Y, X, 3) uint8 by name.

    Where it was validated, the widest slice of the first case: what is found, added and missed. At the run's end
    the tree of each evolved formula in its loss.
    """
    found = {}
    if (example := event.epoch.example) is not None:
        truth, prediction = (mask.any(0).numpy()[example.slice] for mask in (example.target, example.prediction))
        image = example.image()[example.slice].numpy()
        found["slice"] = np.asarray(overlay(image, truth, prediction, example.spacing[1:], HEIGHT))
    if _ends(event):
        formulas = [part for part in parse(run.record()["loss"], run.study).modules() if isinstance(part, Evolved)]
        found |= {f"tree/{number}": _pixels(draw_tree(formula)) for number, formula in enumerate(formulas)}
    return found


def surfaces(event: Event) -> dict[str, np.ndarray]:
    """The first case in 3D at the run's end, as `point_cloud`: prediction and truth, by their distance apart."""
    example = event.epoch.example
    if not _ends(event) or example is None:
        return {}
    prediction, truth = (mask.any(0).numpy() for mask in (example.prediction, example.target))
    clouds = {
        "surface/prediction": point_cloud(prediction, truth, example.spacing),
        "surface/truth": point_cloud(truth, prediction, example.spacing),
    }
    return {name: cloud for name, cloud in clouds.items() if len(cloud)}


def _ends(event: Event) -> bool:
    return event.epoch.epoch == event.epochs


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


class _RunByRun(ABC):
    """A tracker that has something open for each run at work, until it ends: workers train several at a time."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.study = folder
        self._open: dict[Run, Any] = {}

    def record(self, event: Event) -> None:
        run = event.run(self.study)
        if run not in self._open:
            self._open[run] = self._begin(event, run)
        self._take(event, run, self._open[run])
        if event.epoch is None or _ends(event):
            self._end(self._open.pop(run))

    def close(self) -> None:
        for run in list(self._open):
            self._end(self._open.pop(run))

    @abstractmethod
    def _begin(self, event: Event, run: Run) -> Any:
        """What takes the events of a run."""

    @abstractmethod
    def _take(self, event: Event, run: Run, into: Any) -> None:
        """Write an event."""

    @abstractmethod
    def _end(self, written: Any) -> None:
        """Close what a run has open."""


class TensorBoard(_RunByRun):
    """Event files of each run in `tensorboard/METHOD/fold-K`: look at them with `tensorboard --logdir`."""

    name = "tensorboard"

    def _begin(self, event: Event, run: Run) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        folder = self.study / "tensorboard" / run.folder.relative_to(self.study / "runs")
        # What an earlier training of the run wrote from this epoch on is no longer shown.
        return SummaryWriter(folder, purge_step=None if event.epoch is None else event.epoch.epoch)

    def _take(self, event: Event, run: Run, into: Any) -> None:
        if event.epoch is None:
            into.add_text("failed", event.reason)
        else:
            for name, value in measurements(event).items():
                into.add_scalar(name, value, event.epoch.epoch)
            for name, picture in pictures(event, run).items():
                into.add_image(name, picture, event.epoch.epoch, dataformats="HWC")
            for name, cloud in surfaces(event).items():
                points, colours = cloud[None, :, :3], cloud[None, :, 3:].astype(int)
                into.add_mesh(name, points, colours, config_dict=POINTS, global_step=event.epoch.epoch)
        into.flush()

    def _end(self, written: Any) -> None:
        written.close()


class WeightsAndBiases(_RunByRun):
    """A W&B run for each fold, grouped by method, in the project named after the study's folder.

    Nothing leaves the machine unless `WANDB_MODE=online` is set; `wandb sync` sends it later.
    """

    name = "wandb"

    def _begin(self, event: Event, run: Run) -> Any:
        import wandb

        return wandb.init(
            project=folder_name(self.study.resolve().name),
            group=event.method,
            name=event.place,
            config=run.record(),
            dir=self.study,
            mode=os.environ.get("WANDB_MODE", "offline"),
            reinit="create_new",  # else one that is begun ends the others
            settings=wandb.Settings(silent=True, console="off"),
        )

    def _take(self, event: Event, run: Run, into: Any) -> None:
        if event.epoch is None:
            into.summary["failed"] = event.reason
            return
        import wandb

        shown = {name: wandb.Image(picture) for name, picture in pictures(event, run).items()}
        shown |= {name: wandb.Object3D(cloud) for name, cloud in surfaces(event).items()}
        into.log(measurements(event) | shown, step=event.epoch.epoch)

    def _end(self, written: Any) -> None:
        written.finish()


TRACKERS: dict[str, Callable[[Path], Tracker]] = {kind.name: kind for kind in (TensorBoard, WeightsAndBiases)}
