"""Random changes of an image's values: what is drawn is apart from what is done with it.

Ranges are those of nnU-Net's default augmentation but for the noise, which is the thesis's (Sec. 6.4). NumPy
does it, because PyTorch's sums and powers depend in the last digit on the number of threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from spineloss.data.deformation import is_thin

NOISE = 0.25  # largest standard deviation, for images of standard deviation 1
BLUR = (0.5, 1.0)  # standard deviation of the Gaussian along each axis, voxels
BRIGHTNESS = (0.75, 1.25)
CONTRAST = (0.75, 1.25)
RESOLUTION = (0.5, 1.0)
GAMMA = (0.7, 1.5)
LEAST_RANGE = 1e-7  # of values; below it a channel is constant


@dataclass(frozen=True)
class Noise:
    """Additive Gaussian noise of a standard deviation, from a seed."""

    std: float
    seed: int


def draw_noise(random: np.random.Generator, probability: float, largest: float = NOISE) -> Noise | None:
    """Noise parameters, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    return Noise(random.uniform(0, largest), int(random.integers(2**31)))


def noisy(image: np.ndarray, noise: Noise) -> np.ndarray:
    """A (K, Z, Y, X) image with noise added."""
    stream = torch.Generator().manual_seed(noise.seed)
    # Drawn along TorchIO's axes, (K, X, Y, Z), by which the first studies were augmented.
    drawn = torch.randn(image.transpose(0, 3, 2, 1).shape, generator=stream).numpy() * np.float32(noise.std)
    changed = image.copy()
    for row in range(image.shape[2]):  # one turned at a time fits the cache: a third of the time
        changed[:, :, row] += drawn[:, :, row].transpose(0, 2, 1)
    return changed


def blurred(channel: np.ndarray, deviations: Sequence[float]) -> np.ndarray:
    """Convolved with a Gaussian of standard deviations in voxels, (z, y, x)."""
    return gaussian_filter(channel, deviations)


def brightened(channel: np.ndarray, factor: float) -> np.ndarray:
    """Times a factor."""
    return channel * np.float32(factor)


def contrasted(channel: np.ndarray, factor: float) -> np.ndarray:
    """Differences from the mean times a factor, within the range that was there."""
    mean = channel.mean()
    return ((channel - mean) * np.float32(factor) + mean).clip(channel.min(), channel.max())


def coarsened(channel: np.ndarray, share: float) -> np.ndarray:
    """Sampled at a share of its voxels along each axis (of a thin grid, within its slices), and brought back."""
    shares = (1.0 if is_thin(channel.shape) else share, share, share)
    size = [max(1, round(n * part)) for n, part in zip(channel.shape, shares, strict=True)]
    coarse = interpolate(torch.from_numpy(channel)[None, None], size, mode="nearest-exact")
    return interpolate(coarse, channel.shape, mode="trilinear")[0, 0].numpy()


def gamma_changed(channel: np.ndarray, gamma: float) -> np.ndarray:
    """Values, brought to 0 ... 1, to the power of gamma; mean and standard deviation stay."""
    least, extent = channel.min(), np.ptp(channel)
    if extent < LEAST_RANGE:
        return channel
    changed = ((channel - least) / extent) ** np.float32(gamma)
    return (changed - changed.mean()) * (channel.std() / changed.std()) + channel.mean()


def inversely_gamma_changed(channel: np.ndarray, gamma: float) -> np.ndarray:
    """The same of the inverted image, inverted back: gamma works on the other end of the values."""
    return -gamma_changed(-channel, gamma)


def _around_one(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Draws below 1 as often as above."""
    return lambda random: random.uniform(low, 1) if random.random() < 0.5 else random.uniform(1, high)


# Of a (Z, Y, X) channel, in the order of nnU-Net's list: what is drawn, and what is done with it.
CHANGES: dict[str, tuple[Callable[[np.random.Generator], Any], Callable[[np.ndarray, Any], np.ndarray]]] = {
    "blur": (lambda random: random.uniform(*BLUR, 3), blurred),
    "brightness": (_around_one(*BRIGHTNESS), brightened),
    "contrast": (_around_one(*CONTRAST), contrasted),
    "low_resolution": (lambda random: random.uniform(*RESOLUTION), coarsened),
    "inverted_gamma": (_around_one(*GAMMA), inversely_gamma_changed),
    "gamma": (_around_one(*GAMMA), gamma_changed),
}
