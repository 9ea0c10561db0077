"""Losses made of others: weighted sums, whose terms share one inputs, and a power of an overlap."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.kernels.columns import Column
from spineloss.kernels.level_sets import Predicted
from spineloss.kernels.target_maps import MapName
from spineloss.losses.base import Loss, Parameter, choice, parameter
from spineloss.losses.convention import Convention
from spineloss.losses.distribution import AsymmetricFocal, CrossEntropy, EntropyPower, Focal, SymmetricFocal
from spineloss.losses.inputs import Inputs
from spineloss.losses.ranked import TopK
from spineloss.losses.region import AsymmetricFocalTversky, Dice, LogarithmicDice, Region, SymmetricFocalTversky


class WeightedSum(Loss):
    """sum(weight_i L_i)."""

    category = "compound"

    @property
    @abstractmethod
    def losses(self) -> tuple[Loss, ...]:
        """The terms."""

    @property
    @abstractmethod
    def weights(self) -> tuple[float, ...]:
        """The weight of each term."""

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset().union(*(loss.needs for loss in self.losses))

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for loss in self.losses for column in loss.columns)

    @property
    def predicts(self) -> Predicted:
        return "distance" if any(loss.predicts == "distance" for loss in self.losses) else "mask"

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' texts; a text that comes again is numbered."""
        return _numbered([str(loss) for loss in self.losses])

    def terms(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """Each term's value before weighting, by its name."""
        return {name: loss.compute(inputs) for name, loss in zip(self.names, self.losses, strict=True)}

    def excesses(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """Each term's value above its least: of the same gradient, and never negative, so that terms compare."""
        values = self.terms(inputs).items()
        return {name: value - loss.least(inputs) for (name, value), loss in zip(values, self.losses, strict=True)}

    def values(self, inputs: Inputs) -> torch.Tensor:
        return self._total([loss.values(inputs) for loss in self.losses])

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return self._total([loss.compute(inputs) for loss in self.losses])

    def shares(self, inputs: Inputs) -> torch.Tensor:
        return self._total([loss.shares(inputs) for loss in self.losses])

    def _total(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(add, [weight * value for weight, value in zip(self.weights, values, strict=True)])

    def least(self, inputs: Inputs) -> torch.Tensor | float:
        return sum(weight * loss.least(inputs) for weight, loss in zip(self.weights, self.losses, strict=True))


def _numbered(texts: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        name, number = text, 2
        while name in found:
            name, number = f"{text} #{number}", number + 1
        found.append(name)
    return tuple(found)


class Compound(WeightedSum):
    """A weighted sum of any losses, such as `0.8*dice + 0.2*boundary`.

    All terms read logits and target as the sum does: it is enough to give the keyword arguments to the sum, or the
    same ones to terms.

    Args:
        parts: (weight, loss) pairs; weights are finite and not negative.

    >>> str(Compound([(0.8, Dice()), (0.2, CrossEntropy())]))
    '0.8*dice + 0.2*cross_entropy'
    """

    name = "compound"

    parts: Sequence[tuple[float, Loss]]

    def __post_init__(self) -> None:
        super().__post_init__()
        for weight, _ in self.parts:
            if not 0 <= weight < float("inf"):
                raise UserError(f"A compound's weight is {weight:g}; it must be finite and not negative.")
        self._losses = nn.ModuleList([loss for _, loss in self.parts])
        self._adopt()

    def _adopt(self) -> None:
        """Read as the terms do, where they say how."""
        plain = asdict(Convention())
        for item in fields(Convention):
            own = getattr(self.convention, item.name)
            for _, loss in self.parts:
                of_term = getattr(loss.convention, item.name)
                if of_term in (own, plain[item.name]):
                    continue
                if own != plain[item.name]:
                    raise UserError(
                        f"{self}: the terms of a sum read logits and target alike, "
                        f"and {item.name} is {own} of one and {of_term} of another."
                    )
                own = of_term
            setattr(self, item.name, own)
        self.convention = Convention.of(self)

    @property
    def losses(self) -> tuple[Loss, ...]:
        return tuple(loss for _, loss in self.parts)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(float(weight) for weight, _ in self.parts)

    def tunable(self) -> dict[str, Parameter]:
        return {
            f"{prefix}.{key}": parameter
            for prefix, loss in self._prefixes().items()
            for key, parameter in loss.tunable().items()
        }

    def tuned(self, values: Mapping[str, float]) -> "Compound":
        terms = []
        for weight, (prefix, loss) in zip(self.weights, self._prefixes().items(), strict=True):
            own = {key: values[f"{prefix}.{key}"] for key in loss.tunable() if f"{prefix}.{key}" in values}
            terms.append((weight, loss.tuned(own)))
        return replace(self, parts=terms)

    def _prefixes(self) -> dict[str, Loss]:
        """The terms by their short names, which stay when their parameters change."""
        return dict(zip(_numbered([loss.name for loss in self.losses]), self.losses, strict=True))

    def __str__(self) -> str:
        return " + ".join(f"{weight}*{loss}" for weight, loss in zip(self.weights, self.losses, strict=True))


class DiceCrossEntropy(WeightedSum):
    """L = alpha Dice + beta cross-entropy (Eq. 3.32).

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.

    >>> round(DiceCrossEntropy()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item(), 3)  # (1/3 + log 2) / 2
    0.513
    """

    name = "dice_cross_entropy"
    equation = r"\alpha\,L_{\text{Dice}} + \beta\,L_{\text{cross-entropy}}"
    use = (
        "When in doubt: overlap and calibrated voxels at once. It is what nnU-Net trains with. Not enough "
        "where small components or far errors are scored: it does not see them as such."
    )

    alpha: float = parameter(default=0.5, low=0, high=1, meaning="weight of the Dice loss")
    beta: float = parameter(default=0.5, low=0, high=1, meaning="weight of the cross-entropy")

    @property
    def losses(self) -> tuple[Loss, ...]:
        return Dice(), CrossEntropy()

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class DiceFocal(WeightedSum):
    """L = alpha Dice + beta focal, of focus gamma and factor 1 (Eq. 3.33).

    References:
        Iantsen et al., Squeeze-and-excitation normalization for automated delineation of head and neck primary
        tumors, HECKTOR 2020.

    >>> round(DiceFocal(gamma=2)(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).item(), 3)  # (1/3 + log(2) / 4) / 2
    0.253
    """

    name = "dice_focal"
    equation = r"\alpha\,L_{\text{Dice}} + \beta\,L_{\text{focal}}"
    use = (
        "As Dice with cross-entropy, where easy background dominates even so. Not with noisy labels: the "
        "voxels that are wrong in them are the hard ones."
    )

    alpha: float = parameter(default=0.5, low=0, high=1, meaning="weight of the Dice loss")
    beta: float = parameter(default=0.5, low=0, high=1, meaning="weight of the focal loss")
    gamma: float = parameter(default=5 / 3, low=0, high=10, meaning="focus of the focal loss on wrong voxels")

    @property
    def losses(self) -> tuple[Loss, ...]:
        # The focal term's own factor would only rescale beta.
        return Dice(), Focal(alpha=1.0, gamma=self.gamma)

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class DiceTopK(WeightedSum):
    """L = alpha Dice + beta top-k cross-entropy.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021: its trainer `nnUNetTrainerTopk10Loss`, which ranks over
        the batch.

    >>> logits, target = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    >>> round(DiceTopK()(logits, target).item(), 3)  # (1/3 + log 2) / 2
    0.513
    """

    name = "dice_top_k"
    equation = r"\alpha\,L_{\text{Dice}} + \beta\,L_{\text{top-}k}"
    use = (
        "As Dice with cross-entropy, when mistakes are few and small, such as missed lesions. Not where "
        "annotations are noisy."
    )

    alpha: float = parameter(default=0.5, low=0, high=1, meaning="weight of the Dice loss")
    beta: float = parameter(default=0.5, low=0, high=1, meaning="weight of the top-k cross-entropy")
    k: float = parameter(default=10.0, low=0.1, high=100, meaning="per cent of the voxels that count in it")

    @property
    def losses(self) -> tuple[Loss, ...]:
        return Dice(), TopK(k=self.k)

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class UnifiedFocal(WeightedSum):
    """L = weight asymmetric focal + (1 - weight) asymmetric focal Tversky, both of delta and gamma.

    asymmetric focal Tversky: (1 - T)^(1 - gamma) of a foreground and 1 - T of the background, averaged over the
    classes, with T = TP / (TP + (1 - delta) FP + delta FN). Softmax: class 0 is the background. Sigmoid: each
    channel has one of its own, what it is not. `form=symmetric` treats both alike: the foreground's cross-entropy
    is focal too, and the background's overlap lifted.

    References:
        Yeung et al., Unified focal loss: generalising Dice and cross entropy-based losses to handle class
        imbalanced medical image segmentation, Computerized Medical Imaging and Graphics 95, 2022; the exponents of
        both forms are those of its authors' code.

    >>> logits, target = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    >>> round(UnifiedFocal(gamma=0)(logits, target).item(), 3)  # log(2) / 4 + (1 - 1/2) / 2
    0.423
    """

    name = "unified_focal"
    equation = (
        r"\lambda\,L_{\text{asymmetric focal}} + (1 - \lambda) \left(\tfrac{1}{2}\,(1 - T_0) + "
        r"\tfrac{1}{2}\,(1 - T_1)^{1 - \gamma}\right)"
    )
    use = (
        "As Dice with cross-entropy, when the foreground is rare: its part is never suppressed, only the "
        "background's. With exclusive classes, not where class 0 is no background."
    )

    delta: float = parameter(
        default=0.6, low=0, high=1, meaning="weight of the foreground, and of false negatives"
    )
    gamma: float = parameter(
        default=0.5, low=0, high=0.9, meaning="0 suppresses no background and lifts no foreground"
    )
    weight: float = parameter(default=0.5, low=0, high=1, meaning="of the focal term")
    form: Literal["asymmetric", "symmetric"] = choice(
        default="asymmetric", meaning="whether the background alone is suppressed and the foreground alone lifted"
    )

    @property
    def losses(self) -> tuple[Loss, ...]:
        asymmetric = self.form == "asymmetric"
        focal = AsymmetricFocal if asymmetric else SymmetricFocal
        tversky = AsymmetricFocalTversky if asymmetric else SymmetricFocalTversky
        return focal(delta=self.delta, gamma=self.gamma), tversky(delta=self.delta, gamma=self.gamma)

    @property
    def weights(self) -> tuple[float, ...]:
        return self.weight, 1 - self.weight


class ExponentialLogarithmic(WeightedSum):
    """L = alpha mean((-log Dice)^gamma_dice) + beta mean(c^gamma_entropy), c being the cross-entropy of a voxel.

    The paper weighs a label by (all voxels / its voxels)^(1/2) in the second term: give that as `class_weights`.

    References:
        Wong et al., 3D segmentation with exponential logarithmic loss for highly unbalanced object sizes, MICCAI
        2018.

    >>> logits, target = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    >>> loss = ExponentialLogarithmic(gamma_dice=1, gamma_entropy=1)
    >>> round(loss(logits, target).item(), 3)  # 0.8 log(3/2) + 0.2 log 2
    0.463
    """

    name = "exponential_logarithmic"
    equation = (
        r"\alpha\,\overline{(-\ln \text{Dice})^{\gamma_D}} + "
        r"\beta\,\frac{1}{M} \sum_i \left(-\ln P(Y_i)\right)^{\gamma_E}"
    )
    use = (
        "Structures of very different size, some of them hard to find. Not where a sample may lack a class: the "
        "Dice of nothing is 0, and its logarithm large."
    )

    alpha: float = parameter(default=0.8, low=0, high=1, meaning="weight of the Dice term")
    beta: float = parameter(default=0.2, low=0, high=1, meaning="weight of the cross-entropy term")
    gamma_dice: float = parameter(default=0.3, low=0.1, high=5, meaning="below 1 it lifts what is nearly perfect")
    gamma_entropy: float = parameter(default=0.3, low=0.1, high=5, meaning="likewise, of each voxel")

    @property
    def losses(self) -> tuple[Loss, ...]:
        return LogarithmicDice(gamma=self.gamma_dice), EntropyPower(gamma=self.gamma_entropy)

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class TverskyFocal(Region):
    """L = (1 - T(alpha, beta))^(1 / gamma) of each sample and class: Tversky and the idea of focal in one.

    gamma = 1 is Tversky; above it, overlaps that are already good weight more. Eq. 3.31 as printed grows with
    quality; this is the published form.

    References:
        Abraham and Khan, A novel focal Tversky loss function, ISBI 2019.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> round(TverskyFocal(gamma=2)(logits, target).item(), 3)  # (1 - 1 / 1.7)^(1/2)
    0.642
    """

    name = "tversky_focal"
    category = "compound"
    equation = r"\left(1 - \frac{TP}{TP + \alpha\,FP + \beta\,FN}\right)^{1/\gamma}"
    use = (
        "Small structures, scored unevenly: as Tversky, but overlaps that are already good keep a larger "
        "gradient. Not where bad ones are to count more: above 1, gamma does the opposite."
    )

    alpha: float = parameter(default=0.7, low=0, high=10, meaning="weight of false positives")
    beta: float = parameter(default=0.3, low=0, high=10, meaning="weight of false negatives")
    gamma: float = parameter(default=4 / 3, low=0.1, high=10, meaning="focus; the exponent is 1 / gamma")

    @property
    def plane(self) -> tuple[float, float]:
        return self.alpha, self.beta

    def values(self, inputs: Inputs) -> torch.Tensor:
        # The slope of a root is infinite at zero: a perfect prediction must not be punished for it.
        return super().values(inputs).clamp(min=1e-7) ** (1 / self.gamma)
