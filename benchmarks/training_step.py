"""A step of the U-Net's training with its own instance norm beside PyTorch's.

Run it on a quiet machine: .venv/bin/python benchmarks/training_step.py
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from unittest.mock import patch

import torch
from torch import nn

from machine import command, describe, interleaved, ratio, timing, write
from spineloss import networks
from spineloss.losses import Dice

ROUNDS = 7
SIZES = [
    (4, (16, 32, 16), 4),
    (4, (16, 48, 48), 4),
    (8, (16, 48, 48), 2),
    (8, (16, 64, 64), 2),
    (16, (16, 64, 64), 2),
]


def trained(width: int, grid: tuple[int, int, int], batch: int) -> Callable[[], object]:
    """A call that trains a network for a step."""
    random = torch.Generator().manual_seed(0)
    network = networks.build("unet", width, 1, grid, seed=0).to(memory_format=torch.channels_last_3d)
    images = torch.randn((batch, 1, *grid), generator=random).contiguous(memory_format=torch.channels_last_3d)
    masks = (torch.rand(images.shape, generator=random) > 0.9).float()
    return partial(step, network, torch.optim.Adam(network.parameters()), images, masks)


def step(network: nn.Module, optimiser: torch.optim.Optimizer, images: torch.Tensor, masks: torch.Tensor) -> None:
    optimiser.zero_grad()
    Dice()(network(images), masks).backward()
    optimiser.step()


def main() -> None:
    rows = []
    for size in SIZES:
        calls = {"own": trained(*size), "theirs": partial(as_pytorch, trained(*size))}
        rows.append(row(size, interleaved(calls, ROUNDS)))
    write(
        "training_step.md",
        [
            "# A training step with the U-Net's instance norm, and with PyTorch's",
            "",
            f"{timing(ROUNDS)} {describe('torch', 'monai')}",
            f"`{command('training_step')}`",
            "",
            "| width | grid | batch | ms | with PyTorch's, ms | PyTorch's / ours |",
            "|" + " --- |" * 6,
            *rows,
        ],
    )


def as_pytorch(call: Callable[[], object]) -> None:
    """The call, with PyTorch's instance norm."""
    with patch.object(networks.InstanceNorm, "forward", nn.InstanceNorm3d.forward):
        call()


def row(size: tuple[int, tuple[int, int, int], int], rounds: dict[str, list[float]]) -> str:
    width, grid, batch = size
    own, theirs = (1000 * median(rounds[name]) for name in ("own", "theirs"))
    faster = ratio(rounds["theirs"], rounds["own"])
    return f"| {width} | {list(grid)} | {batch} | {own:.0f} | {theirs:.0f} | {faster:.2f} |"


if __name__ == "__main__":
    main()
