"""Metrics of a network on validation cases, in float32, one row a case and target channel."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from spineloss.data.dataset import Sample
from spineloss.data.preprocessing import resize_image
from spineloss.metrics import evaluate


@dataclass(frozen=True)
class Validation:
    """Rows of case, label and metrics, and the seconds that the network's forward passes took."""

    rows: list[dict[str, str | float]]
    forward_seconds: float


def validate(
    network: nn.Module,
    samples: Sequence[Sample],
    channels: Sequence[str],
    *,
    grid: str,
    tolerance: float,
    device: torch.device,
) -> Validation:
    """Score each case alone, so that no score depends on its neighbours.

    Args:
        network: from (1, 1, *grid) images to (1, C, *grid) logits.
        samples: the validation cases.
        channels: label names, one a target channel.
        grid: `case` to bring the probabilities to the case's own voxels, `network` to stay, as the seed did.
        tolerance: of the normalised surface Dice, mm.
        device: the network's.
    """
    rows: list[dict[str, str | float]] = []
    forward = 0.0
    network.eval()
    for sample in samples:
        start = time.perf_counter()
        with torch.no_grad():
            probabilities = network(sample.image[None].to(device))[0].float().sigmoid().cpu()
        forward += time.perf_counter() - start
        target, spacing = sample.target, sample.spacing
        if grid == "case":
            target, spacing = sample.own_target(), sample.own_spacing()
            probabilities = resize_image(probabilities, tuple(target.shape[1:]))
        for label, prediction, truth in zip(channels, probabilities > 0.5, target.bool(), strict=True):
            scores = evaluate(prediction.numpy(), truth.numpy(), spacing, tolerance=tolerance)
            rows.append({"case": sample.case, "label": label, **scores})
    network.train()
    return Validation(rows, forward)
