"""What an error says of the run that it ended."""

from traceback import format_exception

import torch

from spineloss.errors import UserError, first_line
from spineloss.training.steps import LossNotFinite


def may_pass(error: BaseException) -> bool:
    """Whether an error is of the machine or the files, so that the same training may go on another time."""
    of_gpu = any(name in str(error) for name in ("CUDA error", "CUDA driver error", "cuDNN error", "HIP error"))
    return of_gpu or _out_of_memory(error) or isinstance(error, OSError | UserError)


def reason_of(error: BaseException) -> str:
    """It in one sentence, for the table."""
    if _out_of_memory(error):
        return "out of memory: lower `batch`, `width`, or `grid` or `patch`"
    return str(error) if isinstance(error, LossNotFinite | UserError) else first_line(error)


def traceback_of(error: BaseException) -> str | None:
    """Where an error that is not one of training itself came from, for who wrote the loss."""
    expected = isinstance(error, LossNotFinite | UserError) or _out_of_memory(error)
    return None if expected else "".join(format_exception(error))


def _out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch had no memory: an error of its own on a GPU, a sentence of its allocator on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
