"""Masks of new volumes from trained runs, in each volume's own geometry."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn

from spineloss import networks
from spineloss.data import volumes
from spineloss.data.labelling import Labelling, labelling_of
from spineloss.data.preprocessing import Grid, normalise, resize_image
from spineloss.data.resolution import Resolution
from spineloss.errors import UserError
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise
from spineloss.training.inference import infer


class Predictor:
    """Trained networks of one method, averaged.

    Args:
        runs: finished runs that share one method; all folds of a study, or a single run.

    Raises:
        UserError: a run is not finished, or its weights cannot be read.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        record = runs[0].record()
        settings = record["specification"]
        self.method: str = record["method"]
        grid, spacing, patch = (
            None if each is None else tuple(each)
            for each in (settings["grid"], record.get("spacing"), settings.get("patch"))
        )
        self.resolution = Resolution(grid, spacing)
        self.patch: Grid | None = patch
        self.orientation: str = record["orientation"]
        self.labelling = _labelling(record)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.networks = [self._load(run, settings) for run in runs]

    def _load(self, run: Run, settings: dict) -> nn.Module:
        size = self.patch or self.resolution.grid
        trained = networks.build(settings["network"], settings["width"], self.labelling.outputs, size, seed=0)
        try:
            trained.load_state_dict(run.network())
        except RuntimeError as error:
            raise UserError(f"{run.folder} has the network of other settings: train the run again.") from error
        return trained.to(self.device).eval()

    def probabilities(self, image: sitk.Image) -> torch.Tensor:
        """Probabilities (outputs, Z, Y, X) of an image in the study's orientation, on the image's own grid."""
        array = volumes.array_of(image)
        grid = self.resolution.grid_of(array.shape, volumes.spacing_of(image))
        resampled = resize_image(torch.from_numpy(normalise(array))[None], grid)
        total = torch.zeros(())
        for trained in self.networks:
            total = total + infer(trained, resampled, self.labelling, self.patch, self.device)
        return resize_image(total / len(self.networks), array.shape)

    def mask(self, image: sitk.Image | Path | str) -> sitk.Image:
        """The label map of an image, in the image's own geometry; merged labels are 1.

        Args:
            image: a path, whose file is verified as it is read; or an image in memory.

        Raises:
            UserError: it is no 3D volume of one channel, or has NaN or infinite voxels.
        """
        name = "The image" if isinstance(image, sitk.Image) else str(image)
        image = volumes.check_image(image, name) if isinstance(image, sitk.Image) else volumes.read(Path(image))
        volumes.refuse_not_finite(volumes.array_of(image), name)
        oriented = volumes.orient(image, self.orientation)
        mask = sitk.GetImageFromArray(self.labelling.label_map(self.probabilities(oriented)))
        mask.CopyInformation(oriented)
        return volumes.restore(mask, image)


def _labelling(record: dict) -> Labelling:
    """That of a run; those trained before it was on record name their labels alone."""
    if "labelling" in record:
        return Labelling.from_plain(record["labelling"])
    labels = [int(name) for name in record["channels"] if name != "all"]
    return labelling_of(record["specification"]["target"], labels)


@dataclass(frozen=True)
class Prediction:
    """Where a mask was written, how long it took with reading and writing, its foreground voxels, and remarks."""

    source: Path
    mask: Path
    seconds: float
    voxels: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A volume that could not be segmented, and why, in one sentence."""

    source: Path
    reason: str


def find_runs(source: Path, method: str | None = None) -> list[Run]:
    """The finished runs to predict with: a single run's folder, or a study's, all folds of one method.

    Without a method, a study's best by mean validation Dice at the last epoch is taken.

    Raises:
        UserError: nothing finished is there, or no such method.
    """
    if (source / "run.json").exists():
        run = Run(source)
        if run.record()["status"] != "done":
            raise UserError(
                f"{source} is {run.record()['status']}, not done: finish it with `spineloss study run`."
            )
        return [run]
    if not (source / "study.yaml").exists():
        raise UserError(f"{source} is neither a study nor a run: name a folder with a study.yaml or a run.json.")
    records = read_records(source)
    if not records:
        raise UserError(f"{source} has no finished run yet: finish it with `spineloss study run`.")
    names = list(dict.fromkeys(record.method for record in records))
    if method is None:
        method = _best(records)
    if method not in names:
        raise UserError(f"{source} has no finished run of {method!r}; it has {', '.join(names)}.")
    return [Run.of(source, method, each.fold, each.repeat) for each in records if each.method == method]


def _best(records: Sequence) -> str:
    rows = [row for row in summarise(records, "last") if row.metric == "dice"]
    # The first of a method's summaries is the average over its labels.
    firsts = {row.method: row for row in reversed(rows)}.values()
    return max(firsts, key=lambda row: -1.0 if np.isnan(row.mean) else row.mean).method


def predict(predictor: Predictor, inputs: Sequence[Path], output: Path) -> Iterator[Prediction | Failure]:
    """Write the mask of each input, yielding as each is done; of several, one that fails does not stop the others.

    Args:
        predictor: the trained networks.
        inputs: volume files, DICOM series folders, or folders of volumes.
        output: a folder; or a file's name when there is one input.

    Raises:
        UserError: the one input cannot be read, or a mask would overwrite its input.
    """
    sources = [volume for given in inputs for volume in volumes.find(given)]
    targets = _targets(sources, output)
    for source, target in zip(sources, targets, strict=True):
        try:
            yield _predict_one(predictor, source, target)
        except UserError as error:
            if len(sources) == 1:
                raise
            yield Failure(source, str(error))


def _targets(sources: Sequence[Path], output: Path) -> list[Path]:
    single = len(sources) == 1 and volumes.suffix_of(output) is not None and not output.is_dir()
    targets: dict[Path, Path] = {}
    for source in sources:
        target = output if single else output / _mask_name(source)
        if os.path.realpath(target) == os.path.realpath(source):
            raise UserError(f"{target} would overwrite the input: choose another output folder.")
        if target in targets:
            raise UserError(
                f"{targets[target]} and {source} would both be written to {target}: "
                "predict them into different folders."
            )
        targets[target] = source
    return list(targets)


def _predict_one(predictor: Predictor, source: Path, target: Path) -> Prediction:
    start = time.perf_counter()
    mask = predictor.mask(source)
    volumes.write_mask(mask, source, target)
    voxels = int(np.count_nonzero(volumes.array_of(mask)))
    return Prediction(source, target, time.perf_counter() - start, voxels, tuple(volumes.remarks(source)))


def _mask_name(source: Path) -> str:
    suffix = volumes.suffix_of(source)
    # A mask is no DICOM image: the geometry of one goes into .mha.
    return volumes.stem_of(source) + (suffix if suffix in volumes.WRITABLE else ".mha")
