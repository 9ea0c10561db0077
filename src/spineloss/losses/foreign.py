"""A loss of another package, wrapped so that it takes part in sums, studies and weightings."""

from collections.abc import Mapping

import torch
from torch import nn

from spineloss.grammar import Value
from spineloss.losses.base import Loss
from spineloss.losses.inputs import Inputs


class Foreign(Loss):
    """Anyone's loss module, called with logits and target alone.

    Args:
        name: its import path.
        arguments: of its class.
        module: the loss itself.
    """

    def __init__(self, name: str, arguments: Mapping[str, Value], module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self._arguments = dict(arguments)
        self.module = module

    def compute(self, inputs: Inputs) -> torch.Tensor:
        return self.module(inputs.logits.to(inputs.wide), inputs.target.to(inputs.wide))

    def settings(self) -> Mapping[str, float | str]:
        return {
            key: str(value).lower() if isinstance(value, bool) else value for key, value in self._arguments.items()
        }
