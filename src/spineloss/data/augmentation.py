"""Random affine, noise and MixUp (the thesis's Sec. 6.4): drawing parameters is apart from applying them."""

from dataclasses import dataclass

import numpy as np
import torch
import torchio

SCALING = 0.1  # scale factors in 1 +- this
ROTATION = 10.0  # degrees about each axis
TRANSLATION = 0.05  # of the volume's extent along each axis
NOISE = 0.25  # largest standard deviation, for images of standard deviation 1


@dataclass(frozen=True)
class Affine:
    """Scale factors, rotations in degrees and translations as a share of the extent, each (z, y, x)."""

    scales: tuple[float, float, float]
    degrees: tuple[float, float, float]
    translation: tuple[float, float, float]


@dataclass(frozen=True)
class Noise:
    """Additive Gaussian noise of a standard deviation, from a seed."""

    std: float
    seed: int


def draw_affine(random: np.random.Generator, probability: float) -> Affine | None:
    """Affine parameters, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    return Affine(
        tuple(random.uniform(1 - SCALING, 1 + SCALING, 3)),
        tuple(random.uniform(-ROTATION, ROTATION, 3)),
        tuple(random.uniform(-TRANSLATION, TRANSLATION, 3)),
    )


def draw_noise(random: np.random.Generator, probability: float) -> Noise | None:
    """Noise parameters, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    return Noise(random.uniform(0, NOISE), int(random.integers(2**31)))


def apply(
    image: torch.Tensor,
    target: torch.Tensor,
    spacing: tuple[float, float, float],
    affine: Affine | None,
    noise: Noise | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The augmented image and target: both moved by `affine`, the image alone made noisy.

    Args:
        image: (1, Z, Y, X) float32.
        target: (C, Z, Y, X) uint8.
        spacing: (z, y, x) mm, so that rotations are rigid on anisotropic voxels.
        affine: drawn by `draw_affine`.
        noise: drawn by `draw_noise`.

    Returns:
        New tensors of the same shapes and types.
    """
    transforms: list[torchio.Transform] = []
    if affine is not None:
        extent = np.multiply(image.shape[1:], spacing)
        transforms.append(
            torchio.Affine(
                scales=affine.scales[::-1],
                degrees=affine.degrees[::-1],
                translation=tuple(np.multiply(affine.translation, extent))[::-1],
            )
        )
    if noise is not None:
        transforms.append(torchio.Noise(mean=0.0, std=noise.std, seed=noise.seed))
    if not transforms:
        return image, target
    # TorchIO's axes are (C, X, Y, Z).
    geometry = np.diag([*spacing[::-1], 1.0])
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=image.permute(0, 3, 2, 1), affine=geometry),
        target=torchio.LabelMap(tensor=target.permute(0, 3, 2, 1), affine=geometry),
    )
    moved = torchio.Compose(transforms)(subject)
    return (
        moved.image.data.permute(0, 3, 2, 1).contiguous().to(image.dtype),
        moved.target.data.permute(0, 3, 2, 1).contiguous().to(target.dtype),
    )


@dataclass(frozen=True)
class MixUp:
    """Each case's partner in the batch, and the share of the case itself (lambda)."""

    partner: tuple[int, ...]
    share: float


def draw_mixup(random: np.random.Generator, probability: float, alpha: float, size: int) -> MixUp | None:
    """A permutation of the batch and lambda ~ Beta(alpha, alpha), or none with probability 1 - `probability`.

    References:
        Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.
    """
    if random.random() >= probability:
        return None
    return MixUp(tuple(int(index) for index in random.permutation(size)), float(random.beta(alpha, alpha)))
