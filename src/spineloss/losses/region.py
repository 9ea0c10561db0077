"""Losses of overlap: points of one plane, T(a, b) = TP / (TP + a FP + b FN), and a few that are none.

`a` is the weight of false positives, `b` of false negatives (Eq. 3.20). Abraham and Khan name them the other
way round.
"""

from abc import abstractmethod

import torch

from spineloss.kernels.target_maps import MapName
from spineloss.kernels.voxel_sums import Over
from spineloss.losses.base import Loss, choice, constant, parameter
from spineloss.losses.component_inputs import PARTS, read_over
from spineloss.losses.inputs import Inputs

SMOOTH = 1e-5  # voxels


class Overlap(Loss):
    """A loss of counts of voxels, averaged over samples and classes.

    Counts are taken per sample by default: then the loss of a case depends neither on its neighbours in the
    batch nor on the batch's size, and gradient accumulation, a smaller last batch and several GPUs change
    nothing. Take them over the batch where many samples hold no foreground (patches), which a per-sample
    overlap cannot score; over the `world` when such a batch is split over several processes.

    Where small structures lie beside large ones, score each connected component of the target alone, and average:
    `component` gives it all voxels that are nearer to it than to another, `blob` itself and the whole background.
    """

    category = "region"

    over: Over = choice(default="sample", meaning="what counts are added over")
    smooth: float = constant(
        default=SMOOTH, low=1e-12, high=1.0, meaning="voxels added to the denominator; empty predicted empty is 0"
    )

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset({"components"} if self.over in PARTS else ())

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return super().compute(read_over(inputs, self.over))

    def shares(self, inputs: Inputs) -> torch.Tensor:
        if self.over not in PARTS:
            return super().shares(inputs)
        parts = read_over(inputs, self.over)
        return parts.without_background(self.values(parts))


class Region(Overlap):
    """1 - T(a, b), averaged over samples and classes."""

    @property
    @abstractmethod
    def plane(self) -> tuple[float, float]:
        """The point (a, b): weights of false positives and false negatives."""

    def values(self, inputs: Inputs) -> torch.Tensor:
        """1 - T."""
        a, b = self.plane
        counts = inputs.counts(self.over)
        wrong = a * counts.fp + b * counts.fn
        return wrong / (counts.tp + wrong + self.smooth)


class Dice(Region):
    """1 - 2 TP / (2 TP + FP + FN): T(1/2, 1/2) (Eq. 3.14).

    References:
        Milletari et al., V-Net, 3DV 2016.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(Dice()(logits, target).item(), 3)  # one of two found voxels is right, and none is missed
    0.333
    """

    name = "dice"
    equation = r"1 - \frac{2\,TP}{2\,TP + FP + FN}"
    use = (
        "Dice is what is scored and the foreground is small. Alone it needs a well chosen learning rate; with "
        "cross-entropy it needs less care. Not on patches that are mostly empty: those teach it next to "
        "nothing."
    )

    @property
    def plane(self) -> tuple[float, float]:
        return 0.5, 0.5


class IoU(Region):
    """1 - TP / (TP + FP + FN): T(1, 1) (Eq. 3.15).

    References:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks, ISVC 2016.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(IoU()(logits, target).item(), 3)
    0.5
    """

    name = "iou"
    equation = r"1 - \frac{TP}{TP + FP + FN}"
    use = (
        "IoU is what is scored. It orders predictions as Dice does, and punishes bad ones more. Not on "
        "patches that are mostly empty."
    )

    @property
    def plane(self) -> tuple[float, float]:
        return 1.0, 1.0


class Tversky(Region):
    """1 - TP / (TP + alpha FP + beta FN): T(alpha, beta) (Eq. 3.21).

    alpha = beta = 1/2 is Dice, alpha = beta = 1 is IoU.

    References:
        Salehi et al., Tversky loss function for image segmentation, MLMI 2017.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(Tversky(alpha=0.7, beta=0.3)(logits, target).item(), 3)  # 1 - 1 / (1 + 0.7)
    0.412
    """

    name = "tversky"
    equation = r"1 - \frac{TP}{TP + \alpha\,FP + \beta\,FN}"
    use = (
        "False alarms and misses do not cost the same: raise beta to miss less, alpha to raise fewer false "
        "alarms. Not where Dice is scored: it buys one with the other."
    )

    alpha: float = parameter(default=0.7, low=0, high=10, meaning="weight of false positives")
    beta: float = parameter(default=0.3, low=0, high=10, meaning="weight of false negatives")

    @property
    def plane(self) -> tuple[float, float]:
        return self.alpha, self.beta


class Asymmetric(Region):
    """1 - F_beta: T(1 / (1 + beta^2), beta^2 / (1 + beta^2)) (Eq. 3.23).

    beta = 1 is Dice.

    References:
        Hashemi et al., Asymmetric loss functions and deep densely-connected networks, IEEE Access 7, 2019.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(Asymmetric(beta=2)(logits, target).item(), 3)  # 1 - 1 / (1 + 1/5)
    0.167
    """

    name = "asymmetric"
    equation = r"1 - \frac{(1 + \beta^2)\,TP}{(1 + \beta^2)\,TP + FP + \beta^2 FN}"
    use = (
        "An F-score is the goal: beta says how many times recall matters more than precision. Not where both "
        "matter alike: that is Dice."
    )

    beta: float = parameter(default=1.52, low=0, high=10, meaning="above 1 it weights false negatives more")

    @property
    def plane(self) -> tuple[float, float]:
        square = self.beta**2
        return 1 / (1 + square), square / (1 + square)


class Effectiveness(Region):
    """1 - T(alpha / (1 + gamma^2), beta gamma^2 / (1 + gamma^2)): van Rijsbergen's effectiveness.

    With alpha = beta = 1 it is the asymmetric loss of beta = gamma; with gamma = 1 too, Dice.

    References:
        van Rijsbergen, Information Retrieval, 1979 (Eq. 3.12).

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(Effectiveness(alpha=2, beta=1, gamma=2)(logits, target).item(), 3)  # 1 - 1 / (1 + 2/5)
    0.286
    """

    name = "effectiveness"
    equation = r"1 - \frac{TP}{TP + \frac{\alpha}{1 + \gamma^2} FP + \frac{\beta \gamma^2}{1 + \gamma^2} FN}"
    use = (
        "To search the whole plane of overlap losses with one formula; Dice, Tversky and F-scores are points "
        "of it. Not by hand: three parameters for a plane of two."
    )

    alpha: float = parameter(default=1.0, low=0, high=10, meaning="weight of false positives")
    beta: float = parameter(default=1.0, low=0, high=10, meaning="weight of false negatives")
    gamma: float = parameter(default=1.0, low=0, high=10, meaning="above 1 it prefers recall to precision")

    @property
    def plane(self) -> tuple[float, float]:
        square = self.gamma**2
        return self.alpha / (1 + square), self.beta * square / (1 + square)


class LogCoshDice(Region):
    """log(cosh(1 - T(1/2, 1/2))): Dice, with a slope that vanishes as the overlap becomes perfect.

    References:
        Jadon, A survey of loss functions for semantic segmentation, CIBCB 2020.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(LogCoshDice()(logits, target).item(), 3)  # log(cosh(1/3))
    0.055
    """

    name = "log_cosh_dice"
    equation = r"\ln\cosh\left(1 - \frac{2\,TP}{2\,TP + FP + FN}\right)"
    use = "Dice jumps late in training. Not where the last points of Dice matter: its gradient is small there."

    @property
    def plane(self) -> tuple[float, float]:
        return 0.5, 0.5

    def values(self, inputs: Inputs) -> torch.Tensor:
        return super().values(inputs).cosh().log()


class LogarithmicDice(Region):
    """(-log T(1/2, 1/2))^gamma: a term of the exponential logarithmic loss."""

    name = "logarithmic_dice"

    gamma: float = parameter(default=0.3, low=0.1, high=5, meaning="power of the logarithm")

    @property
    def plane(self) -> tuple[float, float]:
        return 0.5, 0.5

    def values(self, inputs: Inputs) -> torch.Tensor:
        # The slope of a root is infinite at zero, and a logarithm's where nothing is found.
        surprise = -torch.log1p(-super().values(inputs).clamp(max=1 - 1e-7))
        return surprise.clamp(min=1e-7) ** self.gamma


class AsymmetricFocalTversky(Region):
    """(1 - T(1 - delta, delta))^(1 - gamma) of a foreground, 1 - T of a background: a term of unified focal.

    Sigmoid: the mean of both, the background being what a channel is not. Softmax: class 0 is the background.
    """

    name = "asymmetric_focal_tversky"

    delta: float = parameter(
        default=0.6, low=0, high=1, meaning="weight of false negatives; that of false positives is 1 - delta"
    )
    gamma: float = parameter(default=0.5, low=0, high=0.9, meaning="focus; the foreground's exponent is 1 - gamma")

    @property
    def plane(self) -> tuple[float, float]:
        return 1 - self.delta, self.delta

    def values(self, inputs: Inputs) -> torch.Tensor:
        plain = super().values(inputs)
        foreground = self._lifted(plain)
        if inputs.convention.activation == "softmax":
            return torch.cat([self._of_background(plain[:, :1]), foreground[:, 1:]], dim=1)
        counts = inputs.counts(self.over)
        # What is not the structure is found where that is found to be absent.
        wrong = self.delta * counts.fp + (1 - self.delta) * counts.fn
        background = wrong / (counts.tn.clamp(min=0) + wrong + self.smooth)
        return (foreground + self._of_background(background)) / 2

    def _lifted(self, values: torch.Tensor) -> torch.Tensor:
        # The slope of a root is infinite at zero.
        return values.clamp(min=1e-7) ** (1 - self.gamma)

    def _of_background(self, values: torch.Tensor) -> torch.Tensor:
        return values


class SymmetricFocalTversky(AsymmetricFocalTversky):
    """The same with (1 - T)^(1 - gamma) of the background too."""

    name = "symmetric_focal_tversky"

    def _of_background(self, values: torch.Tensor) -> torch.Tensor:
        return self._lifted(values)


class SquaredDice(Overlap):
    """1 - 2 sum(P Y) / (sum(P^2) + sum(Y^2)): the Dice loss as V-Net has it.

    It is sum((P - Y)^2) / (sum((P - Y)^2) + 2 TP), which is how it is computed.

    References:
        Milletari et al., V-Net, 3DV 2016.

    >>> logits, target = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    >>> round(SquaredDice()(logits, target).item(), 3)  # 1 - 2 (1/2) / (1/4 + 1/4 + 1)
    0.333
    """

    name = "squared_dice"
    equation = r"1 - \frac{2 \sum P\,Y}{\sum P^2 + \sum Y^2}"
    use = (
        "As Dice, with a gradient that also falls for wrong voxels that are nearly right: smoother, less "
        "sharp. Not to be read as a Dice: of unsure voxels it has another value."
    )

    def values(self, inputs: Inputs) -> torch.Tensor:
        error = inputs.added(inputs.sums.squared_error, self.over)
        return error / (error + 2 * inputs.counts(self.over).tp + self.smooth)


class Matthews(Overlap):
    """1 - MCC, Matthews's correlation of prediction and target, which true negatives count in too.

    MCC = (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))

    A class that a sample does not hold has no correlation: it adds 1, and no gradient.

    References:
        Abhishek and Hamarneh, Matthews correlation coefficient loss for deep convolutional networks, ISBI 2021.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(Matthews()(logits, target).item(), 2)  # 1 - 1 / sqrt(2 * 1 * 2 * 1)
    0.5
    """

    name = "matthews"
    equation = r"1 - \frac{TP\,TN - FP\,FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}"
    use = "Foreground is not the smaller part, so that true negatives matter. Not where samples lack a class."

    def values(self, inputs: Inputs) -> torch.Tensor:
        counts = inputs.counts(self.over)
        # By rounding, a count of nothing can be below 0, which has no root.
        tp, fp, fn, tn = (count.clamp(min=0) for count in (counts.tp, counts.fp, counts.fn, counts.tn))
        # Two roots: one product of four counts would overflow in single precision.
        positives = ((tp + fp) * (tp + fn) + self.smooth).sqrt()
        negatives = ((tn + fp) * (tn + fn) + self.smooth).sqrt()
        return 1 - (tp * tn - fp * fn) / (positives * negatives)
