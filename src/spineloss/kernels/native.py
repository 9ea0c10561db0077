"""The compiled library of `c/`: built when spineloss is installed, absent where there was no compiler."""

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.autograd import forward_ad

HERE = Path(__file__).parent
MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # what a thread of a team is called with
POINTER, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
ARGUMENTS = {
    "spineloss_sums": [POINTER, LONG, LONG, LONG, POINTER],
    "spineloss_gradient": [POINTER, LONG, LONG, LONG, POINTER, POINTER],
    "spineloss_surprises": [POINTER, LONG, LONG, LONG, POINTER],
    "spineloss_weighted_sums": [POINTER, LONG, LONG, LONG, POINTER],
    "spineloss_weighted_gradient": [POINTER, LONG, LONG, LONG, POINTER, POINTER],
    "spineloss_binned_sums": [POINTER, LONG, LONG, LONG, POINTER],
    "spineloss_binned_gradient": [POINTER, LONG, LONG, LONG, POINTER, POINTER],
    "spineloss_level_sums": [POINTER, LONG, LONG, LONG, POINTER],
    "spineloss_level_gradient": [POINTER, LONG, LONG, LONG, POINTER, POINTER],
    "spineloss_distance_planes": [POINTER, LONG, LONG, LONG, LONG, FLOAT, FLOAT, POINTER, POINTER],
    "spineloss_distance_depth": [POINTER, LONG, LONG, LONG, LONG, LONG, LONG, FLOAT, POINTER, POINTER],
    "spineloss_nearest_planes": [POINTER, LONG, LONG, LONG, LONG, FLOAT, FLOAT, POINTER, POINTER, POINTER],
    "spineloss_nearest_depth": [POINTER, POINTER, LONG, LONG, LONG, LONG, LONG, LONG, FLOAT, POINTER, POINTER],
}


@cache
def libraries() -> dict[int, SimpleNamespace]:
    """The functions of the C files, by how many floats their vectors hold: those that this processor can run."""
    for path in sorted(HERE.glob("library.*")):
        with suppress(OSError, AttributeError):  # built for another platform, or from older sources
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


def readable(tensor: torch.Tensor) -> bool:
    """Whether a tensor is memory that C can read."""
    return tensor.device.type == "cpu" and is_plain(tensor)


def memory(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Memory for C to write to, whatever type and device PyTorch makes tensors of by default."""
    return torch.empty(*shape, dtype=dtype, device="cpu")


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is numbers in memory, of any device: strided, and under no transform of `torch.func`."""
    return (
        tensor.layout is torch.strided
        and type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
        and not tensor.is_quantized
        and not tensor.is_neg()
        and not tensor._is_zerotensor()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)  # of `is_grads_batched`
        and forward_ad.unpack_dual(tensor).tangent is None
    )


def is_traced() -> bool:
    """Whether the operations are being recorded, in place of done."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def in_threads(work: Callable[..., None], *arguments: Sequence[Any]) -> None:
    """Call `work` with each row of arguments, on as many threads as PyTorch uses; C releases the interpreter."""
    rows = deque(zip(*arguments, strict=True))
    threads = min(torch.get_num_threads(), len(rows))
    errors: list[BaseException] = []

    def take(_: Any = None) -> None:
        try:
            while rows and not errors:
                try:
                    row = rows.popleft()
                except IndexError:  # another thread took the last row
                    return
                work(*row)
        except BaseException as error:  # none may leave a thread of C
            errors.append(error)

    if threads > 1:
        _start(take, threads)
    take()  # what is left: all of one thread's rows, or those of a thread that an interrupt ended before it began
    if errors:
        raise errors[0]


def _start(take: Callable[[Any], None], threads: int) -> None:
    if team := _team():
        team(MEMBER(take), None, threads, 0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take, range(threads)))


@cache
def _team() -> Any:
    """PyTorch's own threads, or None where its OpenMP is not GNU's or compatible with it.

    They spin for a while after each of PyTorch's operations, and other threads would wait for the cores meanwhile.
    """
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        with suppress(OSError, AttributeError):
            team = ctypes.CDLL(str(path)).GOMP_parallel
            team.argtypes, team.restype = [MEMBER, POINTER, ctypes.c_uint, ctypes.c_uint], None
            return team
    return None
