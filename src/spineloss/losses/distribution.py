"""Losses of each voxel's probability: cross-entropies, focal losses and their like."""

from abc import abstractmethod
from typing import Literal

import torch

from spineloss.errors import UserError
from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.target_maps import MapName
from spineloss.losses.base import Loss, choice, parameter
from spineloss.losses.component_inputs import PARTS, read_over
from spineloss.losses.inputs import Inputs


class VoxelLoss(Loss):
    """The mean over the voxels of something that each has; the background always counts.

    Sigmoid: every channel is a binary problem, and the means over the voxels of each sample and channel are
    averaged. Softmax: the mean over all voxels of the batch, each with the weight of its label.

    Over the connected components of the target it is the mean over the voxels of each, averaged as overlap losses
    are, whose `component` and `blob` it shares: over the components of each sample and class, then over these.
    """

    category = "distribution"

    over: Literal["voxel", "component", "blob"] = choice(default="voxel", meaning="what has the same weight")

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset({"components"} if self.over in PARTS else ())

    @property
    def keeps_background(self) -> bool:
        return self.over not in PARTS

    @abstractmethod
    def sums(self, inputs: Inputs) -> torch.Tensor:
        """Over the voxels of each sample and class, (N, C); of exclusive classes a voxel adds to its own."""

    def values(self, inputs: Inputs) -> torch.Tensor:
        return inputs.per_voxel(self.sums(inputs))

    def compute(self, inputs: Inputs) -> torch.Tensor:
        if self.over not in PARTS:
            return inputs.average_voxels(self.sums(inputs))
        return super().compute(read_over(inputs, self.over, by_voxel=True))

    def shares(self, inputs: Inputs) -> torch.Tensor:
        if self.over not in PARTS:
            return self.values(inputs)
        parts = read_over(inputs, self.over, by_voxel=True)
        return parts.without_background(self.values(parts))


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
    use = (
        "The default to beat: confident mistakes keep their gradient. Not alone for a very small foreground: "
        "add Dice."
    )

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
    use = (
        "Many easy voxels drown a few hard ones: raise gamma until they no longer do. Not with noisy labels: "
        "the voxels that are wrong in them are the hard ones."
    )

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
    use = (
        "Cross-entropy is nearly right: above 0, epsilon pushes sure voxels further, below 0 it holds them "
        "back. Not alone for a very small foreground, as cross-entropy."
    )

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


class GeneralisedCrossEntropy(VoxelLoss):
    """Between cross-entropy (q near 0) and the absolute error (q = 1).

    L = 1/M sum((1 - exp(-c)^q) / q), with c the cross-entropy of a voxel: exp(-c) is the probability of its target

    References:
        Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels,
        NeurIPS 2018.

    >>> loss = GeneralisedCrossEntropy(q=0.5)
    >>> round(loss(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item(), 3)  # 2 - 2 / sqrt(2)
    0.586
    """

    name = "generalised_cross_entropy"
    equation = r"\frac{1}{M} \sum_i \frac{1 - P(Y_i)^q}{q}"
    use = (
        "Some labels are wrong: voxels that contradict the network pull less than in cross-entropy. Not alone "
        "for small structures: at first, they look like noise."
    )

    q: float = parameter(
        default=0.7, low=0.01, high=1, meaning="robustness to noise: near 0 cross-entropy, 1 is L1"
    )

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("box_cox", self.q),)

    def sums(self, inputs: Inputs) -> torch.Tensor:
        return inputs.column(Column("box_cox", self.q))


class SmoothedCrossEntropy(VoxelLoss):
    """Cross-entropy with a share of the target spread evenly: label smoothing.

    L = (1 - smoothing) cross-entropy + smoothing / M sum(u), with u the cross-entropy of a voxel, were every value
    of its target as likely

    sigmoid: u = -(log P + log(1 - P)) / 2; softmax of C classes: u = -1/C sum(log P). With class weights, as
    torch.nn.CrossEntropyLoss(label_smoothing) has it.

    References:
        Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016.

    >>> logits = torch.full((1, 1, 4), torch.log(torch.tensor(19.0)).item())  # probability 19/20, as smoothed
    >>> round(SmoothedCrossEntropy()(logits, torch.ones(1, 1, 4)).item(), 3)  # the entropy of 19/20 and 1/20
    0.199
    """

    name = "smoothed_cross_entropy"
    equation = (
        r"-\frac{1}{M} \sum_i \left((1 - \epsilon)\,\log P(Y_i) + \frac{\epsilon}{C} \sum_c \log P_c(i)\right)"
    )
    use = (
        "Probabilities are too sure of themselves. Not where they must reach 0 or 1, and not for small "
        "structures: the spread share of a large background outweighs them."
    )

    smoothing: float = parameter(default=0.1, low=0, high=0.9, meaning="share of the target that is spread evenly")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (CROSS_ENTROPY, Column("uniform"))

    def sums(self, inputs: Inputs) -> torch.Tensor:
        sure, spread = inputs.column(CROSS_ENTROPY), inputs.column(Column("uniform"))
        return (1 - self.smoothing) * sure + self.smoothing * spread

    def least(self, inputs: Inputs) -> torch.Tensor:
        """The entropy of the smoothed target."""
        exclusive = inputs.convention.activation == "softmax"
        weights = inputs.class_weights(inputs.sums.true) if exclusive else inputs.sums.true.new_ones(2)
        targets = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
        targets = weights * ((1 - self.smoothing) * targets + self.smoothing / len(weights))  # (label, class)
        total = targets.sum(1)
        best = torch.xlogy(total, total) - torch.xlogy(targets, targets).sum(1)
        if not exclusive:
            return best[0]
        return inputs.average_voxels(inputs.sums.true * torch.where(weights > 0, best / weights, 0.0))


class AsymmetricFocal(VoxelLoss):
    """Cross-entropy of which the background's share alone is focal: what is rare is never down-weighted.

    sigmoid: L = -1/M sum(delta Y log P + (1 - delta) (1 - Y) P^gamma log(1 - P))
    softmax: a voxel with label 0 costs -(1 - delta) (1 - P)^gamma log P, any other -delta log P, P being that of
        its label

    References:
        Yeung et al., Unified focal loss: generalising Dice and cross entropy-based losses to handle class
        imbalanced medical image segmentation, Computerized Medical Imaging and Graphics 95, 2022.

    >>> logits, target = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    >>> round(AsymmetricFocal()(logits, target).item(), 3)  # (0.7 + 0.3 / 4) log(2) / 2
    0.269
    """

    name = "asymmetric_focal"
    equation = r"-\frac{1}{M} \sum \delta\,Y \log P + (1 - \delta)\,(1 - Y)\,P^{\gamma} \log(1 - P)"
    use = (
        "An easy background drowns a rare foreground. Not where classes are of like size, and with exclusive "
        "classes not where class 0 is no background."
    )

    delta: float = parameter(
        default=0.7, low=0, high=1, meaning="weight of the foreground; the background's is 1 - delta"
    )
    gamma: float = parameter(default=2.0, low=0, high=10, meaning="focus on wrong voxels of the background")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("foreground"), Column("background", self.gamma))

    def sums(self, inputs: Inputs) -> torch.Tensor:
        foreground, background = (inputs.column(column) for column in self.columns)
        foreground, background = self.delta * foreground, (1 - self.delta) * background
        if inputs.convention.activation == "sigmoid":
            return foreground + background
        if self.over in PARTS:
            raise UserError(f"{self}: of exclusive classes it treats the background apart; leave out `over`.")
        return torch.cat([background[:, :1], foreground[:, 1:]], dim=1)


class SymmetricFocal(AsymmetricFocal):
    """The same with both shares focal: a term of the symmetric unified focal loss."""

    name = "symmetric_focal"

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("foreground", self.gamma), Column("background", self.gamma))


class EntropyPower(VoxelLoss):
    """1/M sum(c^gamma), with c the cross-entropy of a voxel: a term of the exponential logarithmic loss."""

    name = "entropy_power"

    gamma: float = parameter(default=0.3, low=0.1, high=5, meaning="power of each voxel's cross-entropy")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("entropy_power", self.gamma),)

    def sums(self, inputs: Inputs) -> torch.Tensor:
        return inputs.column(Column("entropy_power", self.gamma))


class Brier(Loss):
    """The mean over the voxels and classes of (P - Y)^2: the Brier score, or L2.

    References:
        Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.

    >>> Brier()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item()
    0.25
    """

    name = "brier"
    category = "distribution"
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
    category = "distribution"
    equation = r"\frac{1}{M} \sum |P - Y|"
    use = "Labels are noisy: a contradicting voxel has a bounded pull. Not alone: it learns slowly from scratch."

    def values(self, inputs: Inputs) -> torch.Tensor:
        sums = inputs.sums
        return (sums.predicted + sums.true - 2 * sums.overlap) / sums.counted.clamp(min=1)
