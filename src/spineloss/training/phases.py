"""Phases of a training: epochs in which one loss trains the U-Net, its encoder or its decoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from spineloss.data.labelling import Labelling
from spineloss.kernels.target_maps import MapName
from spineloss.losses import Loss
from spineloss.seeding import seeded

Part = Literal["encoder", "decoder", "all"]


def trained_part(network: nn.Module, part: Part, seed: int) -> nn.Module:
    """The U-Net as one of its parts is trained, whose parameters alone then have gradients.

    Args:
        network: the U-Net of `networks`.
        part: `encoder`, all before the first upsampling; `decoder`, the rest; or `all`.
        seed: of the weights of the encoder's head.

    Returns:
        The network itself; of the encoder alone, a module from images to logits at its coarsest level, a sixteenth
        of the grid. Its last layer, a 1x1x1 convolution, is a head that the network does not have.
    """
    network.requires_grad_(True)
    encoder = nn.Sequential(network.conv_0, network.down_1, network.down_2, network.down_3, network.down_4)
    if part != "encoder":
        encoder.requires_grad_(part == "all")
        return network
    last = network.final_conv
    with seeded(seed):
        head = nn.Conv3d(network.upcat_4.upsample.deconv.in_channels, last.out_channels, kernel_size=1)
        nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
        nn.init.zeros_(head.bias)
    return encoder.append(head.to(last.weight.device))


class CoarseLoss(nn.Module):
    """A loss of logits on a coarse grid, whose target is the share of each structure in each of its voxels.

    Args:
        loss: that takes targets between 0 and 1.
        labelling: what targets mean.

    >>> from spineloss.data.labelling import labelling_of
    >>> from spineloss.losses import Brier
    >>> target = torch.zeros(1, 1, 2, 2, 4)
    >>> target[..., 0] = 1  # half of the first of two voxels
    >>> loss = CoarseLoss(Brier(), labelling_of("merged", [1]))
    >>> loss(torch.zeros(1, 1, 1, 1, 2), target, spacing=torch.ones(1, 3)).item()  # ((1/2 - 1/2)^2 + (1/2)^2) / 2
    0.125
    """

    needs: frozenset[MapName] = frozenset()

    def __init__(self, loss: Loss, labelling: Labelling) -> None:
        super().__init__()
        self.loss = loss
        self.labelling = labelling

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        spacing: torch.Tensor,
        target_maps: Mapping[MapName, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The loss; maps of the fine target are left unread.

        Args:
            logits: (N, outputs, *coarse).
            target: (N, C, *fine), as batches have it.
            spacing: (N, 3) mm of the fine grid.
            target_maps: of the fine target.
        """
        coarse, fine = logits.shape[2:], target.shape[2:]
        shares, counted = self.labelling.shares(target, tuple(coarse))
        steps = spacing * (spacing.new_tensor(fine) / spacing.new_tensor(coarse))
        return self.loss(logits, shares, mask=counted, spacing=steps)

    def __str__(self) -> str:
        return str(self.loss)


@dataclass(frozen=True)
class Phase:
    """Epochs in which a loss trains a part of the network.

    Args:
        epochs: how many.
        loss: of the network's logits; of the encoder alone, of logits at its coarsest level.
        part: what is trained.
    """

    epochs: int
    loss: Loss | CoarseLoss
    part: Part = "all"

    def __str__(self) -> str:
        return f"{self.part} {self.epochs} {self.loss}"
