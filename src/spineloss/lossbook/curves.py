"""A loss as a curve of the probability or on a shape, and a region loss as a surface over the (a, b) plane."""

from collections.abc import Sequence

import numpy as np
import torch

from spineloss.errors import UserError
from spineloss.lossbook.shapes import Shape
from spineloss.losses import Loss
from spineloss.losses.region import SMOOTH

STEPS = 200  # even, so that no prediction is undecided


def against_probability(loss: Loss) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and slope of a loss where every voxel is given the same probability of being right.

    The image is half foreground and half background, and each voxel is right with the same probability: at 0 all
    is wrong, at 1 all is right.

    Returns:
        Probabilities inside (0, 1), the loss at each, and its derivative by the probability.
    """
    probabilities = torch.linspace(0, 1, STEPS + 2, dtype=torch.float64)[1:-1].requires_grad_()
    target = torch.zeros(STEPS, 1, 4, 4, dtype=torch.float64)
    target[..., :2] = 1
    values = _of_each(loss, torch.logit(probabilities).view(-1, 1, 1, 1) * (2 * target - 1), target)
    # Each value depends on its own probability alone, so the sum's gradient holds every slope.
    (slopes,) = torch.autograd.grad(values.sum(), probabilities)
    return probabilities.detach().numpy(), values.detach().numpy(), slopes.numpy()


def _of_each(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    try:
        return loss.per_sample(logits, target)[:, 0]
    except UserError:  # it counts over the batch, or is another package's
        return torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))])


def on_shape(loss: Loss, shape: Shape) -> tuple[float, np.ndarray]:
    """A loss where a shape is predicted with probabilities 0.9 and 0.1: its value, and its gradient by the logits.

    Returns:
        The value, and the gradient (height, width).
    """
    logits = torch.logit(torch.where(torch.from_numpy(shape.prediction), 0.9, 0.1))[None, None].requires_grad_()
    value = loss(logits, torch.from_numpy(shape.truth)[None, None].float())
    (gradient,) = torch.autograd.grad(value, logits)
    return value.item(), gradient[0, 0].numpy()


def over_plane(shape: Shape, weights: Sequence[float]) -> np.ndarray:
    """1 - TP / (TP + a FP + b FN) of a shape for each weight b (rows) and a (columns), as `Region` computes it."""
    p, y = shape.prediction, shape.truth
    tp, fp, fn = (p & y).sum(), (p & ~y).sum(), (~p & y).sum()
    a, b = np.meshgrid(weights, weights)
    wrong = a * fp + b * fn
    return wrong / (tp + wrong + SMOOTH)
