"""What a run is trained on, as its record has it; and what makes a GPU compute the same each time."""

import os
import platform
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from spineloss.data.batches import Batch
from spineloss.training.precision import Precision

WHAT = ("device", "precision", "threads", "versions")
PACKAGES = ("spineloss", "torch", "monai", "simpleitk", "numpy")


def hardware(precision: Precision) -> dict[str, Any]:
    """Device, precision, threads and versions of this process."""
    on_gpu = precision.device.type == "cuda"
    versions: dict[str, Any] = {name: version(name) for name in PACKAGES}
    if on_gpu:
        versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    # What a processor's vectors hold decides in which order sums are added.
    processor = f"{platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
    return {
        "device": torch.cuda.get_device_name(precision.device) if on_gpu else processor,
        "precision": str(precision.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **versions},
    }


def stretches(before: Sequence[dict[str, Any]], done: int, now: dict[str, Any]) -> list[dict[str, Any]]:
    """What each part of a run was trained on: a part for each change, with the epoch that it begins with.

    Args:
        before: of the run when it was stopped; empty for a new one.
        done: epochs that are trained.
        now: holds `WHAT` as it is now.

    >>> now = {"device": "b", "precision": "float32", "threads": 2, "versions": {}}
    >>> [part["from_epoch"] for part in stretches([{**now, "device": "a", "from_epoch": 1}], 5, now)]
    [1, 6]
    """
    what = {key: now[key] for key in WHAT}
    kept = [part for part in before if part["from_epoch"] <= done]
    if kept and {key: kept[-1][key] for key in WHAT} == what:
        return kept
    return [*kept, {"from_epoch": done + 1, **what}]


def set_determinism(device: torch.device, deterministic: bool) -> None:
    """Let a GPU compute the same each time, or as fast as it can; a CPU always computes the same."""
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # NVIDIA's condition; read when cuBLAS starts
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it finds mistakes, and takes time
    # The windows of the U-Net's pooling do not overlap: no two threads add to one voxel.
    warnings.filterwarnings("ignore", "max_pool3d_with_indices_backward_cuda does not have a deterministic")


def ready_for(device: torch.device, calls: Sequence[Callable[[], Batch]]) -> list[Callable[[], Batch]]:
    """Calls whose batches wait in page-locked memory, from which a GPU fetches them without the step waiting."""
    return [partial(_locked, call) for call in calls] if device.type == "cuda" else list(calls)


def _locked(call: Callable[[], Batch]) -> Batch:
    return call().each(torch.Tensor.pin_memory)
