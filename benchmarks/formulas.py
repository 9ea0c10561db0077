"""Losses as one writes them in plain PyTorch from their papers: the peers of those that MONAI and nnU-Net lack.

Each is called with logits (N, C, *spatial) and a target: independent channels where C is 1, exclusive classes with
labels (N, 1, *spatial) otherwise.
"""

import torch
from torch.nn import functional


def both(logits, target):
    """Probabilities and volumes, (N, C, M)."""
    if logits.shape[1] == 1:
        return logits.sigmoid().flatten(2), target.flatten(2)
    volumes = torch.zeros_like(logits).scatter_(1, target, 1.0)
    return logits.softmax(1).flatten(2), volumes.flatten(2)


def costs(logits, target):
    """The cross-entropy of each voxel."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return functional.cross_entropy(logits, target[:, 0], reduction="none")


def sensitivity_specificity(logits, target, ratio=0.05):
    p, y = both(logits, target)
    error = (p - y) ** 2
    of_foreground = (error * y).sum(2) / (y.sum(2) + 1e-5)
    of_background = (error * (1 - y)).sum(2) / ((1 - y).sum(2) + 1e-5)
    return (ratio * of_foreground + (1 - ratio) * of_background).mean()


def dice_plus_plus(logits, target, gamma=3.0):
    p, y = both(logits, target)
    tp, fp, fn = (p * y).sum(2), ((p * (1 - y)) ** gamma).sum(2), (((1 - p) * y) ** gamma).sum(2)
    return (1 - 2 * tp / (2 * tp + fp + fn + 1e-5)).mean()


def noise_robust_dice(logits, target, gamma=1.5):
    p, y = both(logits, target)
    return ((p - y).abs().pow(gamma).sum(2) / ((p**2).sum(2) + (y**2).sum(2) + 1e-5)).mean()


def boundary_dou(logits, target):
    p, y = both(logits, target)
    shape = (-1, 1, *target.shape[2:])
    kernel = torch.zeros(1, 1, 3, 3, 3)
    kernel[0, 0, [1, 0, 2, 1, 1, 1, 1], [1, 1, 1, 0, 2, 1, 1], [1, 1, 1, 1, 1, 0, 2]] = 1
    inner = functional.conv3d(y.reshape(shape), kernel, padding=1).view_as(y) == 7
    alpha = (1 - 2 * ((y > 0) & ~inner).sum(2) / y.sum(2)).clamp(max=0.8)
    shared, squares = (p * y).sum(2), (p**2).sum(2) + (y**2).sum(2)
    return ((squares - 2 * shared) / (squares - (1 + alpha) * shared)).mean()


def generalised_cross_entropy(logits, target, q=0.7):
    return ((1 - torch.exp(-costs(logits, target)) ** q) / q).mean()


def smoothed_cross_entropy(logits, target, smoothing=0.1):
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits, (1 - smoothing) * target + smoothing / 2)
    return functional.cross_entropy(logits, target[:, 0], label_smoothing=smoothing)


def asymmetric_focal(logits, target, delta=0.7, gamma=2.0):
    p, y = both(logits, target)
    p = p.clamp(1e-7, 1 - 1e-7)
    if logits.shape[1] == 1:
        p, y = torch.cat([1 - p, p], 1), torch.cat([1 - y, y], 1)
    entropy = -y * p.log()
    background = (1 - delta) * (1 - p[:, :1]) ** gamma * entropy[:, :1]
    return torch.cat([background, delta * entropy[:, 1:]], 1).sum(1).mean()


def unified_focal(logits, target, delta=0.6, gamma=0.5):
    p, y = both(logits, target)
    if logits.shape[1] == 1:
        p, y = torch.cat([1 - p, p], 1), torch.cat([1 - y, y], 1)
    tp, fp, fn = (p * y).sum(2), (p * (1 - y)).sum(2), ((1 - p) * y).sum(2)
    index = (tp + 1e-7) / (tp + delta * fn + (1 - delta) * fp + 1e-7)
    tversky = torch.cat([1 - index[:, :1], (1 - index[:, 1:]) ** (1 - gamma)], 1).mean()
    return 0.5 * asymmetric_focal(logits, target, delta, gamma) + 0.5 * tversky


def exponential_logarithmic(logits, target, gamma=0.3):
    p, y = both(logits, target)
    dice = 2 * (p * y).sum(2) / (p.sum(2) + y.sum(2) + 1e-5)
    entropy = costs(logits, target).clamp(min=1e-7) ** gamma
    return 0.8 * ((-dice.log()) ** gamma).mean() + 0.2 * entropy.mean()


def top_k(logits, target, k=10):
    entropy = costs(logits, target).flatten()
    return entropy.topk(int(len(entropy) * k / 100), sorted=False).values.mean()


def _lovasz(errors, truth):
    errors, order = errors.sort(descending=True)
    sorted_truth = truth[order]
    intersection = sorted_truth.sum() - sorted_truth.cumsum(0)
    jaccard = 1 - intersection / (sorted_truth.sum() + (1 - sorted_truth).cumsum(0))
    return torch.dot(errors.relu(), jaccard.diff(prepend=jaccard.new_zeros(1)))


def lovasz(logits, target):
    p, y = (volumes.transpose(0, 1).flatten(1) for volumes in both(logits, target))
    return torch.stack([_lovasz((v - u).abs(), v) for u, v in zip(p, y, strict=True)]).mean()


def lovasz_hinge(logits, target):
    return _lovasz((1 - logits * (2 * target - 1)).flatten(), target.flatten())


def brier(logits, target):
    p, y = both(logits, target)
    return ((p - y) ** 2).mean()


def l1(logits, target):
    p, y = both(logits, target)
    return (p - y).abs().mean()


def dice_top_k(logits, target):
    p, y = both(logits, target)
    dice = 1 - (2 * (p * y).sum(2) + 1e-5) / (p.sum(2) + y.sum(2) + 1e-5)
    worst = costs(logits, target).flatten(1).topk(y.shape[2] // 10, 1, sorted=False).values
    return 0.5 * dice.mean() + 0.5 * worst.mean()


def calibration_error(logits, target, bins=20):
    p, y = (volumes.flatten(0, 1) for volumes in both(logits, target))
    number = (p.detach() * bins).long().clamp(max=bins - 1)
    empty = p.new_zeros(len(p), bins)
    counts = empty.scatter_add(1, number, torch.ones_like(p))
    gaps = (empty.scatter_add(1, number, p) - empty.scatter_add(1, number, y)).abs() / counts.clamp(min=1)
    return (gaps.sum(1) / (counts > 0).sum(1)).mean()


# Ours by its text, and the formula. Dice++ with a power that is no square, so that it has a column of its own.
FORMULAS = {
    "sensitivity_specificity": sensitivity_specificity,
    "dice_plus_plus(gamma=3)": dice_plus_plus,
    "noise_robust_dice": noise_robust_dice,
    "boundary_dou": boundary_dou,
    "generalised_cross_entropy": generalised_cross_entropy,
    "smoothed_cross_entropy": smoothed_cross_entropy,
    "asymmetric_focal": asymmetric_focal,
    "unified_focal": unified_focal,
    "exponential_logarithmic": exponential_logarithmic,
    "top_k(over=batch)": top_k,
    "lovasz(over=batch)": lovasz,
    "brier": brier,
    "l1": l1,
    "dice_top_k": dice_top_k,
    "calibration_error": calibration_error,
}
