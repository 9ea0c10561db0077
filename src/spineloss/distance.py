"""Exact Euclidean distance transforms and signed distance maps, with anisotropic spacing."""

from collections.abc import Sequence

import edt
import numpy as np
import torch


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
    spacing = (1.0,) * mask.ndim if spacing is None else tuple(float(step) for step in spacing)
    return edt.edt(~mask, anisotropy=spacing, black_border=False, parallel=1)


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
    return (
        distance_map(mask, spacing) - distance_map(~mask, spacing)
        if mask.any() and not mask.all()
        else (np.zeros(mask.shape, np.float32))
    )


def signed_distance_maps(
    masks: torch.Tensor, spacing: torch.Tensor | Sequence[float] | None = None
) -> torch.Tensor:
    """The signed distance map of each sample and channel, without gradient.

    Args:
        masks: (N, C, *spatial); a voxel above 0.5 is foreground.
        spacing: (N, D) or (D,) mm; 1 voxel by default.

    Returns:
        (N, C, *spatial) float32 on the masks' device.
    """
    hard = (masks.detach() > 0.5).cpu().numpy()
    rows = _rows(spacing, len(hard))
    maps = np.stack(
        [
            np.stack([signed_distance_map(mask, row) for mask in sample])
            for sample, row in zip(hard, rows, strict=True)
        ]
    )
    return torch.from_numpy(maps).to(masks.device)


def _rows(spacing: torch.Tensor | Sequence[float] | None, samples: int) -> list[list[float] | None]:
    if spacing is None:
        return [None] * samples
    values = torch.as_tensor(spacing, dtype=torch.float64)
    return values.expand(samples, values.shape[-1]).tolist()
