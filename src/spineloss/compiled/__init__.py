"""The C of this folder, built when spineloss is installed; where there was no compiler it is absent."""

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

POINTER, INT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
VOLUMES = [POINTER, POINTER, INT, LONG, INT, POINTER, INT]


@cache
def library() -> ctypes.CDLL | None:
    """The functions of `sums.c`, or none."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"sums{suffix}")
        if path.exists():
            functions = ctypes.CDLL(str(path))
            functions.spineloss_sums.argtypes = [*VOLUMES, POINTER]
            functions.spineloss_gradient.argtypes = [*VOLUMES, POINTER, POINTER]
            return functions
    return None
