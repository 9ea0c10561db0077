"""The C of this folder, built when spineloss is installed; where there was no compiler it is absent."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch

POINTER, INT, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
VOXELS = [POINTER, POINTER, INT, LONG, INT, POINTER, INT]
ARGUMENTS = {
    "spineloss_sums": [*VOXELS, POINTER],
    "spineloss_gradient": [*VOXELS, POINTER, POINTER],
    "spineloss_distance_planes": [POINTER, LONG, LONG, LONG, LONG, FLOAT, FLOAT, POINTER, POINTER],
    "spineloss_distance_depth": [POINTER, LONG, LONG, LONG, LONG, LONG, LONG, FLOAT, POINTER, POINTER],
}


@cache
def library() -> ctypes.CDLL | None:
    """The functions of the C files, or none."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"kernels{suffix}")
        if path.exists():
            functions = ctypes.CDLL(str(path))
            for name, types in ARGUMENTS.items():
                getattr(functions, name).argtypes = types
            return functions
    return None


def in_threads(work: Callable[..., None], *arguments: Sequence[Any]) -> None:
    """Call `work` with each row of arguments, on as many threads as PyTorch uses; C lets go of the interpreter."""
    threads = min(torch.get_num_threads(), len(arguments[0]))
    every = map if threads <= 1 else _pool(threads).map
    deque(every(work, *arguments), maxlen=0)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="spineloss")


# A forked process inherits the pool without its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
