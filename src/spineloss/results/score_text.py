"""Numbers as they are printed: scores in their metric's unit, two digits, a true minus, undefined in words."""

import math

from spineloss.metrics import METRICS


def number(value: float, scale: float = 1, *, signed: bool = False) -> str:
    """A value with two digits after the point.

    Args:
        value: NaN where undefined, infinite where a structure was missed.
        scale: from the value to its unit.
        signed: with a plus where it is positive.

    >>> number(-0.1234, 100), number(0.5, signed=True), number(math.nan)
    ('−12.34', '+0.50', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "missed"
    return f"{scale * value:{'+' if signed else ''}.2f}".replace("-", "−")


def with_noise(value: float, noise: float, scale: float = 1, *, signed: bool = False) -> str:
    """A value and its standard error.

    >>> with_noise(0.011, 0.002, 100, signed=True), with_noise(math.nan, math.nan)
    ('+1.10 ± 0.20', 'undefined')
    """
    return number(value, scale, signed=signed) + (
        "" if math.isnan(value + noise) else f" ± {number(noise, scale)}"
    )


def score(metric: str, mean: float, std: float = math.nan) -> str:
    """A mean in the metric's unit, and its standard deviation where there is one.

    Args:
        metric: of `METRICS`.
        mean: a share in [0, 1], or mm.
        std: in the same unit; NaN where there is none.

    >>> score("dice", 0.79491, 0.0164), score("hd95", 7.5)
    ('79.49 ± 1.64', '7.50')
    """
    scale = METRICS[metric].scale
    return number(mean, scale) + ("" if math.isnan(mean + std) else f" ± {number(std, scale)}")


def score_with_unit(metric: str, value: float) -> str:
    """A value and its unit.

    >>> score_with_unit("dice", 0.79491), score_with_unit("hd95", 7.5)
    ('79.49 %', '7.50 mm')
    """
    return f"{score(metric, value)} {METRICS[metric].unit}"


def points(metric: str) -> str:
    """The unit of differences of a metric: percentage points, or mm."""
    return "points" if METRICS[metric].unit == "%" else METRICS[metric].unit


def interval(low: float, high: float, scale: float = 1, *, signed: bool = False) -> str:
    """Both ends of an interval.

    >>> interval(-0.01, 0.02, 100, signed=True)
    '−1.00 to +2.00'
    """
    if math.isnan(low + high):
        return "undefined"
    return f"{number(low, scale, signed=signed)} to {number(high, scale, signed=signed)}"


def probability(value: float) -> str:
    """A p-value or another probability with three digits.

    >>> probability(0.0123), probability(0.0001), probability(math.nan)
    ('0.012', '<0.001', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float) -> str:
    """A share in whole percent; nothing below half of one.

    >>> percent(0.123), percent(0.004)
    ('12 %', '')
    """
    return f"{100 * share:.0f} %" if share >= 0.005 else ""
