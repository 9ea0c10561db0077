"""When the gradient of sums is left to plain operations, and that gradient."""

from collections.abc import Callable
from typing import Any

import torch

from spineloss.kernels import native


def plain_gradient(
    sums: Callable[..., torch.Tensor], logits: torch.Tensor, *constants: Any, weights: torch.Tensor
) -> torch.Tensor | None:
    """The gradient of `sums(logits, *constants)` weighted by `weights`, or None where a pass of its own can.

    Plain operations make it where it is to be derived again, and where many are asked for at once: PyTorch hands
    these over under a transform (`is_grads_batched`, `vmap`).
    """
    again = torch.is_grad_enabled()
    if not again and native.is_plain(weights):
        return None
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(sums(logits, *constants), logits, weights, create_graph=again)
    return gradient
