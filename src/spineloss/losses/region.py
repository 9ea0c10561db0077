"""Losses of overlap: points of one plane, T(a, b) = TP / (TP + a FP + b FN).

`a` always weighs false positives, `b` false negatives (Eq. 3.20). Abraham and Khan name them the other way round.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import get_args

import torch

from spineloss.errors import UserError
from spineloss.kernels.counts import Over
from spineloss.losses.base import Loss, Parameter
from spineloss.losses.inputs import Inputs

SMOOTH = 1e-5  # voxels added to numerator and denominator: an empty mask predicted empty is perfect


class Region(Loss):
    """1 - T(a, b), averaged over samples and channels.

    Counts are taken per sample by default: then the loss of a case depends neither on its neighbours in the
    batch nor on the batch's size, and gradient accumulation, a smaller last batch and several GPUs change
    nothing. Take them over the batch where many samples hold no foreground (patches), which a per-sample
    overlap cannot weigh; over the `world` when such a batch is split over several processes.

    Args:
        over: `sample`, `batch` or `world`.
    """

    def __init__(self, over: Over = "sample", **values: float) -> None:
        super().__init__(**values)
        if over not in get_args(Over):
            raise UserError(f"{self.name}: over={over} is unknown; it is `sample`, `batch` or `world`.")
        self.over: Over = over

    @property
    @abstractmethod
    def plane(self) -> tuple[float, float]:
        """The point (a, b): weights of false positives and false negatives."""

    def complement(self, inputs: Inputs) -> torch.Tensor:
        """1 - T of each sample and channel: (N, C), or (1, C) over the batch."""
        a, b = self.plane
        counts = inputs.counts(self.over)
        wrong = a * counts.fp + b * counts.fn
        return wrong / (counts.tp + wrong + SMOOTH)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return inputs.average(self.complement(inputs))

    def settings(self) -> Mapping[str, float | str]:
        chosen = {} if self.over == "sample" else {"over": self.over}
        return {**super().settings(), **chosen}


class Dice(Region):
    """1 - 2 TP / (2 TP + FP + FN): T(1/2, 1/2) (Eq. 3.14).

    Args:
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        Milletari et al., V-Net, 3DV 2016.
    """

    name = "dice"

    @property
    def plane(self) -> tuple[float, float]:
        return 0.5, 0.5


class IoU(Region):
    """1 - TP / (TP + FP + FN): T(1, 1) (Eq. 3.15).

    Args:
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks, ISVC 2016.
    """

    name = "iou"

    @property
    def plane(self) -> tuple[float, float]:
        return 1.0, 1.0


WEIGHTS = (
    Parameter("alpha", 0.7, 0.0, 10.0, "weight of false positives"),
    Parameter("beta", 0.3, 0.0, 10.0, "weight of false negatives"),
)


class Tversky(Region):
    """1 - TP / (TP + alpha FP + beta FN): T(alpha, beta) (Eq. 3.21).

    alpha = beta = 1/2 is Dice, alpha = beta = 1 is IoU.

    Args:
        alpha: weight of false positives, 0 to 10 (0.7 in Table A.7).
        beta: weight of false negatives, 0 to 10 (0.3 in Table A.7).
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        Salehi et al., Tversky loss function for image segmentation, MLMI 2017.
    """

    name = "tversky"
    declared = WEIGHTS

    def __init__(self, alpha: float = 0.7, beta: float = 0.3, over: Over = "sample") -> None:
        super().__init__(over, alpha=alpha, beta=beta)

    @property
    def plane(self) -> tuple[float, float]:
        return self.alpha, self.beta


class Asymmetric(Region):
    """1 - F_beta: T(1 / (1 + beta^2), beta^2 / (1 + beta^2)) (Eq. 3.23).

    Args:
        beta: above 1 weighs false negatives more, 0 to 10 (1.52 in Table A.7); 1 is Dice.
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        Hashemi et al., Asymmetric loss functions and deep densely-connected networks, IEEE Access 7, 2019.
    """

    name = "asymmetric"
    declared = (Parameter("beta", 1.52, 0.0, 10.0, "recall over precision"),)

    def __init__(self, beta: float = 1.52, over: Over = "sample") -> None:
        super().__init__(over, beta=beta)

    @property
    def plane(self) -> tuple[float, float]:
        square = self.beta**2
        return 1 / (1 + square), square / (1 + square)


class Effectiveness(Region):
    """1 - T(alpha / (1 + gamma^2), beta gamma^2 / (1 + gamma^2)): van Rijsbergen's effectiveness.

    With alpha = beta = 1 it is the asymmetric loss of beta = gamma; with gamma = 1 too, Dice.

    Args:
        alpha: weight of false positives, 0 to 10.
        beta: weight of false negatives, 0 to 10.
        gamma: recall over precision, 0 to 10.
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        van Rijsbergen, Information Retrieval, 1979 (Eq. 3.12).
    """

    name = "effectiveness"
    declared = (
        Parameter("alpha", 1.0, 0.0, 10.0, "weight of false positives"),
        Parameter("beta", 1.0, 0.0, 10.0, "weight of false negatives"),
        Parameter("gamma", 1.0, 0.0, 10.0, "recall over precision"),
    )

    def __init__(self, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0, over: Over = "sample") -> None:
        super().__init__(over, alpha=alpha, beta=beta, gamma=gamma)

    @property
    def plane(self) -> tuple[float, float]:
        square = self.gamma**2
        return self.alpha / (1 + square), self.beta * square / (1 + square)
