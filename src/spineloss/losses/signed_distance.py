"""Losses of a network that predicts a signed distance map in the place of a mask."""

from dataclasses import replace

import torch

from spineloss.kernels.level_sets import Predicted, level_logits
from spineloss.kernels.target_maps import MapName
from spineloss.losses.base import Loss, parameter
from spineloss.losses.compound import WeightedSum
from spineloss.losses.inputs import Inputs
from spineloss.losses.region import Dice


class SignedDistance(Loss):
    """How far a predicted signed distance map S is from the target's, and where their signs differ.

    L = 1/M sum(|S - phi(Y)| + 1/3 - S phi(Y) / (S phi(Y) + S^2 + phi(Y)^2)), with S = 1 - 2 P

    phi(Y) is the target's map in mm, each side divided by its farthest distance: from -1 to 1, negative inside.
    With the sigmoid, S is minus the hyperbolic tangent of half the logits, the paper's output: a logit above 0 is
    inside. An empty target is 1 all over, a full one -1. The added 1/3 makes a perfect map 0.

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.

    >>> target = torch.tensor([[[1.0, 0.0, 0.0]]])  # its map is -1, 1/2, 1
    >>> probabilities = torch.tensor([[[0.99999, 0.25, 0.25]]])  # a map of -1, 1/2, 1/2
    >>> round(SignedDistance()(probabilities.logit(), target).item(), 3)  # (1/2 + 1/3 - 1/2 / (1/2 + 1/4 + 1)) / 3
    0.183
    """

    name = "signed_distance"
    category = "boundary"
    equation = (
        r"\frac{1}{M} \sum_i |S_i - \phi_Y(i)| + \frac{1}{3} - "
        r"\frac{S_i\,\phi_Y(i)}{S_i\,\phi_Y(i) + S_i^2 + \phi_Y(i)^2}, \quad S = 1 - 2P"
    )
    use = (
        "Organs of a stable shape, whose outlines must be smooth, without islands. Beside Dice, as "
        "dice_signed_distance. Not for tiny structures or many components, nor for exclusive classes: a softmax "
        "cannot meet the maps of more than two."
    )

    @property
    def needs(self) -> frozenset[MapName]:
        return frozenset({"normalised"})

    @property
    def predicts(self) -> Predicted:
        return "distance"

    def values(self, inputs: Inputs) -> torch.Tensor:
        return inputs.level_error(inputs.target_map("normalised"))


class HeavisideDice(Dice):
    """Dice of the mask that a signed distance map 1 - 2 P becomes by a smooth Heaviside function."""

    name = "heaviside_dice"

    @property
    def predicts(self) -> Predicted:
        return "distance"

    def values(self, inputs: Inputs) -> torch.Tensor:
        convention = replace(inputs.convention, activation="sigmoid")
        logits = level_logits(inputs.probabilities)
        return super().values(replace(inputs, logits=logits, convention=convention, columns=()))


class DiceSignedDistance(WeightedSum):
    """L = Dice(H) + weight signed distance, with H = 1 / (1 + exp(1500 S)) the mask of the map S = 1 - 2 P.

    Where 1500 |S| is large, H is 0 or 1 and Dice has no gradient: it sees voxels next to the predicted boundary.

    References:
        Xue et al., Shape-aware organ segmentation by predicting signed distance maps, AAAI 2020.

    >>> logits, target = torch.tensor([[[9.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> distance = SignedDistance()(logits, target).item()
    >>> round(DiceSignedDistance()(logits, target).item() - 10 * distance, 3)  # 1 - 2 / 3
    0.333
    """

    name = "dice_signed_distance"
    equation = r"L_{\text{Dice}}\left(\frac{1}{1 + e^{1500 S}}\right) + \lambda\,L_{\text{signed distance}}"
    use = (
        "Organs of a stable shape, when the outline is scored: smooth masks without islands, by the sign of a "
        "map. Its probabilities say how deep a voxel lies, not how sure it is."
    )

    weight: float = parameter(default=10.0, low=0, high=100, meaning="weight of the map beside Dice")

    @property
    def losses(self) -> tuple[Loss, ...]:
        return HeavisideDice(), SignedDistance()

    @property
    def weights(self) -> tuple[float, ...]:
        return 1.0, self.weight
