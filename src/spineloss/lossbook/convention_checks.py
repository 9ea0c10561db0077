"""The checks of the linter of what a target may hold: exclusive labels, ignored voxels, several components."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from spineloss.lossbook.judging import (
    CONFIDENT,
    Check,
    Flaw,
    Input,
    Outcome,
    collector,
    expect,
    gradient_of,
    right_logits,
    same,
    value_of,
)
from spineloss.losses import Loss
from spineloss.losses.foreign import Foreign

CLASSES = ((2, 3, 4, 5), (2, 3, 3, 4, 5))
TWO_COMPONENTS = ((1, 1, 6, 14), (1, 1, 4, 6, 14))
CHECKS: list[Check] = []
check = collector(CHECKS)


@check(CLASSES)
def label_permutation(loss: nn.Module, given: Input) -> None:
    """The numbers of exclusive classes do not matter."""
    loss, labelled = _of_labels(loss, given)
    order = torch.arange(given.logits.shape[1]).roll(1)
    renumbered = Input(labelled.logits[:, order.argsort()], order[labelled.target])
    value, changed = value_of(loss, labelled), value_of(loss, renumbered)
    expect(same(changed, value), f"{value:.6g}, renumbered {changed:.6g}", labelled, Outcome.NOTE)


@check(CLASSES)
def ignored_voxels(loss: nn.Module, given: Input) -> None:
    """What the logits are at voxels whose label is ignored changes neither value nor gradient, and gets none."""
    loss, labelled = _of_labels(loss, given, ignore=255)
    ignored = torch.rand(labelled.target.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    target = torch.where(ignored, _ignored_label(loss), labelled.target)
    here = ignored.view(len(ignored), 1, *given.logits.shape[2:]).expand_as(given.logits)
    plain = Input(labelled.logits, target)
    moved = Input(torch.where(here, -3 * labelled.logits, labelled.logits), target)
    value, changed = value_of(loss, plain), value_of(loss, moved)
    expect(same(changed, value), f"{value:.6g}, with other logits there {changed:.6g}", plain)
    slope, moved_slope = gradient_of(loss, plain), gradient_of(loss, moved)
    expect(not slope[here].any(), "ignored voxels have a gradient", plain)
    expect(same(moved_slope[~here], slope[~here]), "the gradient of the others changes", plain)


@check(TWO_COMPONENTS)
def component_invariance(loss: nn.Module, given: Input) -> None:
    """To miss a small component of the target costs what it costs to miss a large one."""
    target = torch.zeros_like(given.target)
    target[..., 1:5, 1:6] = 1
    target[..., 2:4, 11:12] = 1
    costs = []
    for missed in (slice(0, 8), slice(8, None)):
        logits = right_logits(target)
        logits[..., missed] = -CONFIDENT
        costs.append(value_of(loss, Input(logits, target)))
    large, small = costs
    detail = f"to miss the small one costs {small:.3g}, the large one {large:.3g}"
    expect(large > 0 and same(small, large, 0.05), detail, Input(right_logits(target), target), Outcome.NOTE)


def _of_labels(loss: nn.Module, given: Input, **settings: Any) -> tuple[nn.Module, Input]:
    """A loss of exclusive classes, and the input with labels (N, *spatial) as its target.

    One of ours reads labels when it is told to; of another package's it is seen whether it does. If not, the check
    is skipped, and so it is of a sum, whose terms read one target alike.
    """
    labels = given.logits[:, :1].roll(1, -1).mul(100).long().remainder(given.logits.shape[1])
    if any(isinstance(part, Foreign) for part in loss.modules()):
        raise Flaw(Outcome.SKIPPED, "a term of it is another package's")
    if isinstance(loss, Loss):
        return loss.with_convention(replace(loss.convention, activation="softmax", **settings)), Input(
            given.logits, labels[:, 0]
        )
    if settings and not isinstance(getattr(loss, "ignore_index", None), int):
        raise Flaw(Outcome.SKIPPED, "it names no label that it ignores")
    target = labels if getattr(loss, "to_onehot_y", False) else labels[:, 0]
    try:
        loss(given.logits, target)
    except Exception:
        raise Flaw(Outcome.SKIPPED, "it reads no labels of exclusive classes") from None
    return loss, Input(given.logits, target)


def _ignored_label(loss: nn.Module) -> int:
    return loss.convention.ignore if isinstance(loss, Loss) else loss.ignore_index
