"""Slices as pictures: the image, the truth's outline, and what a prediction found, added and missed."""

import base64
import io

import numpy as np
from PIL import Image

# Okabe and Ito's colours, which the colour-blind tell apart.
FOUND, ADDED, MISSED, OUTLINE = (86, 180, 233), (213, 94, 0), (240, 228, 66), (255, 255, 255)
OPACITY = 0.6
MARGIN = 0.35  # of the truth's size, around it


def overlay(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, spacing: tuple[float, float], height: int
) -> Image.Image:
    """A picture of a prediction on its image.

    Args:
        image: (Y, X) intensities.
        truth: (Y, X) booleans.
        prediction: (Y, X) booleans.
        spacing: (y, x) mm: pixels come out square.
        height: of the picture, in pixels.
    """
    box = _around(truth)
    image, truth, prediction = image[box], truth[box], prediction[box]
    grey = np.repeat(_grey(image)[..., None], 3, axis=-1)
    for where, colour in (
        (truth & prediction, FOUND),
        (prediction & ~truth, ADDED),
        (truth & ~prediction, MISSED),
    ):
        grey[where] = (1 - OPACITY) * grey[where] + OPACITY * np.array(colour)
    size = _size(image.shape, spacing, height)
    picture = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return _outlined(picture, truth)


def plain(image: np.ndarray, spacing: tuple[float, float], height: int) -> Image.Image:
    """An image alone."""
    picture = Image.fromarray(_grey(image).astype(np.uint8))
    return picture.resize(_size(image.shape, spacing, height), Image.Resampling.BILINEAR)


def _around(mask: np.ndarray) -> tuple[slice, slice]:
    box = []
    for axis in (0, 1):
        present = np.flatnonzero(mask.any(axis=1 - axis))
        if not len(present):
            return slice(None), slice(None)
        margin = max(4, round(MARGIN * (present[-1] - present[0] + 1)))
        box.append(slice(max(0, present[0] - margin), present[-1] + margin + 1))
    return box[0], box[1]


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [0.5, 99.5])
    return 255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)


def _size(shape: tuple[int, ...], spacing: tuple[float, float], height: int) -> tuple[int, int]:
    return max(1, round(height * shape[1] * spacing[1] / (shape[0] * spacing[0]))), height


def _outlined(picture: Image.Image, truth: np.ndarray) -> Image.Image:
    """A line a pixel wide around the truth, as sharp as the picture."""
    large = np.array(Image.fromarray(truth).resize(picture.size, Image.Resampling.NEAREST))
    padded = np.pad(large, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    pixels = np.array(picture)
    pixels[large & ~inner] = OUTLINE
    return Image.fromarray(pixels)


def uri(picture: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)  # a third smaller than PNG
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
