"""Losses of the distance between boundaries: boundary and Hausdorff.

Both are the distance term alone; train them with a regional partner. The rows B and HD of the seed's Table 8.1 are
`0.8*dice + 0.2*boundary` and `0.7*dice + 0.3*hausdorff` (Table A.7).
"""

from collections.abc import Mapping
from typing import get_args

import torch

from spineloss.errors import UserError
from spineloss.kernels.distance_transform import Unit
from spineloss.losses.base import Loss, Parameter
from spineloss.losses.inputs import Inputs


class DistanceLoss(Loss):
    """A loss that reads signed distance maps.

    Args:
        unit: `mm`, by the spacing of each sample (voxels where none is given), or `voxel`.
    """

    def __init__(self, unit: Unit = "mm", **values: float) -> None:
        super().__init__(**values)
        if unit not in get_args(Unit):
            raise UserError(f"{self.name}: unit={unit} is unknown; it is `mm` or `voxel`.")
        self.unit: Unit = unit

    @property
    def needs(self) -> frozenset[Unit]:
        return frozenset({self.unit})

    def settings(self) -> Mapping[str, float | str]:
        chosen = {} if self.unit == "mm" else {"unit": self.unit}
        return {**super().settings(), **chosen}


class Boundary(DistanceLoss):
    """Probability times the signed distance to the target's boundary, averaged over the voxels.

    L = 1/M sum(P phi(Y)), phi positive outside and negative inside the target    (Eq. 3.26)

    Perfect is below zero. A target without a boundary (empty or full) adds nothing.

    Args:
        unit: of the distances, `mm` (default; voxels where no spacing is given) or `voxel`.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.
    """

    name = "boundary"

    def __init__(self, unit: Unit = "mm") -> None:
        super().__init__(unit)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(inputs.mean_distance(self.unit))

    def least(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(inputs.least_mean_distance(self.unit))


class Hausdorff(DistanceLoss):
    """Squared error weighed by the distances to both boundaries, averaged over the voxels.

    L = 1/M sum((P - Y)^2 (|phi(P)|^alpha + |phi(Y)|^alpha))    (Eq. 3.29)

    phi(P) is the map of the prediction above 1/2, made anew each step and constant for the gradient.

    Args:
        alpha: power of the distances, 0 to 4 (2 in the paper).
        unit: of the distances, `mm` (default; voxels where no spacing is given) or `voxel`.

    References:
        Karimi and Salcudean, Reducing the Hausdorff distance in medical image segmentation, TMI 39, 2020.
    """

    name = "hausdorff"
    declared = (Parameter("alpha", 2.0, 0.0, 4.0, "power of the distances"),)

    def __init__(self, alpha: float = 2.0, unit: Unit = "mm") -> None:
        super().__init__(unit, alpha=alpha)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(inputs.mean_weighed_error(self.unit, self.alpha))
