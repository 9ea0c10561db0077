"""Losses of overlap that are no point of the plane: classes weighted by volume, errors raised to a power."""

from typing import Literal

import torch

from spineloss.kernels.columns import Column
from spineloss.losses.base import choice, parameter
from spineloss.losses.inputs import Inputs
from spineloss.losses.region import Overlap

Whole = Literal["sample", "batch", "world"]  # where a component alone has no meaning

MOST_SURE = 0.8  # the largest alpha of Boundary-DoU, as its authors have it


class GeneralisedDice(Overlap):
    """1 - 2 sum_c(w_c TP_c) / sum_c(w_c (2 TP_c + FP_c + FN_c)): one Dice of all classes, small ones weighted up.

    w_c = 1 / V_c^2 (`square`), 1 / V_c (`simple`) or 1 (`uniform`), with V_c the class's volume in the target. A
    class that a sample does not hold has the largest weight of those it does. What a class adds is its share.

    References:
        Sudre et al., Generalised Dice overlap as a deep learning loss function for highly unbalanced
        segmentations, DLMIA 2017.

    >>> logits = torch.tensor([[[9.0, 9.0, -99.0, -99.0], [-99.0, 9.0, 9.0, 9.0]]])
    >>> target = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]]])
    >>> round(GeneralisedDice()(logits, target).item(), 2)  # 1 - 2 (1 + 3 / 9) / (3 + 6 / 9)
    0.27
    """

    name = "generalised_dice"
    equation = r"1 - \frac{2 \sum_c w_c\,TP_c}{\sum_c w_c\,(2\,TP_c + FP_c + FN_c)}, \quad w_c = \frac{1}{V_c^2}"
    use = (
        "Classes of very different volume, all of which matter. Not where a sample may hold a few voxels of one: "
        "that class is then nearly all of the loss. With one channel it is Dice."
    )

    over: Whole = choice(default="sample", meaning="what counts are added over")
    weighting: Literal["square", "simple", "uniform"] = choice(
        default="square", meaning="what the volume of a class is divided out by"
    )

    def values(self, inputs: Inputs) -> torch.Tensor:
        counts = inputs.counts(self.over)
        chosen = inputs.weights_of_classes(counts.tp)
        weights = self._of_volumes(counts.tp + counts.fn, chosen > 0)
        wrong = counts.fp + counts.fn
        size = (chosen * weights * (2 * counts.tp + wrong)).sum(1, keepdim=True)
        # The mean over the classes that `average` will take is undone: their shares add up to the loss.
        return chosen.sum() * weights * wrong / (size + self.smooth)

    def _of_volumes(self, volumes: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Each class's weight, (N, C), that of the smallest being 1."""
        held = (volumes > 0) & chosen
        smallest = torch.where(held, volumes, torch.inf).amin(1, keepdim=True)
        relative = torch.where(held, smallest / torch.where(held, volumes, 1.0), 1.0)
        return relative ** {"square": 2, "simple": 1, "uniform": 0}[self.weighting]


class SensitivitySpecificity(Overlap):
    """ratio sum(Y (P - Y)^2) / sum(Y) + (1 - ratio) sum((1 - Y) (P - Y)^2) / sum(1 - Y).

    The mean squared error of the foreground and that of the background, each for itself.

    References:
        Brosch et al., Deep convolutional encoder networks for multiple sclerosis lesion segmentation, MICCAI 2015.

    >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    >>> round(SensitivitySpecificity()(logits, target).item(), 3)  # 0.05 / 4 + 0.95 / 4
    0.25
    """

    name = "sensitivity_specificity"
    equation = r"r\,\frac{\sum Y\,(P - Y)^2}{\sum Y} + (1 - r)\,\frac{\sum (1 - Y)\,(P - Y)^2}{\sum (1 - Y)}"
    use = (
        "Misses and false alarms are to be traded by one number, whatever the foreground's size. Not where Dice "
        "is scored: a few false voxels cost nothing in a large background."
    )

    ratio: float = parameter(default=0.05, low=0, high=1, meaning="weight of the foreground's error")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("missed", 2.0),)

    def values(self, inputs: Inputs) -> torch.Tensor:
        missed = inputs.added(inputs.column(Column("missed", 2.0)), self.over)
        # By rounding, what is left of the error can be below 0.
        false = (inputs.added(inputs.sums.squared_error, self.over) - missed).clamp(min=0)
        counts = inputs.counts(self.over)
        foreground, background = counts.tp + counts.fn, counts.tn + counts.fp
        of_foreground = self.ratio * missed / (foreground + self.smooth)
        return of_foreground + (1 - self.ratio) * false / (background.clamp(min=0) + self.smooth)


class DicePlusPlus(Overlap):
    """1 - 2 TP / (2 TP + sum((P (1 - Y))^gamma) + sum(((1 - P) Y)^gamma)): Dice++.

    gamma = 1 is Dice; above it, unsure voxels cost less, so that the prediction need not be sure of itself.

    References:
        Yeung et al., Calibrating the Dice loss to handle neural network overconfidence for biomedical image
        segmentation, Journal of Digital Imaging 36, 2023.

    >>> logits, target = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    >>> round(DicePlusPlus()(logits, target).item(), 3)  # 1 - 1 / (1 + 1/4 + 1/4)
    0.333
    """

    name = "dice_plus_plus"
    equation = (
        r"1 - \frac{2\,TP}{2\,TP + \sum \left(P\,(1 - Y)\right)^{\gamma} + \sum \left((1 - P)\,Y\right)^{\gamma}}"
    )
    use = (
        "Dice is scored and probabilities are to say how sure they are. Not where only the mask counts: the "
        "gradient of unsure voxels is smaller than that of Dice."
    )

    gamma: float = parameter(default=2.0, low=1, high=10, meaning="power of each voxel's error; 1 is Dice")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("deviation", self.gamma),)

    def values(self, inputs: Inputs) -> torch.Tensor:
        wrong = inputs.added(inputs.column(Column("deviation", self.gamma)), self.over)
        return wrong / (2 * inputs.counts(self.over).tp + wrong + self.smooth)


class NoiseRobustDice(Overlap):
    """sum(|P - Y|^gamma) / (sum(P^2) + sum(Y^2)): Dice between V-Net's (gamma = 2) and the absolute error (1).

    References:
        Wang et al., A noise-robust framework for automatic segmentation of COVID-19 pneumonia lesions from CT
        images, TMI 39, 2020.

    >>> logits, target = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    >>> round(NoiseRobustDice()(logits, target).item(), 3)  # 2 (1/2)^1.5 / (1/4 + 1/4 + 1)
    0.471
    """

    name = "noise_robust_dice"
    equation = r"\frac{\sum |P - Y|^{\gamma}}{\sum P^2 + \sum Y^2}"
    use = (
        "Annotations are noisy and the foreground is small: voxels that contradict the network pull less than in "
        "Dice. Not with careful annotations: they are what is hard to learn."
    )

    gamma: float = parameter(default=1.5, low=1, high=2, meaning="power of each voxel's error")

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("deviation", self.gamma),)

    def values(self, inputs: Inputs) -> torch.Tensor:
        wrong = inputs.added(inputs.column(Column("deviation", self.gamma)), self.over)
        squares = inputs.added(inputs.sums.squared_error, self.over) + 2 * inputs.counts(self.over).tp
        return wrong / (squares + self.smooth)


class BoundaryDoU(Overlap):
    """(sum(P^2) + sum(Y^2) - 2 sum(P Y)) / (sum(P^2) + sum(Y^2) - (1 + alpha) sum(P Y)): difference over union.

    alpha = 1 - 2 B / V, at most 0.8, with V the voxels of the structure and B those of them that touch another
    class or the image's edge through a face. A large structure has a large alpha, and its errors weigh more.

    References:
        Sun et al., Boundary difference over union loss for medical image segmentation, MICCAI 2023.

    >>> logits, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])
    >>> round(BoundaryDoU()(logits, target).item(), 3)  # alpha = -1: 1/2 / (1/2 + 2 (1/2))
    0.333
    """

    name = "boundary_dou"
    equation = (
        r"\frac{\sum P^2 + \sum Y^2 - 2 \sum P\,Y}{\sum P^2 + \sum Y^2 - (1 + \alpha) \sum P\,Y}, "
        r"\quad \alpha = 1 - 2\,\frac{B}{V}"
    )
    use = (
        "Large and small structures at once, when outlines matter and no distance map is to be made. Not for "
        "tiny or thin structures alone: those are all boundary, and it is V-Net's Dice."
    )

    over: Whole = choice(default="sample", meaning="what counts are added over")

    def values(self, inputs: Inputs) -> torch.Tensor:
        counts = inputs.counts(self.over)
        edge = inputs.added(inputs.edge_voxels.to(counts.tp.dtype), self.over)
        alpha = 1 - 2 * (edge + self.smooth) / (counts.tp + counts.fn + self.smooth).detach()
        error = inputs.added(inputs.sums.squared_error, self.over)
        return error / (error + (1 - alpha.clamp(-1, MOST_SURE)) * counts.tp + self.smooth)
