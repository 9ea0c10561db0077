import copy
import math

import pytest
import torch
from lightning_fabric import Fabric

from greedy import obvious_step, obvious_trials
from spineloss.data.batches import Batch, Target
from spineloss.errors import UserError
from spineloss.losses import parse
from spineloss.training.gradients import Forward, span
from spineloss.training.greedy import Greedy, Search
from spineloss.training.greedy import parse as parse_search
from spineloss.training.steps import LossNotFinite, Plain

SHAPE = (2, 1, 4, 6, 8)
LOSSES = [
    "tversky",
    "tversky(over=batch)",
    "asymmetric",
    "effectiveness",
    "tversky_focal",
    "focal",
    "dice_cross_entropy",
    "0.5*focal + 0.5*tversky + 0.1*boundary(unit=voxel)",
]
TWO = torch.tensor([[3.0, 1.0, 1.0]] * 2)


def network_of(norm, channels=1):
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1),
        norm,
        torch.nn.LeakyReLU(),
        torch.nn.Conv3d(4, channels, 3, padding=1),
    )


def greedy_of(text, search=None, norm=None, clip=None, held_out=None, channels=1):
    """A greedy step of a small network in double precision."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu")
    network = network_of(norm or torch.nn.InstanceNorm3d(4), channels).double()
    wrapped, optimiser = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=0.02))
    plain = Plain(wrapped, parse(text), optimiser, fabric, clip)
    return Greedy(plain, search or Search(), (21, 0), held_out)


def batch_of(number, shares=(1.0,), shape=SHAPE):
    """A noisy image of its first target."""
    random = torch.Generator().manual_seed(number)
    masks = [(torch.rand(shape, generator=random) > 0.7).double() for _ in shares]
    noise = torch.randn(shape, generator=random, dtype=torch.float64)
    image = (masks[0] + noise)[:, :1]
    return Batch(image, tuple((share, Target(mask, TWO, {})) for share, mask in zip(shares, masks, strict=True)))


def weights(greedy):
    return torch.cat([value.flatten().clone() for value in greedy.network.state_dict().values()])


def assert_as_obvious(batches, *args, **kwargs):
    """The same scores, choices and networks as by trying, restoring and doing it again."""
    greedy, other = greedy_of(*args, **kwargs), greedy_of(*args, **kwargs)
    for batch in batches:
        candidates = greedy.candidates()
        trials = greedy.trials(batch, candidates)
        assert trials.scores == pytest.approx(obvious_trials(other, batch, candidates), rel=1e-9)
        greedy.take(trials)
        obvious_step(other, batch)
        assert greedy.values == other.values
        torch.testing.assert_close(weights(greedy), weights(other), rtol=1e-7, atol=1e-9)
