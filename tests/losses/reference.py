"""Each loss by its formula, one voxel at a time in NumPy float64: slow, plain and independent of the library.

p and y are (N, C, *spatial). `exclusive` says that the classes are: p is a softmax, y one-hot.
"""

import numpy as np
import torch
from scipy import ndimage

from spineloss.kernels.skeletons import tubed_skeletons


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


def generalised_dice(p, y, exclusive=False, spacing=None):
    def one(q, z):
        weights = [1 / v.sum() ** 2 for v in z]
        shared = sum(w * (u * v).sum() for w, u, v in zip(weights, q, z, strict=True))
        return 1 - 2 * shared / sum(w * (u + v).sum() for w, u, v in zip(weights, q, z, strict=True))

    return np.mean([one(q, z) for q, z in zip(p, y, strict=True)])


def sensitivity_specificity(p, y, exclusive=False, spacing=None, ratio=0.05):
    def one(u, v):
        foreground, background = (u[v == 1] - 1) ** 2, u[v == 0] ** 2
        return ratio * foreground.mean() + (1 - ratio) * background.mean()

    return per_class(one, p, y)


def dice_plus_plus(p, y, exclusive=False, spacing=None, gamma=2.0):
    def one(u, v):
        false, missed = ((u * (1 - v)) ** gamma).sum(), (((1 - u) * v) ** gamma).sum()
        return 1 - 2 * (u * v).sum() / (2 * (u * v).sum() + false + missed)

    return per_class(one, p, y)


def noise_robust_dice(p, y, exclusive=False, spacing=None, gamma=1.5):
    return per_class(lambda u, v: (np.abs(u - v) ** gamma).sum() / ((u**2).sum() + (v**2).sum()), p, y)


def boundary_dou(p, y, exclusive=False, spacing=None):
    def one(u, v):
        inside = ndimage.binary_erosion(v, ndimage.generate_binary_structure(v.ndim, 1))
        alpha = min(1 - 2 * (v.sum() - inside.sum()) / v.sum(), 0.8)
        both = (u**2).sum() + (v**2).sum()
        return (both - 2 * (u * v).sum()) / (both - (1 + alpha) * (u * v).sum())

    return per_class(one, p, y)


def generalised_cross_entropy(p, y, exclusive=False, spacing=None, q=0.7):
    return np.mean([(1 - np.exp(-c) ** q) / q for c in surprises(p, y, exclusive)])


def smoothed_cross_entropy(p, y, exclusive=False, spacing=None, smoothing=0.1):
    if exclusive:
        smooth = (1 - smoothing) * y + smoothing / p.shape[1]
        return -(smooth * np.log(p)).sum(1).mean()
    return cross_entropy(p, (1 - smoothing) * y + smoothing / 2)


def asymmetric_focal(p, y, exclusive=False, spacing=None, delta=0.7, gamma=2.0):
    if exclusive:
        background = -y[:, :1] * (1 - p[:, :1]) ** gamma * np.log(p[:, :1])
        return ((1 - delta) * background.sum(1) - delta * (y[:, 1:] * np.log(p[:, 1:])).sum(1)).mean()
    background = -(1 - y) * p**gamma * np.log(1 - p)
    return np.mean((1 - delta) * background - delta * y * np.log(p))


def unified_focal(p, y, exclusive=False, spacing=None, delta=0.6, gamma=0.5, weight=0.5):
    def background(u, v):
        return 1 - tversky_index(u, v, 1 - delta, delta)

    def foreground(u, v):
        return background(u, v) ** (1 - gamma)

    if exclusive:
        overlap = [[background(q[0], z[0]), *map(foreground, q[1:], z[1:])] for q, z in zip(p, y, strict=True)]
    else:
        overlap = [per_class(background, 1 - p, 1 - y), per_class(foreground, p, y)]
    voxels = asymmetric_focal(p, y, exclusive, delta=delta, gamma=gamma)
    return weight * voxels + (1 - weight) * np.mean(overlap)


def exponential_logarithmic(
    p, y, exclusive=False, spacing=None, alpha=0.8, beta=0.2, gamma_dice=0.3, gamma_entropy=0.3
):
    overlap = per_class(lambda u, v: (-np.log(tversky_index(u, v, 0.5, 0.5))) ** gamma_dice, p, y)
    return alpha * overlap + beta * np.mean([c**gamma_entropy for c in surprises(p, y, exclusive)])


def top_k(p, y, exclusive=False, spacing=None, k=10.0):
    def hardest(costs):
        return np.mean(sorted(costs)[-max(1, int(len(costs) * k / 100)) :])

    if exclusive:
        return np.mean([hardest(surprises(q[None], z[None], True)) for q, z in zip(p, y, strict=True)])
    return per_class(lambda u, v: hardest(surprises(u, v, False)), p, y)


def lovasz_extension(errors, truth):
    """By its definition: the loss of a set of wrong voxels, interpolated over the sets of the largest errors."""

    def loss_of_wrong(wrong):
        predicted = np.where(wrong, 1 - truth, truth)
        return 1 - (predicted * truth).sum() / np.maximum(predicted, truth).sum()

    errors, truth = errors.ravel(), truth.ravel()
    order = np.argsort(-errors)
    total = 0.0
    for place, voxel in enumerate(order):
        wrong = np.zeros(len(errors), bool)
        wrong[order[:place]] = True
        before = loss_of_wrong(wrong)
        wrong[voxel] = True
        total += errors[voxel] * (loss_of_wrong(wrong) - before)
    return total


def lovasz(p, y, exclusive=False, spacing=None):
    return per_class(lambda u, v: lovasz_extension(np.abs(u - v), v), p, y)


def lovasz_hinge(p, y, exclusive=False, spacing=None):
    odds = np.log(p) - np.log(1 - p)
    return per_class(lambda x, v: lovasz_extension(np.maximum(0, 1 - x * (2 * v - 1)), v), odds, y)


def generalised_surface(p, y, exclusive=False, spacing=None):
    def one(u, v):
        distances = signed_map(v > 0.5, spacing)
        return 1 - np.sum((distances * (1 - u - v)) ** 2) / np.sum(distances**2)

    return per_class(one, p, y)


def skeleton_recall(p, y, exclusive=False, spacing=None):
    # The skeleton itself is tested apart, by its topology.
    tubes = tubed_skeletons(torch.from_numpy(y > 0.5)).numpy()
    tubes[:, : int(exclusive)] = 0  # no background
    return per_class(lambda u, v: 1 - np.sum(u * v) / np.sum(v) if v.any() else 0, p, tubes)


def calibration_error(p, y, exclusive=False, spacing=None):
    def one(u, v):
        number = np.digitize(u.ravel(), np.linspace(0, 1, 21)[1:-1])
        held = [number == b for b in range(20) if (number == b).any()]
        return np.mean([abs(u.ravel()[b].mean() - v.ravel()[b].mean()) for b in held])

    return per_class(one, p, y)


def signed_distance(p, y, exclusive=False, spacing=None):
    def one(u, v):
        inside, found = v > 0.5, 1 - 2 * u
        distances = signed_map(inside, spacing)
        true = np.where(inside, distances / -distances.min(), distances / distances.max())
        product = -(true * found) / (true * found + true**2 + found**2)
        return np.mean(np.abs(found - true)) + np.mean(product) + 1 / 3

    return per_class(one, p, y)


def dice_signed_distance(p, y, exclusive=False, spacing=None, weight=10.0):
    return dice(sigmoid(-1500 * (1 - 2 * p)), y) + weight * signed_distance(p, y, exclusive, spacing)


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
    "generalised_surface": generalised_surface,
    "skeleton_recall": skeleton_recall,
    "calibration_error": calibration_error,
    "signed_distance": signed_distance,
    "dice_signed_distance": dice_signed_distance,
    "brier": lambda p, y, exclusive=False, spacing=None: np.mean((p - y) ** 2),
    "l1": lambda p, y, exclusive=False, spacing=None: np.mean(np.abs(p - y)),
    "generalised_dice": generalised_dice,
    "sensitivity_specificity": sensitivity_specificity,
    "dice_plus_plus": dice_plus_plus,
    "noise_robust_dice": noise_robust_dice,
    "boundary_dou": boundary_dou,
    "generalised_cross_entropy": generalised_cross_entropy,
    "smoothed_cross_entropy": smoothed_cross_entropy,
    "asymmetric_focal": asymmetric_focal,
    "unified_focal": unified_focal,
    "exponential_logarithmic": exponential_logarithmic,
    "top_k": top_k,
    "lovasz": lovasz,
    "lovasz_hinge": lovasz_hinge,
    "dice_top_k": lambda p, y, exclusive=False, spacing=None, alpha=0.5, beta=0.5, k=10.0: (
        alpha * dice(p, y) + beta * top_k(p, y, exclusive, k=k)
    ),
}
