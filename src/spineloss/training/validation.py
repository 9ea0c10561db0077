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
    """What the metrics are, what the first case looked like, and the seconds of the network's forward passes.

    Args:
        rows: case, label and metrics.
        picture: (C, Y, X) bool, the prediction for the first case in its `widest_slice`.
        forward_seconds: seconds.
    """

    rows: list[dict[str, str | float]]
    picture: torch.Tensor
    forward_seconds: float


def widest_slice(target: torch.Tensor) -> int:
    """The slice of a (C, Z, Y, X) target that holds most of it."""
    return int(target.sum(dim=(0, 2, 3)).argmax())


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
    pictures: list[torch.Tensor] = []
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
        predictions = probabilities > 0.5
        if not pictures:
            pictures.append(predictions[:, widest_slice(target)].clone())
        for label, prediction, truth in zip(channels, predictions, target.bool(), strict=True):
            scores = evaluate(prediction.numpy(), truth.numpy(), spacing, tolerance=tolerance)
            rows.append({"case": sample.case, "label": label, **scores})
    network.train()
    return Validation(rows, pictures[0], forward)
