"""Greedy search in anyone's training loop."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from spineloss.data.batches import Batch, Target, pairs
from spineloss.losses import Loss
from spineloss.training.greedy import Greedy, parse_search
from spineloss.training.precision import Precision, best_device
from spineloss.training.steps import Plain, Step


class GreedyTraining:
    """Trains a network with a loss that searches its own parameters: forward, backward and step included.

    Args:
        network: from images to logits, on its device.
        loss: with parameters to search, such as Tversky's.
        optimiser: of the network's parameters.
        search: the text of a greedy search, such as `greedy(every=8, moves=single)`.
        clip_gradient: largest gradient norm, or none.
        precision: of the forward pass; full by default, `Precision.mixed(device)` for half precision on a GPU.
        seed: of the random choices of `score=random`.

    Raises:
        UserError: the text is not understood, or the loss has nothing to search.

    >>> from spineloss.text import loss
    >>> network = nn.Conv3d(1, 1, 3, padding=1)
    >>> optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> training = GreedyTraining(network, loss("tversky"), optimiser, "greedy(every=8, moves=single)")
    >>> batches = [(torch.randn(2, 1, 4, 8, 8), torch.rand(2, 1, 4, 8, 8) > 0.5) for _ in range(3)]
    >>> len(list(training.epoch(batches))), sorted(training.parameters)
    (3, ['alpha', 'beta'])
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        optimiser: torch.optim.Optimizer,
        search: str = "greedy(every=8, moves=single)",
        *,
        clip_gradient: float | None = None,
        precision: Precision | None = None,
        seed: int = 0,
    ) -> None:
        device = next((parameter.device for parameter in network.parameters()), best_device())
        self.device = device
        plain = Plain(network, loss, optimiser, precision or Precision(device), clip_gradient)
        self.step = Greedy(plain, parse_search(search), (seed, "greedy"))

    def epoch(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[Step]:
        """Take a step on each batch, judged by the next one (the last by the first).

        Args:
            batches: images (N, C, *spatial) and targets, as the loss is called with.

        Returns:
            Each step's loss, and the parameters that it was taken with in its `record`.

        Raises:
            LossNotFinite: the loss or its gradient became NaN or infinite.
        """
        for pair in pairs(_batch(image, target) for image, target in batches):
            yield self.step(pair.to(self.device))

    @property
    def parameters(self) -> dict[str, float]:
        """The loss's parameters as they are now."""
        return dict(self.step.values)

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides network and optimiser, as plain data."""
        return self.step.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.step.load(state)


def _batch(image: torch.Tensor, target: torch.Tensor) -> Batch:
    spacing = torch.ones(len(image), image.ndim - 2)
    return Batch(image, ((1.0, Target(target, spacing, {})),))
