"""A sum over the processes of a distributed training that gradients flow through."""

from typing import Any

import torch
from torch import distributed


def world_sum(values: torch.Tensor) -> torch.Tensor:
    """The values added over all processes; the values themselves where there is one.

    The gradient is added over all processes too, because the values of each go into the loss of all.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    return _WorldSum.apply(values)


class _WorldSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _WorldSum.apply(gradient)
