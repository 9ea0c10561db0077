"""Segmentation losses, each an ordinary `torch.nn.Module` called with (logits, target)."""

from spineloss.losses.base import Loss, Parameter
from spineloss.losses.boundary import Boundary, Hausdorff
from spineloss.losses.compound import Compound, DiceCrossEntropy, DiceFocal, TverskyFocal, WeightedSum
from spineloss.losses.distribution import L1, Brier, CrossEntropy, Focal, Poly1
from spineloss.losses.region import (
    Asymmetric,
    Dice,
    Effectiveness,
    IoU,
    LogCoshDice,
    Matthews,
    SquaredDice,
    Tversky,
)

LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        CrossEntropy,
        Focal,
        Dice,
        IoU,
        Tversky,
        Asymmetric,
        Effectiveness,
        Boundary,
        Hausdorff,
        TverskyFocal,
        DiceCrossEntropy,
        DiceFocal,
        SquaredDice,
        LogCoshDice,
        Matthews,
        Poly1,
        Brier,
        L1,
    )
}

__all__ = [
    "L1",
    "LOSSES",
    "Asymmetric",
    "Boundary",
    "Brier",
    "Compound",
    "CrossEntropy",
    "Dice",
    "DiceCrossEntropy",
    "DiceFocal",
    "Effectiveness",
    "Focal",
    "Hausdorff",
    "IoU",
    "LogCoshDice",
    "Loss",
    "Matthews",
    "Parameter",
    "Poly1",
    "SquaredDice",
    "Tversky",
    "TverskyFocal",
    "WeightedSum",
]
