"""Losses of each voxel's probability: cross-entropy and focal."""

from abc import abstractmethod

import torch

from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.losses.base import Loss, parameter
from spineloss.losses.inputs import Inputs


class VoxelLoss(Loss):
    """The mean over the voxels of something that each has; the background always counts.

    Sigmoid: every channel is a binary problem, and the means over the voxels of each sample and channel are
    averaged. Softmax: the mean over all voxels of the batch, each with the weight of its label.
    """

    @abstractmethod
    def sums(self, inputs: Inputs) -> torch.Tensor:
        """Over the voxels of each sample and class, (N, C); of exclusive classes a voxel adds to its own."""

    def values(self, inputs: Inputs) -> torch.Tensor:
        return inputs.per_voxel(self.sums(inputs))

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average_voxels(self.sums(inputs))

    def shares(self, inputs: Inputs) -> torch.Tensor:
        return self.values(inputs)


class CrossEntropy(VoxelLoss):
    """The mean over the voxels of the surprise at the target.

    sigmoid: L = -1/M sum(Y log P + (1 - Y) log(1 - P))    (Eq. 3.8)
    softmax: L = -1/M sum(log P of the voxel's label)

    References:
        Good, Rational decisions, Journal of the Royal Statistical Society B 14, 1952.

    >>> CrossEntropy()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item()  # -log(1/2)
    0.6931471824645996
    """

    name = "cross_entropy"
    equation = r"-\frac{1}{M} \sum_i Y_i \log P_i + (1 - Y_i) \log(1 - P_i)"
    use = "The default to beat: confident mistakes keep their gradient. With a very small foreground, add Dice."

    @property
    def columns(self) -> tuple[Column, ...]:
        return (CROSS_ENTROPY,)

    def sums(self, inputs: Inputs) -> torch.Tensor:
        return inputs.column(CROSS_ENTROPY)


class Focal(VoxelLoss):
    """Cross-entropy that down-weights voxels already classified correctly.

    L = alpha / M sum((1 - exp(-c))^gamma c), with c the cross-entropy of a voxel    (Eq. 3.10)

    Softmax: c = -log P of the voxel's label, so that exp(-c) is its probability. The focus is per voxel, as in the
    paper; the thesis's Eq. 3.9 focused the mean. alpha is a plain factor, as in the thesis: it does not
    distinguish foreground from background.

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017.

    >>> round(Focal(alpha=1, gamma=2)(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item(), 4)  # (1/2)^2 log 2
    0.1733
    """

    name = "focal"
    equation = r"\frac{\alpha}{M} \sum_i \left(1 - e^{-c_i}\right)^{\gamma} c_i, \quad c_i = -\log P(Y_i)"
    use = "Many easy voxels drown a few hard ones: raise gamma until they no longer do."

    alpha: float = parameter(default=0.25, low=0, high=1, meaning="factor")
    gamma: float = parameter(default=1.45, low=0, high=10, meaning="focus on wrong voxels; 0 is cross-entropy")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("entropy", self.gamma),)

    def sums(self, inputs: Inputs) -> torch.Tensor:
        return self.alpha * inputs.column(Column("entropy", self.gamma))


class Poly1(VoxelLoss):
    """Cross-entropy with a first-order term of its own: PolyLoss of one coefficient.

    L = 1/M sum(c + epsilon (1 - exp(-c))), with c the cross-entropy of a voxel

    References:
        Leng et al., PolyLoss: a polynomial expansion perspective of classification loss functions, ICLR 2022.

    >>> round(Poly1(epsilon=2)(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item(), 3)  # log 2 + 2 (1/2)
    1.693
    """

    name = "poly1"
    equation = r"\frac{1}{M} \sum \left(c + \epsilon\,(1 - e^{-c})\right)"
    use = "Cross-entropy is nearly right: above 0, epsilon pushes sure voxels further, below 0 it holds them back."

    epsilon: float = parameter(default=1.0, low=-1, high=10, meaning="coefficient of 1 - exp(-c)")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (CROSS_ENTROPY,)

    def sums(self, inputs: Inputs) -> torch.Tensor:
        sums = inputs.sums
        # Of a hard target 1 - exp(-c) is |P - Y|: of exclusive classes, at the label's own.
        wrong = sums.true - sums.overlap
        if inputs.convention.activation == "sigmoid":
            wrong = wrong + sums.predicted - sums.overlap
        return inputs.column(CROSS_ENTROPY) + self.epsilon * wrong


class Brier(Loss):
    """The mean over the voxels and classes of (P - Y)^2: the Brier score, or L2.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.

    >>> Brier()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item()
    0.25
    """

    name = "brier"
    equation = r"\frac{1}{M} \sum (P - Y)^2"
    use = "Probabilities are to be believed (calibration). Not alone for small structures: it may miss them."

    def values(self, inputs: Inputs) -> torch.Tensor:
        return inputs.sums.squared_error / inputs.sums.counted.clamp(min=1)


class L1(Loss):
    """The mean over the voxels and classes of |P - Y|.

    References:
        Ghosh et al., Robust loss functions under label noise for deep neural networks, AAAI 2017.

    >>> L1()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item()
    0.5
    """

    name = "l1"
    equation = r"\frac{1}{M} \sum |P - Y|"
    use = "Labels are noisy: a contradicting voxel has a bounded pull. Not alone: it learns slowly from scratch."

    def values(self, inputs: Inputs) -> torch.Tensor:
        sums = inputs.sums
        return (sums.predicted + sums.true - 2 * sums.overlap) / sums.counted.clamp(min=1)
