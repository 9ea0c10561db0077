"""Each loss by its formula, one voxel at a time in NumPy float64: slow, plain and independent of the library.

p and y are (N, C, *spatial). `exclusive` says that the classes are: p is a softmax, y one-hot.
"""

import numpy as np
from scipy import ndimage


def sigmoid(logits):
    return np.where(
        logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), np.exp(-np.abs(logits)) / (1 + np.exp(-np.abs(logits)))
    )


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def surprises(p, y, exclusive):
    """The cross-entropy of each voxel: of each channel, or of the label among exclusive classes."""
    if exclusive:
        at_label = [a for a, b in zip(p.flat, y.flat, strict=True) if b == 1]
        return [-np.log(a) for a in at_label]
    return [-(b * np.log(a) + (1 - b) * np.log(1 - a)) for a, b in zip(p.flat, y.flat, strict=True)]


def cross_entropy(p, y, exclusive=False, spacing=None):
    return np.mean(surprises(p, y, exclusive))


def focal(p, y, exclusive=False, spacing=None, alpha=0.25, gamma=1.45):
    return np.mean([alpha * (1 - np.exp(-c)) ** gamma * c for c in surprises(p, y, exclusive)])


def tversky_index(p, y, a, b):
    tp = sum(u * v for u, v in zip(p.flat, y.flat, strict=True))
    fp = sum(u * (1 - v) for u, v in zip(p.flat, y.flat, strict=True))
    fn = sum((1 - u) * v for u, v in zip(p.flat, y.flat, strict=True))
    return tp / (tp + a * fp + b * fn)


def per_class(function, p, y):
    return np.mean([[function(u, v) for u, v in zip(q, z, strict=True)] for q, z in zip(p, y, strict=True)])


def region(point):
    """1 - T at the point (a, b) that the parameters are."""

    def loss(p, y, exclusive=False, spacing=None, **parameters):
        return per_class(lambda u, v: 1 - tversky_index(u, v, *point(**parameters)), p, y)

    return loss


def tversky_focal(p, y, exclusive=False, spacing=None, alpha=0.7, beta=0.3, gamma=4 / 3):
    return per_class(lambda u, v: (1 - tversky_index(u, v, alpha, beta)) ** (1 / gamma), p, y)


def signed_map(mask, spacing):
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    outside, inside = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (~mask, mask))
    return outside - inside


def boundary(p, y, exclusive=False, spacing=None):
    return per_class(lambda u, v: np.mean(u * signed_map(v > 0.5, spacing)), p, y)


def hausdorff(p, y, exclusive=False, spacing=None, alpha=2.0):
    def one(u, v):
        predicted, true = (np.abs(signed_map(each > 0.5, spacing)) ** alpha for each in (u, v))
        return np.mean((u - v) ** 2 * (predicted + true))

    return per_class(one, p, y)


dice = region(lambda: (0.5, 0.5))


def dice_cross_entropy(p, y, exclusive=False, spacing=None, alpha=0.5, beta=0.5):
    return alpha * dice(p, y) + beta * cross_entropy(p, y, exclusive)


def dice_focal(p, y, exclusive=False, spacing=None, alpha=0.5, beta=0.5, gamma=5 / 3):
    return alpha * dice(p, y) + beta * focal(p, y, exclusive, alpha=1, gamma=gamma)


def squared_dice(p, y, exclusive=False, spacing=None):
    return per_class(lambda u, v: 1 - 2 * np.sum(u * v) / (np.sum(u**2) + np.sum(v**2)), p, y)


def log_cosh_dice(p, y, exclusive=False, spacing=None):
    return per_class(lambda u, v: np.log(np.cosh(1 - tversky_index(u, v, 0.5, 0.5))), p, y)


def matthews(p, y, exclusive=False, spacing=None):
    def one(u, v):
        # The correlation coefficient of a soft prediction whose variance is that of a coin of its mean.
        covariance = np.mean(u * v) - np.mean(u) * np.mean(v)
        return 1 - covariance / np.sqrt(np.mean(u) * (1 - np.mean(u)) * np.mean(v) * (1 - np.mean(v)))

    return per_class(one, p, y)


def poly1(p, y, exclusive=False, spacing=None, epsilon=1.0):
    return np.mean([c + epsilon * (1 - np.exp(-c)) for c in surprises(p, y, exclusive)])


REFERENCE = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "iou": region(lambda: (1, 1)),
    "tversky": region(lambda alpha=0.7, beta=0.3: (alpha, beta)),
    "asymmetric": region(lambda beta=1.52: (1 / (1 + beta**2), beta**2 / (1 + beta**2))),
    "effectiveness": region(
        lambda alpha=1, beta=1, gamma=1: (alpha / (1 + gamma**2), beta * gamma**2 / (1 + gamma**2))
    ),
    "boundary": boundary,
    "hausdorff": hausdorff,
    "tversky_focal": tversky_focal,
    "dice_cross_entropy": dice_cross_entropy,
    "dice_focal": dice_focal,
    "squared_dice": squared_dice,
    "log_cosh_dice": log_cosh_dice,
    "matthews": matthews,
    "poly1": poly1,
    "brier": lambda p, y, exclusive=False, spacing=None: np.mean((p - y) ** 2),
    "l1": lambda p, y, exclusive=False, spacing=None: np.mean(np.abs(p - y)),
}
