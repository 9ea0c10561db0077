"""Peak memory of a study's data with 17 and with 170 cases, and of predicting a volume of the size of a CT.

.venv/bin/python benchmarks/memory.py ../shared/data/t2
"""

import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
import torch
from safetensors import safe_open

from machine import describe, status, write
from spineloss.data.augmentation import Augment
from spineloss.data.batches import training_batches
from spineloss.data.cache import Cache
from spineloss.data.dataset import Sample
from spineloss.data.labelling import Labelling
from spineloss.results.run_folder import Run
from spineloss.study.engine import run_study
from spineloss.study.prediction import Predictor, predict
from spineloss.study.preparation import prepare_study
from spineloss.study.settings import check

GRID, SPACING = {"grid": [32, 224, 224]}, {"spacing": "median", "patch": [16, 128, 128]}
COPIES = 10
CT = (400, 512, 512)
CT_SPACING = (1.0, 0.8, 0.8)  # mm
# What `spineloss data plan` proposes for volumes of that size, and all of their voxels.
CT_WAYS = {"coarser": [4.79, 3.83, 3.83], "native": "native"}
CT_PATCH = [56, 64, 72]
SILENT: Callable[[str], None] = lambda line: None  # noqa: E731


def settings(data: Path, **way: object) -> dict:
    """Those of a small study."""
    return {"data": data, "methods": ["dice"], "width": 8, "folds": 2, "epochs": 1, "batch": 2} | way


def alone(function: Callable, *arguments: object) -> tuple:
    """A function's result and its process's peak in MiB."""
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(measured, (function, arguments))


def measured(function: Callable, arguments: tuple) -> tuple:
    torch.set_num_threads(1)
    found = function(*arguments)
    return found, status("VmHWM") // 2**20


def prepare(data: Path, way: dict, cache: Path) -> tuple[list[Sample], Labelling]:
    found = prepare_study(check(settings(data, **way), "benchmark"), SILENT, Cache(cache))
    return list(found.samples.values()), found.labelling


def copies(samples: list[Sample], cache: Path) -> list[Sample]:
    """Prepared cases in files of their own, under other ids."""
    made = []
    for sample in samples:
        with safe_open(sample.target_file, framework="pt") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for number in range(COPIES):
            case = f"{sample.case}-{number}"
            image, target = f"{sample.image_file.stem}-{number}", f"{sample.target_file.stem}-{number}"
            Cache(cache).write(image, {"image": sample.image})
            Cache(cache).write(target, kept)
            made.append(Sample(case, sample.spacing, Cache(cache).path(image), Cache(cache).path(target)))
    return made


def epoch(samples: list[Sample], labelling: Labelling, way: dict, held: bool) -> None:
    """An epoch of batches, the samples as they are, or all held in memory too."""
    study = check(settings(Path(), **way), "benchmark")
    tensors = [(sample.image.clone(), sample.target.clone()) for sample in samples] if held else []
    augment = Augment(**study.augment.model_dump())
    options = {"size": 2, "augment": augment, "needs": frozenset(), "labelling": labelling, "key": (21, 0, 1)}
    for make in training_batches(samples, patch=study.patch, **options):
        make()
    del tensors


def train_for_ct(folder: Path, spacing: object) -> Path:
    """A run to predict a CT with; what it learned plays no part."""
    data = folder / "small"
    random = np.random.default_rng(1)
    for case in range(4):
        for kind, array in (
            ("images", random.normal(size=(56, 64, 72))),
            ("masks", random.random((56, 64, 72)) > 0.5),
        ):
            image = sitk.GetImageFromArray(array.astype(np.float32 if kind == "images" else np.uint8))
            image.SetSpacing(CT_SPACING[::-1])
            (data / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, data / kind / f"{case}.nii.gz")
    # Every voxel passes the network eight times, and a narrow one holds no less of the volume.
    study = check(settings(data, spacing=spacing, patch=CT_PATCH, width=2), "benchmark")
    list(run_study(study, folder / "study", SILENT, Cache(folder / "cache")))
    return Run.of(folder / "study", "dice", 0).folder


def predict_ct(run: Path, volume: Path, output: Path) -> float:
    torch.set_num_threads(2)
    start = time.perf_counter()
    list(predict(Predictor([Run(run)]), [volume], output))
    return time.perf_counter() - start


def cases_table(source: Path, folder: Path) -> list[str]:
    lines = [
        "| resampled to | cases | an epoch, MiB | the same with all cases held, MiB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, way in (("grid", GRID), ("spacing", SPACING)):
        (few, labelling), _ = alone(prepare, source, way, folder / "cache")
        many, _ = alone(copies, few, folder / "cache")
        for samples in (few, many):
            peaks = [alone(epoch, samples, labelling, way, held)[1] for held in (False, True)]
            lines.append(f"| {name} | {len(samples)} | {peaks[0]} | {peaks[1]} |")
            print(lines[-1], flush=True)
    return lines


def ct_table(folder: Path) -> list[str]:
    lines = ["| resampled to | MiB | seconds |", "| --- | ---: | ---: |"]
    values = np.random.default_rng(1).normal(size=CT).astype(np.float32)
    volume = sitk.GetImageFromArray((1000 * values).astype(np.int16))
    volume.SetSpacing(CT_SPACING[::-1])
    sitk.WriteImage(volume, folder / "ct.nii")
    del values, volume
    for name, spacing in CT_WAYS.items():
        run, _ = alone(train_for_ct, folder / name, spacing)
        seconds, peak = alone(predict_ct, run, folder / "ct.nii", folder / name / "masks")
        lines.append(f"| {spacing} | {peak} | {seconds:.0f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        ct, cases = ct_table(folder), cases_table(Path(sys.argv[1]), folder)
    write(
        "memory.md",
        [
            "# Peak memory of studies at a spacing",
            "",
            f"{describe('torch', 'monai', 'SimpleITK')}",
            "`.venv/bin/python benchmarks/memory.py ../shared/data/t2`",
            "",
            "Volumes of 39 x 305 x 305, and ten copies of each: by the grid [32, 224, 224], and by",
            "`spacing: median` with `patch: [16, 128, 128]`. Peaks of a process that makes an epoch of batches.",
            "",
            *cases,
            "",
            f"`spineloss predict` of one network of width 2 on a made volume of {CT} voxels of {CT_SPACING} mm,",
            f"in windows of {CT_PATCH}:",
            "",
            *ct,
        ],
    )


if __name__ == "__main__":
    main()
