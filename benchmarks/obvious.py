"""Greedy search the obvious way: every trial steps the network itself, which is then restored."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from spineloss.data.batches import BatchPair
from spineloss.training.greedy import Greedy, Values


def obvious_trials(greedy: Greedy, pair: BatchPair, candidates: Sequence[Values]) -> list[float]:
    """Each candidate's score by a step of the network itself, which is then restored, and its optimiser."""
    model, optimiser = greedy.network, greedy.plain.optimiser
    before = copy.deepcopy((model.state_dict(), optimiser.state_dict()))
    scored, scores = greedy.scored(pair), []
    for values in candidates:
        replace(greedy.plain, loss=greedy.plain.loss.tuned(values))(pair.batch)
        with torch.no_grad():
            logits = greedy.plain.network(scored.image)
            prediction = logits.softmax(1) if greedy.plain.loss.activation == "softmax" else logits.sigmoid()
        squares = sum(
            share * (prediction - target.truth).double().square().mean() for share, target in scored.targets
        )
        scores.append(math.sqrt(squares))
        model.load_state_dict(before[0])
        # A state that was loaded shares its tensors: without a copy the next trial would go on from this one.
        optimiser.load_state_dict(copy.deepcopy(before[1]))
    return scores
