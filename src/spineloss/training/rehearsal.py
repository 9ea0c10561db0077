"""Steps tried on copies of the parameters and of the optimiser's state, so that nothing has to be undone."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call


class Rehearsal:
    """The network as it would be after a step of its optimiser.

    Args:
        network: to step.
        optimiser: of its parameters, of any class of `torch.optim` that steps without a closure.
        clip_gradient: largest gradient norm, or none.
    """

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, clip_gradient: float | None = None
    ) -> None:
        self.network = network
        self.real = optimiser
        self.clip_gradient = clip_gradient
        trained = {name: real for name, real in network.named_parameters() if real.requires_grad}
        self.copies = {name: real.detach().clone().requires_grad_() for name, real in trained.items()}
        self.pairs = [(real, self.copies[name]) for name, real in trained.items()]
        copy_of = dict(self.pairs)
        self.optimiser = type(optimiser)(
            [
                {**group, "params": [copy_of[real] for real in group["params"] if real in copy_of]}
                for group in optimiser.param_groups
            ]
        )

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take a step from where the network is now.

        Args:
            gradients: one per trained parameter, in the network's order; they may be clipped in place.
        """
        for (real, copy), gradient in zip(self.pairs, gradients, strict=True):
            copy.data.copy_(real.data)
            copy.grad = gradient
            self.optimiser.state[copy] = {
                key: value.clone() if isinstance(value, torch.Tensor) else value
                for key, value in self.real.state.get(real, {}).items()
            }
        for mine, real in zip(self.optimiser.param_groups, self.real.param_groups, strict=True):
            mine.update({key: value for key, value in real.items() if key != "params"})
        if self.clip_gradient is not None:
            nn.utils.clip_grad_norm_(self.copies.values(), self.clip_gradient)
        self.optimiser.step()

    @torch.no_grad()
    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The logits after the last step; statistics of normalisation and random streams stay as they are."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
            return functional_call(self.network, {**self.copies, **buffers}, (image,))
