"""The compiled library of `c/`, built when spineloss is installed and absent where there was no compiler."""

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.autograd import forward_ad

MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # what a thread of a team is called with
POINTER, INT, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
VOXELS = [POINTER, POINTER, INT, POINTER, LONG, INT, POINTER, INT]
ARGUMENTS = {
    "spineloss_sums": [*VOXELS, POINTER],
    "spineloss_gradient": [*VOXELS, POINTER, POINTER],
    "spineloss_field_sum": [POINTER, POINTER, POINTER, POINTER, FLOAT, LONG, POINTER],
    "spineloss_field_slope": [POINTER, POINTER, POINTER, POINTER, FLOAT, LONG, FLOAT, POINTER],
    "spineloss_distance_planes": [POINTER, LONG, LONG, LONG, LONG, FLOAT, FLOAT, POINTER, POINTER],
    "spineloss_distance_depth": [POINTER, LONG, LONG, LONG, LONG, LONG, LONG, FLOAT, POINTER, POINTER],
}


@cache
def libraries() -> dict[int, SimpleNamespace]:
    """The functions of the C files, by how many floats their vectors hold: those that this processor can run."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"library{suffix}")
        if path.exists():
            compiled = ctypes.CDLL(str(path))
            widest = compiled.spineloss_lanes()
            return {lanes: _functions(compiled, lanes) for lanes in (4, 8, 16) if lanes <= widest}
    return {}


def _functions(compiled: ctypes.CDLL, lanes: int) -> SimpleNamespace:
    found = {name: compiled[f"{name}_{lanes}"] for name in ARGUMENTS}
    for name, function in found.items():
        function.argtypes, function.restype = ARGUMENTS[name], None
    return SimpleNamespace(**found)


@cache
def library() -> SimpleNamespace | None:
    """The functions with the widest vectors, or none."""
    return max(libraries().items(), default=(0, None))[1]


CHUNK = 1 << 18  # voxels a thread takes at a time
SMALL = 1 << 13  # voxels below which a call into the library costs more than it saves


@dataclass(frozen=True)
class Chunk:
    """A part of one row (a sample's channel) of a batch, its first voxel counted over the whole batch."""

    row: int
    first: int
    voxels: int

    def of(self, volume: torch.Tensor) -> int:
        """Where the part begins in a contiguous batch."""
        return volume.data_ptr() + self.first * volume.element_size()


def chunks_of(volume: torch.Tensor) -> list[Chunk]:
    """The parts of an (N, C, *spatial) batch, each row cut alike on any number of threads."""
    voxels = volume[0, 0].numel()
    return [
        Chunk(row, row * voxels + start, min(CHUNK, voxels - start))
        for row in range(volume.shape[0] * volume.shape[1])
        for start in range(0, voxels, CHUNK)
    ]


def takes(logits: torch.Tensor, *others: torch.Tensor) -> bool:
    """Whether the library is there and is made for these logits, and the others are constants."""
    return (
        logits.device.type == "cpu"
        and logits.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and logits.numel() >= SMALL
        and not any(other.requires_grad for other in others)
        and not _transformed(logits)
        and library() is not None
    )


def _transformed(tensor: torch.Tensor) -> bool:
    """Whether the tensor is traced, vectorised or carries a tangent: then only plain operations will do."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or forward_ad.unpack_dual(tensor).tangent is not None
    )


def in_threads(work: Callable[..., None], *arguments: Sequence[Any]) -> None:
    """Call `work` with each row of arguments, on as many threads as PyTorch uses; C lets go of the interpreter."""
    rows = deque(zip(*arguments, strict=True))
    threads = min(torch.get_num_threads(), len(rows))
    errors: list[BaseException] = []

    def take(_: Any = None) -> None:
        with suppress(IndexError):  # another thread took the last row
            while rows and not errors:
                row = rows.popleft()
                try:
                    work(*row)
                except BaseException as error:  # none may leave a thread of C
                    errors.append(error)

    if threads > 1 and (team := _team()):
        team(MEMBER(take), None, threads, 0)
    else:
        take()
    if errors:
        raise errors[0]


@cache
def _team() -> Any:
    """PyTorch's own OpenMP threads, or none where it has no such: threads of ours would compete with them.

    They spin for a while after each of PyTorch's operations, and a second team waits for the cores meanwhile.
    """
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            team = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        team.argtypes, team.restype = [MEMBER, POINTER, ctypes.c_uint, ctypes.c_uint], None
        return team
    return None
