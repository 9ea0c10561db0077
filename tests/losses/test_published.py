"""Expected values from MONAI's published test cases, where the definitions agree.

Where they differ:
- MONAI smooths by what each case says (1e-6 to 1e-4), we by 1e-5 in the denominator's way: equal to four digits.
- Their Tversky's `alpha` weighs false positives, as ours does.
- Their Hausdorff loss gives an empty or full mask distances to no boundary; ours, which has none, adds nothing.
- Cases with softmax, tanh or a background left out are theirs alone: our channels are independent.
"""

import pytest
import torch

from spineloss.text import parse

SQUARE = [[[[1.0, -1.0], [-1.0, 1.0]]]]
THREE_OF_FOUR = [[[[1.0, 0.0], [1.0, 1.0]]]]
TWO_SAMPLES = SQUARE + SQUARE
ALL_AND_HALF = [[[[1.0, 1.0], [1.0, 1.0]]], [[[1.0, 0.0], [1.0, 0.0]]]]
ONE_HOT_LOGITS = [[[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
ONE_HOT = [[[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]]


@pytest.mark.parametrize(
    ("spec", "logits", "target", "expected"),
    [
        ("dice", SQUARE, THREE_OF_FOUR, 0.307576),
        ("dice", TWO_SAMPLES, ALL_AND_HALF, 0.416636),
        ("dice", ONE_HOT_LOGITS, ONE_HOT, 0.435050),
        ("dice(over=batch)", ONE_HOT_LOGITS, ONE_HOT, 0.422979),
        ("tversky(alpha=0.5, beta=0.5)", TWO_SAMPLES, ALL_AND_HALF, 0.416657),
        ("tversky(alpha=0.3, beta=0.7)", SQUARE, THREE_OF_FOUR, 0.3589),
        ("tversky(alpha=0.7, beta=0.3)", SQUARE, THREE_OF_FOUR, 0.247366),
    ],
)
def test_overlap(spec, logits, target, expected):
    assert parse(spec)(torch.tensor(logits), torch.tensor(target)).item() == pytest.approx(expected, rel=1e-4)


def test_focal():
    ones = torch.ones(1, 1, 5, 5)
    logits, target = torch.cat([ones, 0 * ones], dim=1), torch.cat([ones, 0 * ones], dim=1)
    target[:, 0, 2, 2], target[:, 1, 2, 2] = 0, 1
    loss = parse("focal(alpha=1, gamma=2)")
    assert loss(logits, target).item() == pytest.approx(0.1116, abs=1e-3)
    assert loss(logits[:, 1:], target[:, 1:]).item() == pytest.approx(0.1733, abs=1e-3)


@pytest.mark.parametrize(
    ("logits", "target", "expected"),
    [
        (SQUARE, THREE_OF_FOUR, 0.509329),
        ([SQUARE[0]], [THREE_OF_FOUR[0]], 0.509329),
        (
            [[[[[1.0, -1.0], [1.0, -1.0]], [[-1.0, 1.0], [-1.0, 1.0]]]]],
            [[[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]]],
            0.375718,
        ),
        (
            [[[[1.0, -1.0], [-1.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]]],
            [[[[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]],
            0.326994,
        ),
        (SQUARE, [[[[1.0, 0.0], [0.0, 1.0]]]], 0.144659),
    ],
)
def test_hausdorff(logits, target, expected):
    value = parse("hausdorff")(torch.tensor(logits), torch.tensor(target))
    assert value.item() == pytest.approx(expected, rel=1e-5)
