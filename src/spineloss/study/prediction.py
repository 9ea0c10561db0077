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
from spineloss.data.cases import Case, geometry_difference, orient_alike
from spineloss.data.dataset import normalised
from spineloss.data.labelling import Labelling, labelling_of
from spineloss.data.preprocessing import Grid, resize_image
from spineloss.data.resolution import Resolution
from spineloss.data.unsegmented import unsegmented_cases
from spineloss.errors import UserError
from spineloss.results.records import read_records, whole_methods
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise
from spineloss.training.inference import infer

Volume = sitk.Image | Path | str


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
        self.channels: list[str] = record.get("images", ["image"])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.networks = [self._load(run, settings) for run in runs]

    def _load(self, run: Run, settings: dict) -> nn.Module:
        trained = networks.build(
            settings["network"],
            settings["width"],
            self.labelling.outputs,
            self.patch or self.resolution.grid,
            seed=0,
            inputs=len(self.channels),
        )
        try:
            trained.load_state_dict(run.network())
        except RuntimeError as error:
            raise UserError(f"{run.folder} has the network of other settings: train the run again.") from error
        return trained.to(self.device).eval()

    def probabilities(self, channels: Sequence[sitk.Image]) -> torch.Tensor:
        """Probabilities (outputs, Z, Y, X) of a case's channels in the study's orientation, on their own grid."""
        image = normalised(channels)
        shape = tuple(image.shape[1:])
        resampled = resize_image(image, self.resolution.grid_of(shape, volumes.spacing_of(channels[0])))
        found = (infer(each, resampled, self.labelling, self.patch, self.device) for each in self.networks)
        total = next(found)
        for each in found:
            total += each
        return resize_image(total / len(self.networks), shape)

    def mask(self, image: Volume | Sequence[Volume]) -> sitk.Image:
        """The label map of a case, in the image's own geometry; merged labels are 1.

        Args:
            image: a path, whose file is verified as it is read; or an image in memory. Of several channels a
                sequence of them, in the order of `channels`, or one that holds all.

        Raises:
            UserError: it is no 3D volume, has NaN or infinite voxels, other channels than the networks take, or
                channels that lie differently.
        """
        given = list(image) if isinstance(image, list | tuple) else [image]
        images = [(_name(one), channel) for one in given for channel in _channels(one)]
        first_name, first = images[0]
        if len(images) != len(self.channels):
            raise UserError(
                f"{first_name} has {len(images)} channel(s), and the networks take {len(self.channels)} "
                f"({', '.join(self.channels)}): give those, in this order."
            )
        for name, channel in images:
            volumes.refuse_not_finite(volumes.array_of(channel), name)
            if (difference := geometry_difference(first, channel)) is not None:
                raise UserError(f"{name} has another {difference} than {first_name}: resample it onto that.")
        # Copies, as an image in memory is the caller's.
        oriented = orient_alike([sitk.Image(channel) for _, channel in images], self.orientation)
        mask = sitk.GetImageFromArray(self.labelling.label_map(self.probabilities(oriented)))
        mask.CopyInformation(oriented[0])
        return volumes.restore(mask, first)


def _name(image: Volume) -> str:
    return "The image" if isinstance(image, sitk.Image) else str(image)


def _channels(image: Volume) -> list[sitk.Image]:
    if isinstance(image, sitk.Image):
        return volumes.channels_of(image, _name(image))
    return volumes.read_channels(Path(image))


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

    Without a method, a study's best by mean validation Dice at the last epoch is taken, of those with every fold:
    the mean of another one, such as a method dropped from a race, may be of easy cases alone.

    Raises:
        UserError: nothing finished is there, or no such method.
    """
    if os.path.exists(source / "run.json"):  # Path.exists raises for a name that is too long
        run = Run(source)
        if run.record()["status"] != "done":
            raise UserError(
                f"{source} is {run.record()['status']}, not done: finish it with `spineloss study run`."
            )
        return [run]
    if not os.path.exists(source / "study.yaml"):
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
    whole = whole_methods(records)
    rows = [row for row in summarise(records, "last") if row.metric == "dice" and row.method in whole]
    # The first of a method's summaries is the average over its labels.
    firsts = {row.method: row for row in reversed(rows)}.values()
    return max(firsts, key=lambda row: -1.0 if np.isnan(row.mean) else row.mean).method


def predict(predictor: Predictor, inputs: Sequence[Path], output: Path) -> Iterator[Prediction | Failure]:
    """Write the mask of each case, yielding as each is done; of several, one that fails does not stop the others.

    Args:
        predictor: the trained networks.
        inputs: volume files, DICOM series folders, or folders of volumes; see `unsegmented_cases`.
        output: a folder; or a file's name when there is one input.

    Raises:
        UserError: the one input cannot be read, or a mask would overwrite its input.
    """
    cases = unsegmented_cases(inputs, predictor.channels)
    targets = _targets(cases, output)
    for case, target in zip(cases, targets, strict=True):
        try:
            yield _predict_one(predictor, case, target)
        except UserError as error:
            if len(cases) == 1:
                raise
            yield Failure(case.images[0], str(error))


def _targets(cases: Sequence[Case], output: Path) -> list[Path]:
    single = len(cases) == 1 and volumes.suffix_of(output) is not None and not output.is_dir()
    targets: dict[Path, Path] = {}
    for case in cases:
        source = case.images[0]
        target = output if single else output / _mask_name(case)
        if os.path.realpath(target) in map(os.path.realpath, case.images):
            raise UserError(f"{target} would overwrite the input: choose another output folder.")
        if target in targets:
            raise UserError(
                f"{targets[target]} and {source} would both be written to {target}: "
                "predict them into different folders."
            )
        targets[target] = source
    return list(targets)


def _predict_one(predictor: Predictor, case: Case, target: Path) -> Prediction:
    start, source = time.perf_counter(), case.images[0]
    mask = predictor.mask(case.images)
    volumes.write_mask(mask, source, target)
    voxels = int(np.count_nonzero(volumes.array_of(mask)))
    remarks = tuple(remark for image in case.images for remark in volumes.remarks(image))
    return Prediction(source, target, time.perf_counter() - start, voxels, remarks)


def _mask_name(case: Case) -> str:
    suffix = volumes.suffix_of(case.images[0])
    # A mask is no DICOM image: the geometry of one goes into .mha.
    return case.id + (suffix if suffix in volumes.WRITABLE else ".mha")
