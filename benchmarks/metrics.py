"""The metrics of one pair of volumes: distances beside MedPy, MONAI and surface-distance, components beside SciPy.

Run it on a quiet machine: .venv/bin/python benchmarks/metrics.py
"""

import numpy as np
import torch
from medpy.metric import binary as medpy
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage
from surface_distance import metrics as surface_distance

from losses import SPACING, example
from machine import describe, medians, write
from spineloss.metrics import calibration, component_scores, surface_distances

ROUNDS = 15


def pair() -> tuple[np.ndarray, np.ndarray]:
    """The target of `losses.py`, and the same shifted by two voxels with a piece missing."""
    target = example()[1][0, 0].numpy() > 0
    prediction = np.roll(target, 2, axis=1)
    prediction[:, :40] = False
    return prediction, target


def main() -> None:
    prediction, target = pair()
    tensors = [torch.from_numpy(mask)[None, None] for mask in (prediction, target)]

    def deepmind() -> float:
        distances = surface_distance.compute_surface_distances(target, prediction, SPACING)
        return surface_distance.compute_robust_hausdorff(distances, 100)

    def scipy() -> np.ndarray:
        numbers, _ = ndimage.label(target, np.ones((3, 3, 3)))
        ndimage.label(prediction, np.ones((3, 3, 3)))
        where = ndimage.distance_transform_edt(numbers == 0, SPACING, return_distances=False, return_indices=True)
        return numbers[tuple(where)]

    probabilities = np.random.default_rng(0).random(target.shape, np.float32) ** 4
    contestants = {
        "spineloss, all four": lambda: surface_distances(prediction, target, SPACING, tolerance=2.0),
        "MONAI, Hausdorff": lambda: compute_hausdorff_distance(*tensors, spacing=SPACING),
        "MedPy, Hausdorff": lambda: medpy.hd(prediction, target, SPACING),
        "surface-distance, Hausdorff": deepmind,
        "spineloss, components": lambda: component_scores(prediction, target, SPACING),
        "SciPy, components and the nearest of each voxel": scipy,
        "spineloss, ACE and Brier": lambda: calibration(probabilities, target),
    }
    seconds = medians(contestants, ROUNDS)
    ours = seconds["spineloss, all four"]
    write(
        "metrics.md",
        [
            "# Metrics of a pair of (32, 224, 224) masks",
            "",
            f"Medians of interleaved calls. {describe('torch', 'monai', 'medpy', 'surface-distance')}",
            "spineloss finds Hausdorff, HD95, ASSD and surface Dice together, the others the first alone; and the",
            "Dice of components with their matched, missed and added ones.",
            "`.venv/bin/python benchmarks/metrics.py`",
            "",
            "| | ms | / ours |",
            "| --- | --- | --- |",
            *(f"| {name} | {1000 * value:.1f} | {value / ours:.1f} |" for name, value in seconds.items()),
            "",
            f"Hausdorff distance: spineloss {contestants['spineloss, all four']()['hausdorff']:.6f} mm, "
            f"MedPy {contestants['MedPy, Hausdorff']():.6f} mm, "
            f"MONAI {contestants['MONAI, Hausdorff']().item():.6f} mm.",
        ],
    )


if __name__ == "__main__":
    main()
