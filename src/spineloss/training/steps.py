"""What one optimiser step does with one batch."""

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn

from spineloss.data.batches import Batch
from spineloss.losses import Loss


class LossNotFinite(ArithmeticError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Plain:
    """Forward, loss, backward, optimiser: in half precision the forward alone.

    Args:
        network: set up by Fabric.
        loss: called in float32.
        optimiser: set up by Fabric.
        fabric: scales the gradients in half precision.
        clip_gradient: largest gradient norm, or none.
    """

    network: nn.Module
    loss: Loss
    optimiser: torch.optim.Optimizer
    fabric: Fabric
    clip_gradient: float | None

    def __call__(self, batch: Batch) -> float:
        """Take one step and return the loss before it.

        Raises:
            LossNotFinite: the loss is NaN or infinite; the step is not taken.
        """
        logits = self.network(batch.image)
        value = sum(share * self.loss(logits, target.mask, **target.context()) for share, target in batch.targets)
        seen = value.item()
        if not torch.isfinite(value):
            raise LossNotFinite(f"the training loss became {seen}")
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(value)
        if self.clip_gradient is not None:
            self.fabric.clip_gradients(self.network, self.optimiser, max_norm=self.clip_gradient)
        self.optimiser.step()
        return seen
