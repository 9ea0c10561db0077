"""Losses of a structure's course: what connects it counts, however thin it is."""

import torch

from spineloss.kernels.target_maps import MapName
from spineloss.losses.base import Loss
from spineloss.losses.inputs import Inputs

NOTHING = 1e-12  # below the share of one voxel


class SkeletonRecall(Loss):
    """1 minus the share of the target's tubed skeleton that is found.

    L = 1 - sum(P S) / sum(S)

    S is the skeleton of the target, two voxels thicker on each side but inside the target. Of exclusive classes
    the background has none, and adds 0. The paper thins the union of the classes; here each class is thinned.

    References:
        Kirchhoff et al., Skeleton recall loss for connectivity conserving and resource efficient segmentation of
        thin tubular structures, ECCV 2024.

    >>> target = torch.ones(1, 1, 1, 5)
    >>> logits = torch.tensor([[[[99.0, 99.0, 99.0, 99.0, -99.0]]]])
    >>> round(SkeletonRecall()(logits, target).item(), 3)
    0.2
    """

    name = "skeleton_recall"
    category = "topology"
    equation = r"1 - \frac{\sum_i P_i\,S_i}{\sum_i S_i}"
    use = (
        "Beside Dice with cross-entropy, when vessels, nerves or airways must not be interrupted. Not alone: it "
        "sees no false positive. Not for compact structures, whose skeleton says little."
    )

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset({"skeleton"})

    def values(self, inputs: Inputs) -> torch.Tensor:
        tubes = inputs.target_map("skeleton").to(inputs.wide)
        missed = inputs.mean(tubes) - inputs.weighted_mean(tubes)
        return missed / inputs.mean(tubes).clamp(min=NOTHING)
