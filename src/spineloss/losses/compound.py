"""Losses made of others: weighted sums, whose terms share one inputs, and a power of an overlap."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.kernels.counts import Over
from spineloss.kernels.distance_transform import Unit
from spineloss.losses.base import Loss, Parameter
from spineloss.losses.distribution import CrossEntropy, Focal
from spineloss.losses.inputs import Inputs
from spineloss.losses.region import WEIGHTS, Dice, Region


class WeightedSum(Loss):
    """sum(weight_i L_i)."""

    @property
    @abstractmethod
    def losses(self) -> tuple[Loss, ...]:
        """The terms."""

    @property
    @abstractmethod
    def weights(self) -> tuple[float, ...]:
        """The weight of each term."""

    @property
    def needs(self) -> frozenset[Unit]:
        return frozenset().union(*(loss.needs for loss in self.losses))

    @property
    def gammas(self) -> tuple[float, ...]:
        return tuple(gamma for loss in self.losses for gamma in loss.gammas)

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

    def compute(self, inputs: Inputs) -> torch.Tensor:
        values = self.terms(inputs).values()
        return sum(weight * value for weight, value in zip(self.weights, values, strict=True))

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

    Args:
        terms: (weight, loss) pairs; weights are finite and not negative.

    >>> str(Compound([(0.8, Dice()), (0.2, CrossEntropy())]))
    '0.8*dice + 0.2*cross_entropy'
    """

    name = "compound"

    def __init__(self, terms: Sequence[tuple[float, Loss]]) -> None:
        super().__init__()
        self._losses = nn.ModuleList([loss for _, loss in terms])
        self._weights = tuple(float(weight) for weight, _ in terms)
        for weight in self._weights:
            if not 0 <= weight < float("inf"):
                raise UserError(f"A compound's weight is {weight:g}; it must be finite and not negative.")

    @property
    def losses(self) -> tuple[Loss, ...]:
        return tuple(self._losses)

    @property
    def weights(self) -> tuple[float, ...]:
        return self._weights

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
        return Compound(terms)

    def _prefixes(self) -> dict[str, Loss]:
        """The terms by their short names, which stay when their parameters change."""
        return dict(zip(_numbered([loss.name for loss in self.losses]), self.losses, strict=True))

    def __str__(self) -> str:
        return " + ".join(f"{weight}*{loss}" for weight, loss in zip(self.weights, self.losses, strict=True))


SHARES = (
    Parameter("alpha", 0.5, 0.0, 1.0, "weight of the Dice loss"),
    Parameter("beta", 0.5, 0.0, 1.0, "weight of the other term"),
)


class DiceCrossEntropy(WeightedSum):
    """alpha Dice + beta cross-entropy (Eq. 3.32).

    Args:
        alpha: weight of the Dice loss, 0 to 1 (0.5 in Table A.7).
        beta: weight of the cross-entropy, 0 to 1 (0.5 in Table A.7).

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.
    """

    name = "dice_cross_entropy"
    declared = SHARES

    def __init__(self, alpha: float = 0.5, beta: float = 0.5) -> None:
        super().__init__(alpha=alpha, beta=beta)

    @property
    def losses(self) -> tuple[Loss, ...]:
        return Dice(), CrossEntropy()

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class DiceFocal(WeightedSum):
    """alpha Dice + beta focal (Eq. 3.33).

    Args:
        alpha: weight of the Dice loss, 0 to 1 (0.5 in Table A.7).
        beta: weight of the focal loss, 0 to 1 (0.5 in Table A.7).
        gamma: focus of the focal loss, 0 to 10 (5/3 in Table A.7).

    References:
        Iantsen et al., Squeeze-and-excitation normalization for automated delineation of head and neck primary
        tumors, HECKTOR 2020.
    """

    name = "dice_focal"
    declared = (*SHARES, Parameter("gamma", 5 / 3, 0.0, 10.0, "focus on wrong voxels"))

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, gamma: float = 5 / 3) -> None:
        super().__init__(alpha=alpha, beta=beta, gamma=gamma)

    @property
    def losses(self) -> tuple[Loss, ...]:
        # The focal term's own factor would only rescale beta.
        return Dice(), Focal(alpha=1.0, gamma=self.gamma)

    @property
    def weights(self) -> tuple[float, ...]:
        return self.alpha, self.beta


class TverskyFocal(Region):
    """(1 - T(alpha, beta))^(1 / gamma) of each sample and channel: Tversky and the idea of focal in one.

    Eq. 3.31 as printed grows with quality; this is the published form.

    Args:
        alpha: weight of false positives, 0 to 10 (0.7 in Table A.7).
        beta: weight of false negatives, 0 to 10 (0.3 in Table A.7).
        gamma: 1 is Tversky; above it good overlaps weigh more (4/3 in Table A.7), 0.1 to 10.
        over: counts per `sample` (default), over the `batch`, or over the `world`.

    References:
        Abraham and Khan, A novel focal Tversky loss function, ISBI 2019.
    """

    name = "tversky_focal"
    declared = (*WEIGHTS, Parameter("gamma", 4 / 3, 0.1, 10.0, "focus; the exponent is 1 / gamma"))

    def __init__(self, alpha: float = 0.7, beta: float = 0.3, gamma: float = 4 / 3, over: Over = "sample") -> None:
        super().__init__(over, alpha=alpha, beta=beta, gamma=gamma)

    @property
    def plane(self) -> tuple[float, float]:
        return self.alpha, self.beta

    def compute(self, inputs: Inputs) -> torch.Tensor:
        # The slope of a root is infinite at zero: a perfect prediction must not be punished for it.
        return inputs.average(self.complement(inputs).clamp(min=1e-7) ** (1 / self.gamma))
