"""Time and memory of a step that learns its loss, beside a plain step and the unrolled way."""

from collections.abc import Callable
from functools import partial

import torch
from torch.func import functional_call

from machine import describe, extra_memory, medians, write
from spineloss import networks
from spineloss.data.batches import Batch, BatchPair, Target
from spineloss.learned.meta_loss import MetaLoss
from spineloss.text import parse
from spineloss.training.online import Online, batch_loss
from spineloss.training.precision import Precision
from spineloss.training.steps import Plain

SETTINGS = [  # width, shape
    (4, (2, 1, 16, 32, 32)),
    (8, (2, 1, 16, 64, 64)),
    (16, (2, 1, 32, 64, 64)),
]
ROUNDS = 5
RATE = 0.001


def example(shape: tuple[int, ...], seed: int) -> Batch:
    """Noise, a tenth of it the target."""
    image = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return Batch(image, ((1.0, Target((image > 1.3).float(), torch.ones(shape[0], 3), {})),))


def plain_step(width: int, shape: tuple[int, ...], loss: torch.nn.Module) -> Plain:
    unet = networks.build("unet", width, 1, shape[2:], seed=0).to(memory_format=torch.channels_last_3d)
    return Plain(unet, loss, torch.optim.Adam(unet.parameters(), lr=RATE), Precision(torch.device("cpu")), None)


def unrolled_step(width: int, shape: tuple[int, ...], pair: BatchPair) -> Callable[[], None]:
    """The way of the paper: the network's step is part of the graph, and is differentiated."""
    loss, objective = MetaLoss(), parse("dice_cross_entropy")
    unet = networks.build("unet", width, 1, shape[2:], seed=0).to(memory_format=torch.channels_last_3d)
    weights = dict(unet.named_parameters())
    means = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    optimiser = torch.optim.Adam(loss.parameters(), lr=RATE)

    def step() -> None:
        value = batch_loss(loss, unet(pair.batch.image), pair.batch)
        gradients = torch.autograd.grad(value, list(weights.values()), create_graph=True)
        moved = {}
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            mean = 0.9 * means[name] + 0.1 * gradient
            square = 0.999 * squares[name] + 0.001 * gradient.square()
            # The first step's biases; its floor keeps the root's slope finite.
            moved[name] = weight - RATE * (mean / 0.1) / ((square / 0.001 + 1e-16).sqrt() + 1e-8)
            means[name], squares[name] = mean.detach(), square.detach()
        judged = batch_loss(objective, functional_call(unet, moved, pair.other.image), pair.other)
        optimiser.zero_grad()
        judged.backward(inputs=list(loss.parameters()))
        optimiser.step()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(moved[name])

    return step


def contestants(width: int, shape: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    pair = BatchPair(example(shape, 1), example(shape, 2))
    loss = MetaLoss()
    online = Online(
        plain_step(width, shape, loss), parse("dice_cross_entropy"), torch.optim.Adam(loss.parameters(), lr=RATE)
    )
    return {
        "plain": partial(plain_step(width, shape, parse("dice_cross_entropy")), pair.batch),
        "frozen": partial(plain_step(width, shape, MetaLoss().requires_grad_(False)), pair.batch),
        "online": partial(online, pair),
        "unrolled": unrolled_step(width, shape, pair),
    }


def row(width: int, shape: tuple[int, ...]) -> str:
    calls = contestants(width, shape)
    seconds = medians(calls, ROUNDS)
    memory = {name: max(extra_memory(call) for _ in range(3)) / 2**20 for name, call in calls.items()}
    times = [f"{1000 * seconds[name]:.0f} ({seconds[name] / seconds['plain']:.1f}x)" for name in calls]
    peaks = [f"{memory[name]:.0f} ({memory[name] / memory['plain']:.2f}x)" for name in calls]
    return "| " + " | ".join([str(width), str(shape), *times, *peaks]) + " |"


def main() -> None:
    rows = [row(*setting) for setting in SETTINGS]
    names = ["plain", "frozen", "online", "unrolled"]
    write(
        "meta.md",
        [
            "# A step that learns its loss",
            "",
            f"Medians of {ROUNDS} interleaved steps with Adam, and what a step adds to the process at its peak.",
            f"{describe('spineloss', 'torch', 'monai')}",
            "*plain*: a step with `dice_cross_entropy`. *frozen*: with a meta-loss that is not learned.",
            "*online*: a step, and one of its loss. *unrolled*: the same by differentiating through the step.",
            "`.venv/bin/python benchmarks/meta.py`",
            "",
            "| width | batch | " + " | ".join(f"{name} {unit}" for unit in ("ms", "MiB") for name in names) + " |",
            "|" + " --- |" * 10,
            *rows,
        ],
    )


if __name__ == "__main__":
    main()
