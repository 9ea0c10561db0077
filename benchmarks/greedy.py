"""Greedy search beside the obvious way and a plain step, on real volumes, in one process.

Run it on a quiet machine: .venv/bin/python benchmarks/greedy.py DATA [--steps 200]
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import torch
from lightning_fabric import Fabric

from machine import describe, write
from spineloss import network
from spineloss.data import dataset
from spineloss.data.batches import Augment, Batch, training_batches
from spineloss.data.cache import Cache
from spineloss.losses import parse
from spineloss.training.greedy import Greedy, Search, Values
from spineloss.training.steps import Plain, Step

GRID, WIDTH, BATCH, SEED = (16, 64, 64), 8, 2, 21
AUGMENT = Augment(affine=0.3, noise=0.2, mixup=1.0, mixup_alpha=0.2)  # of the lumbar preset


def obvious_trials(greedy: Greedy, batch: Batch, candidates: Sequence[Values]) -> list[float]:
    """Each candidate's score by a step of the network itself, which is then restored, and its optimiser."""
    model, optimiser = greedy.network, greedy.plain.optimiser.optimizer
    before = copy.deepcopy((model.state_dict(), optimiser.state_dict()))
    scored = greedy.held_out or batch
    scores = []
    for values in candidates:
        replace(greedy.plain, loss=greedy.plain.loss.tuned(values))(batch)
        with torch.no_grad():
            prediction = greedy.plain.network(scored.image).sigmoid()
        squares = sum(share * (prediction - target.mask).double().square().mean() for share, target in scored.targets)
        scores.append(math.sqrt(squares))
        model.load_state_dict(before[0])
        # A state that was loaded shares its tensors: without a copy the next trial would go on from this one.
        optimiser.load_state_dict(copy.deepcopy(before[1]))
    return scores


def obvious_step(greedy: Greedy, batch: Batch) -> Step:
    """Try every candidate, then take the best one's step once more."""
    candidates = greedy.candidates()
    scores = obvious_trials(greedy, batch, candidates)
    greedy.values = candidates[scores.index(min(scores))]
    greedy.done += 1
    seen = replace(greedy.plain, loss=greedy.plain.loss.tuned(greedy.values))(batch).loss
    return Step(seen, dict(greedy.values))
