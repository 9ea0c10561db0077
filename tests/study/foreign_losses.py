"""Losses of other packages, each wrong in its own way."""

import os
import signal
import sys

import torch
from torch import nn


class Raises(nn.Module):
    def forward(self, logits, target):
        raise KeyError("no such channel\nin this target")


class Exits(nn.Module):
    def forward(self, logits, target):
        sys.exit(3)


class ReturnsVolume(nn.Module):
    def forward(self, logits, target):
        return (logits - target) ** 2


class ReturnsFloat(nn.Module):
    def forward(self, logits, target):
        return 0.5


class Detached(nn.Module):
    def forward(self, logits, target):
        return (logits - target).detach().square().mean()


class Speaks(nn.Module):
    """Fails with a sentence about memory, and is not out of it."""

    def forward(self, logits, target):
        raise RuntimeError("the memory of past batches is empty")


class TooMuch(nn.Module):
    """What PyTorch's allocator raises on a CPU."""

    def forward(self, logits, target):
        return torch.empty(2**60).sum()


class SteepGradient(nn.Module):
    """A finite loss whose gradient is not."""

    def forward(self, logits, target):
        return (logits - logits).abs().sqrt().sum()


class Learns(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, logits, target):
        return self.weight * (logits.sigmoid() - target).square().mean()


class CannotBeMade(nn.Module):
    def __init__(self):
        raise OSError("no licence")


class CalledBack(nn.Module):
    """After the first epoch the cluster wants the machine back."""

    calls = 0

    def forward(self, logits, target):
        CalledBack.calls += 1
        if CalledBack.calls == 5:  # of two steps an epoch, each of which may mix two targets
            os.kill(os.getpid(), signal.SIGUSR2)
        return (logits.sigmoid() - target).square().mean()
