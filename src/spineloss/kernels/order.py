"""The order of the voxels of a volume: what losses need that count the hardest ones alone."""

import numpy as np
import torch

from spineloss.kernels.native import is_traced, readable


def largest(values: torch.Tensor, per_cent: float) -> torch.Tensor:
    """Where the largest values of a row are, of equal ones the first; in the order of the row.

    Args:
        values: (M,), at least 0, or below where one does not count.
        per_cent: of those that count, in (0, 100], rounded down; one of them at least.

    >>> largest(torch.tensor([3.0, 1.0, -1.0, 3.0, 2.0]), 50).tolist()
    [0, 3]
    """
    counted = len(values) - int((values < 0).count_nonzero())
    if not counted:
        return torch.zeros(0, dtype=torch.int64, device=values.device)
    number = max(1, int(counted * per_cent / 100))
    least = _ranked(values, number)
    chosen = (~(values < least)).nonzero()[:, 0]  # NaN, too: a loss of NaN must not hide
    equal = values[chosen] == least
    if (surplus := len(chosen) - number) > 0:
        chosen = chosen[~equal | (equal.cumsum(0) <= equal.count_nonzero() - surplus)]
    return chosen


def _ranked(values: torch.Tensor, number: int) -> torch.Tensor:
    """The value that has so many at and above it."""
    place = len(values) - number
    if _is_array(values):  # NumPy's is vectorised
        return values.new_tensor(np.partition(values.detach().numpy(), place)[place])
    return values.kthvalue(place + 1).values


def descending(values: torch.Tensor) -> torch.Tensor:
    """Where the largest value is, the next, and so on; values are at least 0.

    >>> descending(torch.tensor([1.0, 3.0, 2.0])).tolist()
    [1, 2, 0]
    """
    if values.dtype != torch.float32 or not _is_array(values):
        return values.argsort(descending=True, stable=True)
    # The bits of such floats are ordered as they are. NumPy sorts numbers several times as fast as it ranks them,
    # so each carries its place along.
    keys = (~values.detach().numpy().view(np.uint32)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)  # of equal ones the first is first
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return torch.from_numpy(keys.view(np.int64))


def _is_array(values: torch.Tensor) -> bool:
    return readable(values) and not is_traced() and values.is_contiguous()
