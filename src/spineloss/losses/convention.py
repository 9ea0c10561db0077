"""How logits and targets are read: declared when a loss is made, never guessed from the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from spineloss.errors import UserError
from spineloss.kernels.plain_sums import Activation
from spineloss.losses.deep_supervision import LevelWeights, check_level_weights


@dataclass(kw_only=True, eq=False)
class Convention:
    """What a loss takes its logits and target to be; every loss has these keyword arguments.

    Args:
        activation: `sigmoid`, every channel alone, or `softmax`, exclusive classes.
        ignore: a target value that counts nowhere: not in sums, distance maps or gradients. Where the target has
            one channel more than the logits (regions), the last one marks what is ignored, as in nnU-Net.
        background: False leaves channel 0 out of overlap and distance terms; cross-entropies keep it.
        class_weights: one number per class, at least 0. Overlap and distance terms average their classes by them;
            cross-entropies weight each voxel by its label's (softmax), or each channel by its own (sigmoid).
        levels: weights of deep supervision's levels, from the finest: `nnunet` (1, 1/2, 1/4 ..., the coarsest 0,
            divided by their sum), `monai` (1, 1/2, 1/4 ...) or one number per level.
    """

    activation: Activation = "sigmoid"
    ignore: int | None = None
    background: bool = True
    class_weights: Sequence[float] | None = None
    levels: LevelWeights = "nnunet"

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise UserError(f"activation={self.activation!r} is unknown; it is 'sigmoid' or 'softmax'.")
        if self.ignore is not None and (isinstance(self.ignore, bool) or self.ignore != int(self.ignore)):
            raise UserError(f"ignore={self.ignore!r} is no label; it is a whole number such as 255, or None.")
        if not isinstance(self.background, bool):
            raise UserError(f"background={self.background!r} is unknown; it is True or False.")
        if self.class_weights is not None:
            self.class_weights = tuple(float(weight) for weight in self.class_weights)
            if not any(self.class_weights) or not all(0 <= each < math.inf for each in self.class_weights):
                raise UserError("class_weights must be finite and at least 0, and one of them above 0.")
        check_level_weights(self.levels)

    @classmethod
    def of(cls, loss: Any) -> "Convention":
        """The one that a loss was made with."""
        return cls(**{field.name: getattr(loss, field.name) for field in fields(cls)})
