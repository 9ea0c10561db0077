"""Masks as level sets: normalised signed distance maps, whose zero is the boundary, and the way back."""

from typing import Literal

import torch

Predicted = Literal["mask", "distance"]
STEEPNESS = 1500.0  # of the smooth Heaviside function, in the paper's Eq. 3


def normalised_maps(maps: torch.Tensor, masks: torch.Tensor, counted: torch.Tensor | None = None) -> torch.Tensor:
    """Signed distance maps with each side divided by its farthest distance: -1 deepest inside, 1 farthest outside.

    A mask without a boundary has no distances, but sides: it is 1 all over if it is empty, -1 if it is full.

    Args:
        maps: (N, C, *spatial) signed distances, positive outside.
        masks: (N, C, *spatial); a voxel above 0.5 is foreground.
        counted: (N, 1 or C, *spatial) booleans; a voxel that does not count is 0.

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.

    >>> mask = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    >>> normalised_maps(torch.tensor([[[-2.0, -1.0, 1.0, 2.0, 3.0, 4.0]]]), mask).tolist()
    [[[-1.0, -0.5, 0.25, 0.5, 0.75, 1.0]]]
    >>> normalised_maps(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    signs = torch.where(masks > 0.5, -1.0, 1.0)
    flat = maps.flatten(2)
    farthest = torch.where(masks > 0.5, *(_largest(side, maps.ndim) for side in (-flat, flat)))
    found = torch.where(farthest > 0, maps / farthest, signs)
    return found if counted is None else torch.where(counted, found, 0.0)


def _largest(sides: torch.Tensor, axes: int) -> torch.Tensor:
    return sides.amax(2).clamp(min=0).view(*sides.shape[:2], *[1] * (axes - 2))


def heaviside(probabilities: torch.Tensor) -> torch.Tensor:
    """The probability of a mask whose map is 1 - 2 P: 1 / (1 + exp(-1500 (2 P - 1))).

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.

    >>> heaviside(torch.tensor([0.4, 0.5, 0.6])).tolist()
    [0.0, 0.5, 1.0]
    """
    return level_logits(probabilities).sigmoid()


def level_logits(probabilities: torch.Tensor) -> torch.Tensor:
    """The logits of `heaviside`."""
    return STEEPNESS * (2 * probabilities - 1)
