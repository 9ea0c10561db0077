"""Maps of a target that losses read beside it: made once by the side of the data, or by the loss at each call."""

from collections.abc import Sequence
from typing import Literal

import torch

from spineloss.kernels.components import nearest_components
from spineloss.kernels.distance_transform import signed_distance_maps
from spineloss.kernels.level_sets import normalised_maps
from spineloss.kernels.skeletons import tubed_skeletons

MapName = Literal["mm", "voxel", "normalised", "components", "skeleton"]


def target_map(
    name: MapName,
    masks: torch.Tensor,
    spacing: torch.Tensor | Sequence[float] | None = None,
    counted: torch.Tensor | None = None,
    *,
    exclusive: bool = False,
) -> torch.Tensor:
    """A map of each sample and channel, without gradient.

    mm, voxel     signed distances to the boundary, in that unit: positive outside, negative inside
    normalised    those in mm, each side divided by its farthest: -1 to 1; an empty mask's is 1, a full one's -1
    components    the number of the nearest connected component, from 1
    skeleton      where the skeleton is, two voxels thicker on each side but inside the mask

    Args:
        name: one of them.
        masks: (N, C, *spatial), 2D or 3D; a voxel above 0.5 is foreground.
        spacing: (N, D) or (D,) mm; 1 voxel by default.
        counted: (N, 1 or C, *spatial) booleans; a voxel that is ignored is neither foreground nor background.
        exclusive: whether channel 0 is the background of exclusive classes, which has no skeleton.

    Returns:
        (N, C, *spatial), on the masks' device and made there.

    >>> target_map("components", torch.tensor([[[1.0, 0.0, 0.0, 0.0, 1.0]]])).tolist()
    [[[1, 1, 1, 2, 2]]]
    """
    if name in ("mm", "voxel"):
        return signed_distance_maps(masks, spacing if name == "mm" else None, counted)
    if name == "normalised":
        return normalised_maps(signed_distance_maps(masks, spacing, counted), masks.detach(), counted)
    hard = masks.detach() > 0.5
    hard = hard if counted is None else hard & counted
    if name == "components":
        return nearest_components(hard, spacing)
    return tubed_skeletons(torch.cat([torch.zeros_like(hard[:, :1]), hard[:, 1:]], 1) if exclusive else hard)
