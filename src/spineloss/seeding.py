"""Every random draw is a function of a key such as (seed, fold, epoch, case), never of what ran before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int | str) -> int:
    """A 63-bit seed for a key of integers and texts.

    >>> seed_of(21, 0, "case-1") == seed_of(21, 0, "case-1")
    True
    >>> seed_of(1, 23) == seed_of(12, 3)
    False
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*key: int | str) -> np.random.Generator:
    """A NumPy generator of its own for a key; see `seed_of`."""
    return np.random.default_rng(seed_of(*key))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What PyTorch makes within is drawn on the CPU from a seed; the streams of who calls go on as before."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # torch.manual_seed would seed the generators of every GPU, too, which nobody sets back.
        torch.default_generator.manual_seed(seed)
        yield
