"""Exact Euclidean distance transforms and signed distance maps, with anisotropic spacing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import edt
import numpy as np
import torch

Unit = Literal["mm", "voxel"]


def distance_map(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Distance of each voxel to the nearest voxel of the mask, 0 on the mask.

    Args:
        mask: (*spatial) booleans, 2D or 3D.
        spacing: of each axis, mm; 1 voxel by default.

    Returns:
        (*spatial) float32. Of an empty mask, from which no distance is defined: zeros.

    >>> distance_map(np.array([[True, False, False]]), (1.0, 2.0)).tolist()
    [[0.0, 2.0, 4.0]]
    """
    mask = np.ascontiguousarray(mask, dtype=bool)
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    return edt.edt(~mask, anisotropy=_steps(mask, spacing), black_border=False, parallel=1)


def signed_distance_map(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Distance to the mask outside of it, minus the distance to its complement inside.

    phi(q) = d(q, mask) - d(q, complement)

    Args:
        mask: (*spatial) booleans, 2D or 3D.
        spacing: of each axis, mm; 1 voxel by default.

    Returns:
        (*spatial) float32: positive outside, negative inside. Of an empty or a full mask, which has no
        boundary: zeros.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.

    >>> signed_distance_map(np.array([[True, True, False]]), (1.0, 2.0)).tolist()
    [[-4.0, -2.0, 2.0]]
    """
    mask = np.ascontiguousarray(mask, dtype=bool)
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.float32)
    # Each voxel lies on one side only, so one transform to the nearest voxel of the other label does for both.
    distances = edt.edt(mask.view(np.uint8) + 1, anisotropy=_steps(mask, spacing), black_border=False, parallel=1)
    return np.negative(distances, out=distances, where=mask)


def signed_distance_maps(
    masks: torch.Tensor, spacing: torch.Tensor | Sequence[float] | None = None
) -> torch.Tensor:
    """The signed distance map of each sample and channel, without gradient.

    Args:
        masks: (N, C, *spatial), 2D or 3D; a voxel above 0.5 is foreground.
        spacing: (N, D) or (D,) mm; 1 voxel by default.

    Returns:
        (N, C, *spatial) float32, on the masks' device and made there.
    """
    hard = masks.detach() > 0.5
    steps = torch.ones(hard.ndim - 2) if spacing is None else torch.as_tensor(spacing)
    steps = steps.expand(len(hard), hard.ndim - 2).tolist()
    if hard.device.type != "cpu":
        return torch.stack([_on_device(sample, row) for sample, row in zip(hard, steps, strict=True)])
    volumes = [(mask.numpy(), row) for sample, row in zip(hard, steps, strict=True) for mask in sample]
    # The transform lets go of the interpreter: a volume a thread, rather than threads that wait within a volume.
    with ThreadPoolExecutor(min(torch.get_num_threads(), len(volumes))) as pool:
        maps = list(pool.map(lambda volume: signed_distance_map(*volume), volumes))
    return torch.from_numpy(np.stack(maps)).view(hard.shape)


def _steps(mask: np.ndarray, spacing: Sequence[float] | None) -> tuple[float, ...]:
    return (1.0,) * mask.ndim if spacing is None else tuple(float(step) for step in spacing)


def _on_device(masks: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Signed distance maps of (C, *spatial) booleans by plain operations, where the masks are.

    Squared distances are exact axis by axis: d'(i) = min_j d(j) + (spacing (i - j))^2 (Saito and Toriwaki, Pattern
    Recognition 27, 1994).
    """
    sides = torch.stack([~masks, masks])
    squared = torch.where(sides, torch.inf, 0.0)
    for axis, step in enumerate(spacing, start=2):
        squared = _nearest_along(squared, axis, step)
    outside, inside = squared.sqrt()
    return torch.where(torch.isinf(outside + inside), 0.0, outside - inside)


CHECKED_EVERY = 16  # shifts between looks at whether more could still matter: a look waits for the device


def _nearest_along(squared: torch.Tensor, axis: int, step: float) -> torch.Tensor:
    length = squared.shape[axis]
    nearest = squared.clone()
    for shift in range(1, length):
        cost = (shift * step) ** 2
        if shift % CHECKED_EVERY == 0 and cost >= nearest.max():
            break
        rest = length - shift
        for start, other in ((shift, 0), (0, shift)):
            here = nearest.narrow(axis, start, rest)
            torch.minimum(here, squared.narrow(axis, other, rest) + cost, out=here)
    return nearest
