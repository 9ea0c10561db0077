"""Segmentation losses, each an ordinary `torch.nn.Module` called with (logits, target)."""

from spineloss.losses.base import Loss, Parameter
from spineloss.losses.boundary import Boundary, Hausdorff
from spineloss.losses.compound import Compound, DiceCrossEntropy, DiceFocal, TverskyFocal, WeightedSum
from spineloss.losses.distribution import CrossEntropy, Focal
from spineloss.losses.region import Asymmetric, Dice, Effectiveness, IoU, Tversky

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
    )
}

__all__ = [
    "LOSSES",
    "Asymmetric",
    "Boundary",
    "Compound",
    "CrossEntropy",
    "Dice",
    "DiceCrossEntropy",
    "DiceFocal",
    "Effectiveness",
    "Focal",
    "Hausdorff",
    "IoU",
    "Loss",
    "Parameter",
    "Tversky",
    "TverskyFocal",
    "WeightedSum",
]
