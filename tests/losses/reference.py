"""Each loss by its formula, one voxel at a time in NumPy float64: slow, plain and independent of the library."""

import numpy as np
from scipy import ndimage


def sigmoid(logits):
    return np.where(
        logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), np.exp(-np.abs(logits)) / (1 + np.exp(-np.abs(logits)))
    )


def cross_entropy(p, y):
    return np.mean([-(b * np.log(a) + (1 - b) * np.log(1 - a)) for a, b in zip(p.flat, y.flat, strict=True)])


def focal(p, y, alpha=0.25, gamma=1.45):
    total = 0.0
    for a, b in zip(p.flat, y.flat, strict=True):
        c = -(b * np.log(a) + (1 - b) * np.log(1 - a))
        total += alpha * (1 - np.exp(-c)) ** gamma * c
    return total / p.size


def tversky_index(p, y, a, b):
    tp = sum(u * v for u, v in zip(p.flat, y.flat, strict=True))
    fp = sum(u * (1 - v) for u, v in zip(p.flat, y.flat, strict=True))
    fn = sum((1 - u) * v for u, v in zip(p.flat, y.flat, strict=True))
    return tp / (tp + a * fp + b * fn)


def per_channel(function, p, y, **parameters):
    return np.mean(
        [[function(u, v, **parameters) for u, v in zip(q, z, strict=True)] for q, z in zip(p, y, strict=True)]
    )


def region(a, b):
    return lambda p, y: per_channel(lambda u, v: 1 - tversky_index(u, v, a, b), p, y)


def tversky_focal(p, y):
    return per_channel(lambda u, v: (1 - tversky_index(u, v, 0.7, 0.3)) ** (3 / 4), p, y)


def signed_map(mask):
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    return ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)


def boundary(p, y):
    return per_channel(lambda u, v: np.mean(u * signed_map(v > 0.5)), p, y)


def hausdorff(p, y):
    def one(u, v):
        return np.mean((u - v) ** 2 * (signed_map(u > 0.5) ** 2 + signed_map(v > 0.5) ** 2))

    return per_channel(one, p, y)


ASYMMETRIC = 1.52**2
DICE = region(0.5, 0.5)

REFERENCE = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": DICE,
    "iou": region(1, 1),
    "tversky": region(0.7, 0.3),
    "asymmetric": region(1 / (1 + ASYMMETRIC), ASYMMETRIC / (1 + ASYMMETRIC)),
    "effectiveness": region(0.5, 0.5),
    "boundary": boundary,
    "hausdorff": hausdorff,
    "tversky_focal": tversky_focal,
    "dice_cross_entropy": lambda p, y: 0.5 * DICE(p, y) + 0.5 * cross_entropy(p, y),
    "dice_focal": lambda p, y: 0.5 * DICE(p, y) + 0.5 * focal(p, y, alpha=1, gamma=5 / 3),
}
