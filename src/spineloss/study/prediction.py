"""Masks of new volumes from trained runs, in each volume's own geometry."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from safetensors.torch import load_file
from torch import nn

from spineloss import networks
from spineloss.data import volumes
from spineloss.data.preprocessing import normalise, resize_image
from spineloss.errors import UserError
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise


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
        self.grid: tuple[int, int, int] = tuple(settings["grid"])
        self.orientation: str = record["orientation"]
        self.channels: list[str] = record["channels"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.networks = [self._load(run, settings) for run in runs]

    def _load(self, run: Run, settings: dict) -> nn.Module:
        trained = networks.build(settings["network"], settings["width"], len(self.channels), self.grid, seed=0)
        try:
            trained.load_state_dict(load_file(run.weights))
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{run.weights} cannot be read ({error}): train the run again.") from error
        return trained.to(self.device).eval()

    def probabilities(self, image: sitk.Image) -> torch.Tensor:
        """Probabilities (C, Z, Y, X) of an image in the study's orientation, on the image's own grid."""
        array = volumes.array_of(image)
        resized = resize_image(torch.from_numpy(normalise(array))[None], self.grid)[None].to(self.device)
        with torch.no_grad():
            mean = torch.stack([trained(resized)[0].float().sigmoid() for trained in self.networks]).mean(0)
        return resize_image(mean.cpu(), array.shape)

    def mask(self, image: sitk.Image) -> sitk.Image:
        """The label map of an image, in the image's own geometry (uint8; merged labels are 1)."""
        probabilities = self.probabilities(volumes.orient(image, self.orientation))
        values = torch.tensor([1 if name == "all" else int(name) for name in self.channels], dtype=torch.uint8)
        highest, channel = probabilities.max(dim=0)
        label_map = torch.where(highest > 0.5, values[channel], torch.zeros((), dtype=torch.uint8))
        oriented = volumes.orient(image, self.orientation)
        mask = sitk.GetImageFromArray(label_map.numpy())
        mask.CopyInformation(oriented)
        return volumes.restore(mask, image)


@dataclass(frozen=True)
class Prediction:
    """Where a mask was written, how long it took with reading and writing, and its foreground voxels."""

    source: Path
    mask: Path
    seconds: float
    voxels: int


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
    label = "mean" if any(row.label == "mean" for row in summarise(records, "last")) else "all"
    rows = [row for row in summarise(records, "last") if row.metric == "dice" and row.label in (label, "all")]
    return max(rows, key=lambda row: -1.0 if np.isnan(row.mean) else row.mean).method


def predict(predictor: Predictor, inputs: Sequence[Path], output: Path) -> Iterator[Prediction]:
    """Write the mask of each input, yielding as each is done.

    Args:
        predictor: the trained networks.
        inputs: volume files, DICOM series folders, or folders of volumes.
        output: a folder; or a file's name when there is one input.

    Raises:
        UserError: an input cannot be read, or a mask would overwrite its input.
    """
    sources = [volume for given in inputs for volume in volumes.find(given)]
    single = len(sources) == 1 and volumes.suffix_of(output) is not None
    targets = [output if single else output / _mask_name(source) for source in sources]
    for source, target in zip(sources, targets, strict=True):
        if target.resolve() == source.resolve():
            raise UserError(f"{target} would overwrite the input: choose another output folder.")
        if targets.count(target) > 1:
            raise UserError(f"Two inputs would be written to {target}: predict them into different folders.")
    for source, target in zip(sources, targets, strict=True):
        start = time.perf_counter()
        mask = predictor.mask(volumes.read(source))
        volumes.write(mask, target)
        voxels = int(np.count_nonzero(volumes.array_of(mask)))
        yield Prediction(source, target, time.perf_counter() - start, voxels)


def _mask_name(source: Path) -> str:
    suffix = volumes.suffix_of(source)
    # A DICOM image's geometry goes into .mha: a mask is no DICOM image.
    return source.name if suffix not in (None, ".dcm") else f"{source.name.removesuffix('.dcm')}.mha"
