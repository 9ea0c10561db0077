"""What a training step with a weighting leaves behind, as named numbers."""

from collections.abc import Mapping

from spineloss.weighting.policy import Terms

WEIGHT = "weight of "


def step_record(values: Mapping[str, float], weights: Mapping[str, float]) -> Terms:
    """What a training step leaves behind: each term's value, and each weight as `weight of TERM`."""
    return dict(values) | {WEIGHT + name: weight for name, weight in weights.items()}


def recorded_weights(record: Mapping[str, float]) -> Terms:
    """The weights in a `step_record`.

    >>> recorded_weights(step_record({"dice": 0.5}, {"dice": 1.0}))
    {'dice': 1.0}
    """
    return {key.removeprefix(WEIGHT): value for key, value in record.items() if key.startswith(WEIGHT)}
