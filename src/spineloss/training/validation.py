"""Metrics of a network on validation cases, in float32, one row per case and structure."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from spineloss.data.dataset import Sample
from spineloss.data.labelling import Labelling
from spineloss.data.preprocessing import Grid, resize_image
from spineloss.metrics import evaluate
from spineloss.training.inference import infer
from spineloss.training.steps import LossNotFinite


@dataclass(frozen=True)
class Example:
    """A case as it was scored: (structures, Z, Y, X) booleans of prediction and target, (z, y, x) spacing."""

    sample: Sample
    prediction: torch.Tensor
    target: torch.Tensor
    spacing: tuple[float, float, float]

    @property
    def slice(self) -> int:
        """The target's widest slice."""
        return widest_slice(self.target)

    @property
    def picture(self) -> torch.Tensor:
        """The prediction in that slice: (structures, Y, X) booleans."""
        return self.prediction[:, self.slice].clone()

    def image(self) -> torch.Tensor:
        """The image as the network saw it, on the target's grid: (Z, Y, X)."""
        return resize_image(self.sample.image, tuple(self.target.shape[1:]))[0]


@dataclass(frozen=True)
class Validation:
    """What the metrics are, the first case to look at, and the seconds of the network's forward passes.

    Args:
        rows: case, label and metrics.
        example: the first case.
        forward_seconds: seconds.
    """

    rows: list[dict[str, str | float]]
    example: Example
    forward_seconds: float


def widest_slice(target: torch.Tensor) -> int:
    """The slice of (C, Z, Y, X) masks that holds most of them."""
    return int(target.sum(dim=(0, 2, 3)).argmax())


def validate(
    network: nn.Module,
    samples: Sequence[Sample],
    labelling: Labelling,
    *,
    grid: str,
    tolerance: float,
    device: torch.device,
    patch: Grid | None = None,
) -> Validation:
    """Score each case alone, so that no score depends on its neighbours.

    Args:
        network: from (1, 1, Z, Y, X) images to (1, outputs, Z, Y, X) logits.
        samples: the validation cases.
        labelling: what targets and outputs mean.
        grid: `case` to bring the probabilities to the case's own voxels, `network` to stay, as the thesis did.
        tolerance: of the normalised surface Dice, mm.
        device: the network's.
        patch: what the network sees at once, if not the whole case; see `infer`.

    Raises:
        LossNotFinite: the network's output is NaN or infinite.
    """
    rows: list[dict[str, str | float]] = []
    examples: list[Example] = []
    forward = 0.0
    network.eval()
    for sample in samples:
        start = time.perf_counter()
        probabilities = infer(network, sample.image, labelling, patch, device)
        forward += time.perf_counter() - start
        if not probabilities.isfinite().all():
            raise LossNotFinite(f"the network's output for {sample.case} became nan")
        target, spacing = sample.target, sample.spacing
        if grid == "case":
            target, spacing = sample.own_target(), sample.own_spacing()
            probabilities = resize_image(probabilities, tuple(target.shape[1:]))
        predictions, truths = labelling.decide(probabilities), labelling.masks(target)
        counted = labelling.counted(target)
        annotated = None if counted is None else counted[0].numpy()
        if not examples:
            seen = predictions if counted is None else predictions & counted
            examples.append(Example(sample, seen, truths, spacing))
        of_structures = labelling.of_structures(probabilities).clamp(0, 1)  # interpolation may round beyond
        for label, *volumes in zip(labelling.names, predictions, truths, of_structures, strict=True):
            prediction, truth, probability = (volume.numpy() for volume in volumes)
            scores = evaluate(
                prediction, truth, spacing, tolerance=tolerance, mask=annotated, probabilities=probability
            )
            rows.append({"case": sample.case, "label": label, **scores})
    network.train()
    return Validation(rows, examples[0], forward)
