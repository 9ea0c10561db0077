"""The optimisers of a study, by name."""

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import nn

OptimiserName = Literal["adam", "sgd"]
OPTIMISERS: tuple[OptimiserName, ...] = get_args(OptimiserName)
MOMENTUM, WEIGHT_DECAY = 0.99, 3e-5  # nnU-Net's (Isensee et al., Nature Methods 2021)


def build_optimiser(name: OptimiserName, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Adam, or nnU-Net's SGD: Nesterov momentum 0.99, weight decay 3e-5.

    Args:
        name: one of `OPTIMISERS`.
        parameters: that are trained.
        rate: the learning rate, above 0.

    >>> build_optimiser("sgd", [nn.Parameter(torch.zeros(1))], 0.01).defaults["momentum"]
    0.99
    """
    if name == "adam":
        return torch.optim.Adam(parameters, lr=rate)
    return torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
