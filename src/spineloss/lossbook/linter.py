"""A linter for anyone's segmentation loss: which properties hold of a module called with (logits, target).

It is meant for losses of independent channels, whose activation is the sigmoid; a few checks ask a loss that reads
labels of exclusive classes for those. Each check runs on inputs of
growing shape, so that the first input that shows a flaw is the smallest.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from spineloss.lossbook import checks, convention_checks
from spineloss.lossbook.judging import Check, Flaw, Input, Outcome
from spineloss.text import Foreign

CHECKS: list[Check] = [*checks.CHECKS, *convention_checks.CHECKS]


@dataclass(frozen=True)
class Finding:
    """What one check says of a loss, with the smallest input that shows it unless it passes."""

    check: Check
    outcome: Outcome
    detail: str = ""
    given: Input | None = None

    def __str__(self) -> str:
        lines = [f"{self.check.name}: {self.detail}" if self.detail else self.check.name]
        return "\n".join(lines if self.given is None else [*lines, str(self.given)])


def lint(loss: nn.Module) -> Iterator[Finding]:
    """Run every check on a loss.

    Args:
        loss: called with (logits, target) of one shape (N, C, *spatial), each channel an independent sigmoid; it
            returns a scalar to be minimised.

    Returns:
        One finding a check, as they come.

    >>> [finding.check.name for finding in lint(nn.BCEWithLogitsLoss()) if finding.outcome is Outcome.FAIL]
    ['target types']
    """
    # The wrapper would turn all input to float32 and so hide what the module itself does with it.
    module = loss.module if isinstance(loss, Foreign) else loss
    for check in CHECKS:
        yield _run(check, module)


def _run(check: Check, loss: nn.Module) -> Finding:
    finding = Finding(check, Outcome.PASS)
    for shape in check.shapes:
        given = example(shape)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check.judge(_fresh(loss), given)
        except Flaw as flaw:
            if finding.outcome is Outcome.PASS or flaw.outcome is Outcome.FAIL:
                finding = Finding(check, flaw.outcome, flaw.detail, flaw.given)
        if finding.outcome is Outcome.FAIL:
            break
    return finding


def _fresh(loss: nn.Module) -> nn.Module:
    """A copy, so that no check sees what another left behind."""
    try:
        return copy.deepcopy(loss)
    except Exception:
        # The check `copies` tells.
        return loss


def example(shape: tuple[int, ...]) -> Input:
    """Logits from -3 to 3, none 0, and a target with both classes in every channel.

    Up to 300 voxels no two logits are as far from 0, so no two voxels are equally wrong: a loss that ranks them
    has a gradient.
    """
    random = torch.Generator().manual_seed(0)
    voxels = torch.Size(shape).numel()
    steps = torch.linspace(-3, 3, voxels + voxels % 2)[:voxels]
    logits = ((steps * 50).round() / 50 + 0.005)[torch.randperm(voxels, generator=random)].reshape(shape)
    target = (torch.rand(shape, generator=random) < 0.4).float()
    target.flatten(2)[..., 0] = 1
    target.flatten(2)[..., -1] = 0
    return Input(logits, target)
