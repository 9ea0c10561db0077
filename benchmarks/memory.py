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

from machine import describe, status, write
from spineloss.data import volumes
from spineloss.data.augmentation import Augment
from spineloss.data.batches import training_batches
from spineloss.data.cache import Cache
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


def prepare(data: Path, way: dict, cache: Path) -> None:
    prepare_study(check(settings(data, **way), "benchmark"), SILENT, Cache(cache))


def epoch(data: Path, way: dict, cache: Path, held: bool) -> None:
    """An epoch of batches, as they are, or with all samples held in memory."""
    study = check(settings(data, **way), "benchmark")
    found = prepare_study(study, SILENT, Cache(cache))
    samples = list(found.samples.values())
    tensors = [(sample.image + 0, sample.target + 0) for sample in samples] if held else []
    augment = Augment(**study.augment.model_dump())
    options = {
        "size": 2,
        "augment": augment,
        "needs": frozenset(),
        "labelling": found.labelling,
        "key": (21, 0, 1),
    }
    for make in training_batches(samples, patch=study.patch, **options):
        make()
    del tensors


def copies(source: Path, target: Path, number: int) -> Path:
    """So many of each case under other ids, told apart by a voxel: the same image twice would be refused."""
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
        for path in volumes.list_folder(source / kind):
            image = volumes.read(path)
            for copy in range(number):
                if kind == "images":
                    image[0, 0, 0] = copy
                sitk.WriteImage(image, target / kind / f"{volumes.stem_of(path)}-{copy}{volumes.suffix_of(path)}")
    return target


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
    study = check(settings(data, spacing=spacing, patch=CT_PATCH), "benchmark")
    list(run_study(study, folder / "study", SILENT, Cache(folder / "cache")))
    return Run.of(folder / "study", "dice", 0).folder


def predict_ct(run: Path, volume: Path, output: Path) -> float:
    torch.set_num_threads(2)
    start = time.perf_counter()
    list(predict(Predictor([Run(run)]), [volume], output))
    return time.perf_counter() - start


def cases_table(source: Path, folder: Path) -> list[str]:
    lines = [
        "| cases | resampled to | preparing, MiB | an epoch, MiB | an epoch, all held, MiB |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    many = copies(source, folder / "many", COPIES)
    for data in (source, many):
        cases = len(volumes.list_folder(data / "images"))
        for name, way in (("grid", GRID), ("spacing", SPACING)):
            cache = folder / "cache"
            _, preparing = alone(prepare, data, way, cache)
            peaks = [alone(epoch, data, way, cache, held)[1] for held in (False, True)]
            lines.append(f"| {cases} | {name} | {preparing} | {peaks[0]} | {peaks[1]} |")
            print(lines[-1], flush=True)
    return lines


def ct_table(folder: Path) -> list[str]:
    lines = ["| resampled to | MiB | seconds |", "| --- | ---: | ---: |"]
    values = np.random.default_rng(1).normal(size=CT).astype(np.float32)
    volume = sitk.GetImageFromArray((1000 * values).astype(np.int16))
    volume.SetSpacing(CT_SPACING[::-1])
    sitk.WriteImage(volume, folder / "ct.nii.gz", useCompression=True)
    del values, volume
    for name, spacing in CT_WAYS.items():
        run, _ = alone(train_for_ct, folder / name, spacing)
        seconds, peak = alone(predict_ct, run, folder / "ct.nii.gz", folder / name / "masks")
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
            "Volumes of 39 x 305 x 305, and ten copies of each told apart by a voxel: by the grid [32, 224, 224],",
            "and by `spacing: median` with `patch: [16, 128, 128]`. Peaks are of a process with its libraries.",
            "",
            *cases,
            "",
            f"`spineloss predict` of one network of width 8 on a made volume of {CT} voxels of {CT_SPACING} mm,",
            f"in windows of {CT_PATCH}:",
            "",
            *ct,
        ],
    )


if __name__ == "__main__":
    main()
