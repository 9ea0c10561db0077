"""Losses of the distance between boundaries: boundary, Hausdorff and generalised surface.

Each is the distance term alone; train it with a regional partner. The rows B and HD of the thesis's Table 8.1
are `0.8*dice + 0.2*boundary` and `0.7*dice + 0.3*hausdorff` (Table A.7).
"""

import torch

from spineloss.kernels.distance_transform import Unit
from spineloss.kernels.target_maps import MapName
from spineloss.losses.base import Loss, choice, parameter
from spineloss.losses.inputs import Inputs


class DistanceLoss(Loss):
    """A loss that reads signed distance maps, positive outside and negative inside a mask."""

    category = "boundary"

    unit: Unit = choice(default="mm", meaning="of the distances; mm are voxels where no spacing is given")

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset({self.unit})


class Boundary(DistanceLoss):
    """Probability times the signed distance to the target's boundary, averaged over the voxels.

    L = 1/M sum(P phi(Y))    (Eq. 3.26)

    Perfect is below zero. A target without a boundary (empty or full) adds nothing.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.

    >>> logits, target = torch.tensor([[[[9.0, 9.0, -99.0]]]]), torch.tensor([[[[1.0, 0.0, 0.0]]]])
    >>> round(Boundary()(logits, target).item(), 3)  # (-1 + 1) / 3
    0.0
    """

    name = "boundary"
    equation = r"\frac{1}{M} \sum_i P_i\,\phi_Y(i)"
    use = (
        "Beside a region loss, when the outline matters and the structure is thin or tiny. Not alone: it "
        "does not see overlap."
    )

    def values(self, inputs: Inputs) -> torch.Tensor:
        return inputs.weighted_mean(inputs.distances(self.unit))

    def least(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(inputs.mean(inputs.distances(self.unit).clamp(max=0)))


class Hausdorff(DistanceLoss):
    """Squared error weighted by the distances to both boundaries, averaged over the voxels.

    L = 1/M sum((P - Y)^2 (|phi(P)|^alpha + |phi(Y)|^alpha))    (Eq. 3.29)

    phi(P) is the map of the prediction above 1/2, made anew each step and constant for the gradient.

    References:
        Karimi and Salcudean, Reducing the Hausdorff distance in medical image segmentation, TMI 39, 2020.

    >>> logits, target = torch.tensor([[[[99.0, 99.0, -99.0]]]]), torch.tensor([[[[1.0, 0.0, 0.0]]]])
    >>> round(Hausdorff()(logits, target).item(), 3)  # one voxel, 1 from either boundary: (1 + 1) / 3
    0.667
    """

    name = "hausdorff"
    equation = r"\frac{1}{M} \sum_i (P_i - Y_i)^2 \left(|\phi_P(i)|^{\alpha} + |\phi_Y(i)|^{\alpha}\right)"
    use = (
        "Beside a region loss, when the farthest error is scored. Not alone, and not where time is short: it "
        "makes a distance map of the prediction at every step."
    )

    alpha: float = parameter(default=2.0, low=0, high=4, meaning="power of the distances, 2 in the paper")

    def values(self, inputs: Inputs) -> torch.Tensor:
        maps = inputs.predicted_distances(self.unit), inputs.distances(self.unit)
        predicted, true = (distances.abs() ** self.alpha for distances in maps)
        return inputs.weighted_error(predicted + true)


class GeneralisedSurface(DistanceLoss):
    """1 minus how right the voxels are, in squares weighted by the squared distance to the target's boundary.

    L = 1 - sum((phi(Y) (1 - P - Y))^2) / sum(phi(Y)^2)

    It is from 0 (perfect) to 1 (all wrong), unlike the boundary loss. A target without a boundary (empty or full)
    adds nothing. The paper weights classes inside both sums; here each has a value, averaged like others'.

    References:
        Celaya et al., A generalized surface loss for reducing the Hausdorff distance in medical imaging
        segmentation, arXiv 2302.03868, 2023.

    >>> logits, target = torch.tensor([[[[99.0, 99.0, -99.0]]]]), torch.tensor([[[[1.0, 0.0, 0.0]]]])
    >>> round(GeneralisedSurface()(logits, target).item(), 3)  # 1 - (1 + 0 + 4) / (1 + 1 + 4)
    0.167
    """

    name = "generalised_surface"
    equation = r"1 - \frac{\sum_i \left(\phi_Y(i)\,(1 - P_i - Y_i)\right)^2}{\sum_i \phi_Y(i)^2}"
    use = (
        "Beside a region loss, when far errors must go: as boundary, but from 0 to 1, so that its weight is easy "
        "to choose. Not alone: near the boundary it hardly sees a voxel."
    )

    def values(self, inputs: Inputs) -> torch.Tensor:
        weights = inputs.distances(self.unit).square()
        # 1 - P - Y is the error beside the opposite target: large where the network is right.
        right, most = inputs.weighted_error(weights, 1 - inputs.truth), inputs.mean(weights)
        return (most - right) / most.clamp(min=1e-12)  # 0 where there is no boundary
