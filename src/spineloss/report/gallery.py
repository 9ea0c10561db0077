"""The volumes behind a study: images, truths, and what the trained networks say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from spineloss.data import volumes
from spineloss.data.cache import Cache
from spineloss.data.cases import Case, Layout, read_case
from spineloss.data.dataset import Dataset
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError
from spineloss.report.content import Content
from spineloss.results.run_folder import Run
from spineloss.study.prediction import Predictor
from spineloss.study.preparation import prepare_again
from spineloss.training.validation import widest_slice


@dataclass(frozen=True)
class Scan:
    """A case on its own grid: (Z, Y, X) intensities and foreground, the slices first, and the spacing in mm.

    `image` is the one of its channels that is shown, and `intensities` are of; `slice` is the widest of the truth.
    """

    case: str
    image: sitk.Image
    channels: list[sitk.Image]
    intensities: np.ndarray
    truth: np.ndarray
    slice: int
    spacing: tuple[float, float, float]


class Gallery:
    """Scans and predictions of a study's cases; each prediction by a network that did not train on the case.

    Args:
        content: of the study.
        progress: receives a line about what is being done.
        channel: of the images, that is shown; the first by default.

    Raises:
        UserError: the data is no longer there, has problems, or is other data; or it has no such channel.
    """

    def __init__(self, content: Content, progress: Callable[[str], None], channel: str | None = None) -> None:
        self.content = content
        self.data: Dataset = prepare_again(content.study, content.folder, progress)
        if channel not in (None, *self.data.channels):
            raise UserError(
                f"{content.folder} has no channel {channel!r}: choose {', '.join(self.data.channels)}."
            )
        self.shown = 0 if channel is None else self.data.channels.index(channel)
        self._scans: dict[str, Scan] = {}
        self._predictors: dict[tuple[str, int, int], Predictor] = {}
        self._masks: dict[tuple[str, str], np.ndarray] = {}

    @cached_property
    def _layout(self) -> Layout:
        return find_cases(self.content.study.data)

    @cached_property
    def _files(self) -> dict[str, Case]:
        return {case.id: case for case in self._layout.cases}

    def scan(self, case: str) -> Scan:
        """A case as it came, turned like the rest of the data."""
        if case not in self._scans:
            images, _ = read_case(self._files[case], self.data.orientation)
            channels = [images[number] for number in self._layout.channels_taken(self.data.channels)]
            image = channels[self.shown]
            masks = self.data.labelling.masks(self.data.samples[case].own_target())
            self._scans[case] = Scan(
                case,
                image,
                channels,
                volumes.array_of(image).astype(np.float32),
                masks.any(0).numpy(),
                widest_slice(masks),
                volumes.spacing_of(image),
            )
        return self._scans[case]

    def series_view(self, case: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """Image, truth and spacing of the slice whose predictions validation kept, on the grid of the metrics."""
        if self.content.study.metrics_grid == "case":
            scan = self.scan(case)
            return scan.intensities[scan.slice], scan.truth[scan.slice], scan.spacing[1:]
        sample = self.data.samples[case]
        masks = self.data.labelling.masks(sample.target)
        where = widest_slice(masks)
        return sample.image[self.shown, where].numpy(), masks[:, where].any(0).numpy(), sample.spacing[1:]

    def label_shares(self) -> dict[str, dict[str, float]]:
        """Case -> each of the study's labels, by name -> its share of the foreground."""
        labels, ignore = self.content.study.labels, self.data.labelling.ignore
        shares = {}
        for row in Cache().report(self._layout).rows:
            voxels = {
                label: count
                for label, count in row.voxels.items()
                if label != ignore and (labels == "all" or label in labels)
            }
            if row.case in self.data.samples and voxels:
                names = {label: self._layout.labels.names.get(label, str(label)) for label in sorted(voxels)}
                shares[row.case] = {names[label]: voxels[label] / sum(voxels.values()) for label in names}
        return shares

    def trainings(self, method: str, case: str) -> list[tuple[int, int]]:
        """Fold and repeat of each finished run of the method that did not train on the case."""
        return sorted(
            (fold, repeat)
            for name, fold, repeat in self.content.records
            if name == method and case in self.content.folds[fold]
        )

    def prediction(self, method: str, case: str) -> np.ndarray:
        """The foreground of a case by the first of its trainings, where it is annotated: (Z, Y, X) booleans."""
        if (method, case) not in self._masks:
            run = (method, *self.trainings(method, case)[0])
            if run not in self._predictors:
                self._predictors[run] = Predictor([Run.of(self.content.folder, *run)])
            probabilities = self._predictors[run].probabilities(self.scan(case).channels)
            predicted = self.data.labelling.decide(probabilities).any(0)
            counted = self.data.labelling.counted(self.data.samples[case].own_target())
            self._masks[method, case] = (predicted if counted is None else predicted & counted[0]).numpy()
        return self._masks[method, case]


def series_of(folder: Path, method: str, fold: int) -> dict[int, torch.Tensor]:
    """The predictions of one slice at the validated epochs: epoch -> (Y, X) booleans."""
    return {epoch: picture.any(0) for epoch, picture in Run.of(folder, method, fold).series().items()}
