"""A loss of another package, wrapped so that it takes part in sums, studies and weightings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.grammar import Value
from spineloss.losses.base import Loss
from spineloss.losses.inputs import Inputs

SURE = 100.0  # logit of a probability that is 1 in single precision


class Foreign(Loss):
    """Anyone's loss module, called with logits and the target in its own shape.

    Its own arguments say how it reads them: `monai.losses.DiceLoss(softmax=true, to_onehot_y=true)`. It sees an
    ignored voxel as background predicted without a doubt: so nothing there changes its value or has a gradient,
    but what it averages over the voxels it divides by all of them.

    Args:
        name: its import path.
        arguments: of its class.
        module: the loss itself.
    """

    def __init__(self, name: str, arguments: Mapping[str, Value], module: nn.Module) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]  # every instance has its own
        self._arguments = dict(arguments)
        self.module = module

    def compute(self, inputs: Inputs) -> torch.Tensor:
        logits, target = inputs.logits.to(inputs.wide), inputs.target
        if target.ndim == logits.ndim:
            target = target.to(inputs.wide)
        if inputs.counted is not None:
            are_volumes, exclusive = target.ndim == logits.ndim, inputs.convention.activation == "softmax"
            if not are_volumes and inputs.counted.shape[1] > 1:
                raise UserError(
                    f"{self.name} reads labels here, and the mask has a channel for each class: give a mask of "
                    "one channel, or the target as volumes."
                )
            sure = logits.new_full((logits.shape[1], *[1] * (logits.ndim - 2)), -SURE)
            background = torch.zeros_like(sure)
            if exclusive or not are_volumes:  # label 0 is channel 0, whichever way the logits are read
                sure[0], background[0] = SURE, 1
            logits = torch.where(inputs.counted, logits, sure)
            if are_volumes:
                target = torch.where(inputs.counted, target, background)
            else:
                target = torch.where(inputs.counted[:, 0], target, 0)
        value = self.module(logits, target.unsqueeze(1) if inputs.has_label_axis else target)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = f" of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else ""
            raise TypeError(f"{self.name} returns a {type(value).__name__}{shape}, not a tensor of one number")
        if inputs.logits.requires_grad and not value.requires_grad:
            raise TypeError(f"{self.name} returns a number that does not depend on the logits: it has no gradient")
        return value.reshape(())

    def values(self, inputs: Inputs) -> torch.Tensor:
        raise UserError(f"{self.name} is another package's loss: it has no value of each sample and class.")

    def settings(self) -> Mapping[str, Any]:
        return {
            key: str(value).lower() if isinstance(value, bool) else value for key, value in self._arguments.items()
        }
