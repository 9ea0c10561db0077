"""Losses of calibration: whether a probability is the share of voxels that are foreground."""

import torch

from spineloss.errors import UserError
from spineloss.losses.base import Loss, constant
from spineloss.losses.inputs import Inputs


class CalibrationError(Loss):
    """The marginal L1 average calibration error (mL1-ACE) of each class.

    L = 1/|B| sum over b of |mean of P in b - mean of Y in b|

    The voxels are sorted into bins of equal width by their probability; B are the bins that hold any. The gradient
    does not see that a voxel can change its bin.

    References:
        Barfoot et al., Average calibration error: a differentiable loss for improved reliability in image
        segmentation, MICCAI 2024.

    >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    >>> CalibrationError()(logits, target).item()  # of the voxels with 1/2 a quarter is foreground
    0.25
    """

    name = "calibration_error"
    category = "calibration"
    equation = r"\frac{1}{|B|} \sum_{b \in B} \left|\overline{P}_b - \overline{Y}_b\right|"
    use = (
        "Beside Dice with cross-entropy, when probabilities are read as such. Not alone: the share of foreground, "
        "said of every voxel, is perfect."
    )

    bins: float = constant(default=20, low=2, high=1000, meaning="how many bins of probability; a whole number")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins != int(self.bins):
            raise UserError(f"{self.name}: bins={self.bins:g} is no whole number.")

    def values(self, inputs: Inputs) -> torch.Tensor:
        voxels, errors = inputs.binned(int(self.bins))
        gaps = errors.abs() / voxels.clamp(min=1)
        return gaps.sum(2) / (voxels > 0).sum(2).clamp(min=1)
