"""Losses of each voxel's probability: cross-entropy and focal."""

import torch

from spineloss.losses.base import Loss, Parameter
from spineloss.losses.inputs import Inputs


class CrossEntropy(Loss):
    """Binary cross-entropy, averaged over the voxels.

    L = -1/M sum(Y log P + (1 - Y) log(1 - P))    (Eq. 3.8)

    References:
        Good, Rational decisions, Journal of the Royal Statistical Society B 14, 1952.

    >>> CrossEntropy()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item()  # -log(1/2)
    0.6931471824645996
    """

    name = "cross_entropy"

    @property
    def gammas(self) -> tuple[float, ...]:
        return (0.0,)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(inputs.entropy(0.0))


class Focal(Loss):
    """Cross-entropy that turns to the voxels that are still wrong.

    L = alpha / M sum((1 - exp(-c))^gamma c), with c the cross-entropy of a voxel    (Eq. 3.10)

    The focus is per voxel, as in the paper; the seed's Eq. 3.9 focused the mean. alpha is a plain factor, as in
    the seed: it does not tell foreground from background.

    Args:
        alpha: factor, 0 to 1 (0.25 in Table A.7).
        gamma: focus, 0 (cross-entropy) to 10 (1.45 in Table A.7).

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017.
    """

    name = "focal"
    declared = (
        Parameter("alpha", 0.25, 0.0, 1.0, "factor"),
        Parameter("gamma", 1.45, 0.0, 10.0, "focus on wrong voxels"),
    )

    def __init__(self, alpha: float = 0.25, gamma: float = 1.45) -> None:
        super().__init__(alpha=alpha, gamma=gamma)

    @property
    def gammas(self) -> tuple[float, ...]:
        return (self.gamma,)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return self.alpha * inputs.average(inputs.entropy(self.gamma))
