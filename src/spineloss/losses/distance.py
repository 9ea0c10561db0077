"""Losses of the distance between boundaries: boundary and Hausdorff.

Both are the distance term alone; train them with a regional partner. The rows B and HD of the seed's Table 8.1 are
`0.8*dice + 0.2*boundary` and `0.7*dice + 0.3*hausdorff` (Table A.7).
"""

import torch

from spineloss.distance import signed_distance_maps
from spineloss.evidence import Evidence
from spineloss.losses.base import Loss, Parameter


class Boundary(Loss):
    """Probability times the signed distance to the target's boundary, averaged over the voxels.

    L = 1/M sum(P phi(Y)), phi positive outside and negative inside the target    (Eq. 3.26)

    In mm when the spacing is given, else in voxels. Perfect is below zero. A target without a boundary (empty
    or full) adds nothing.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.
    """

    name = "boundary"
    needs = frozenset({"target_map"})

    def compute(self, evidence: Evidence) -> torch.Tensor:
        return evidence.mean(evidence.probabilities * evidence.distances)


class Hausdorff(Loss):
    """Squared error weighed by the distances to both boundaries, averaged over the voxels.

    L = 1/M sum((P - Y)^2 (|phi(P)|^alpha + |phi(Y)|^alpha))    (Eq. 3.29)

    phi(P) is the map of the prediction above 1/2, made anew each step and constant for the gradient.

    Args:
        alpha: power of the distances, 0 to 4 (2 in the paper).

    References:
        Karimi and Salcudean, Reducing the Hausdorff distance in medical image segmentation, TMI 39, 2020.
    """

    name = "hausdorff"
    declared = (Parameter("alpha", 2.0, 0.0, 4.0, "power of the distances"),)
    needs = frozenset({"target_map"})

    def __init__(self, alpha: float = 2.0) -> None:
        super().__init__(alpha=alpha)

    def compute(self, evidence: Evidence) -> torch.Tensor:
        predicted = signed_distance_maps(evidence.probabilities, evidence.spacing).to(evidence.logits.dtype)
        weights = predicted.abs() ** self.alpha + evidence.distances.abs() ** self.alpha
        return evidence.mean((evidence.probabilities - evidence.target) ** 2 * weights)
