"""What every weighting is: a policy of plain settings with a plain state, for any training loop.

`init` gives the state; `update` takes the state and the terms' values at one training step and returns the
weights of that step and the next state. A saved state resumes as if training had never stopped. Weights are never
negative, and those of an adaptive policy sum to 1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from spineloss.errors import UserError

State = dict[str, Any]
Terms = dict[str, float]

LARGEST = 1e30  # value of a term that its later values can still be compared with


@dataclass(frozen=True)
class Policy(ABC):
    """What every weighting is."""

    name: ClassVar[str]

    @abstractmethod
    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        """The state before the first step.

        Args:
            names: of the terms, two or more.
            prior: how much each term counts beside what the policy finds, at least 0; equal by default.

        Raises:
            UserError: fewer than two terms, or a prior that does not fit them.
        """

    @abstractmethod
    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        """The weights of a training step and the state after it; `state` itself stays as it is.

        Args:
            state: of `init`, or of the step before.
            values: of each term at this step, 0 at best. A step with a value that is not finite, or beyond 1e30,
                leaves the state of an adaptive policy as it was, and has the weights that this state gives.
        """

    def __str__(self) -> str:
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        arguments = ", ".join(f"{key}={value}" for key, value in given.items() if value is not None)
        return f"{self.name}({arguments})" if arguments else self.name


@dataclass(frozen=True)
class Static(Policy):
    """The prior, at every step.

    >>> policy = Static()
    >>> weights, _ = policy.update(policy.init(["dice", "boundary"], [0.8, 0.2]), {"dice": 0.5, "boundary": 3.0})
    >>> weights
    {'dice': 0.8, 'boundary': 0.2}
    """

    name = "static"

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        return {"prior": prior_of(self.name, names, prior)}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        return dict(state["prior"]), state


def prior_of(policy: str, names: Sequence[str], prior: Sequence[float] | None) -> Terms:
    weights = [1.0] * len(names) if prior is None else [float(weight) for weight in prior]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{policy} weights two or more terms of different names; they are {', '.join(names)}.")
    if len(weights) != len(names) or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise UserError(f"{policy} needs a weight of at least 0 for each of {', '.join(names)}, and one above 0.")
    return dict(zip(names, weights, strict=True))


def shares_of(raw: Mapping[str, float], minimum: float = 0.0) -> Terms:
    """Weights that sum to 1 in proportion to `raw`, equal where all of it is 0, each at least `minimum`."""
    total, count = math.fsum(raw.values()), len(raw)
    return {
        name: minimum + (1 - count * minimum) * (value / total if total else 1 / count)
        for name, value in raw.items()
    }


def usable(values: Mapping[str, float]) -> bool:
    """Whether a policy may learn from a step's values: an infinite one would stay in its state for good.

    >>> usable({"dice": 0.5}), usable({"dice": math.inf}), usable({"dice": math.nan})
    (True, False, False)
    """
    return all(abs(value) < LARGEST for value in values.values())


def check_range(policy: Policy, key: str, low: float, high: float) -> None:
    value = getattr(policy, key)
    if not (low <= value <= high and math.isfinite(value)):
        raise UserError(f"{policy.name}: {key}={value:g} is out of range; it must be in [{low:g}, {high:g}].")


def check_whole(policy: Policy, key: str, low: int) -> None:
    value = getattr(policy, key)
    if not isinstance(value, int) or value < low:
        raise UserError(f"{policy.name}: {key}={value} is out of range; it must be whole, at least {low}.")


def check_minimum(policy: Any, terms: int) -> None:
    if not 0 <= policy.minimum <= 1 / terms:
        raise UserError(
            f"{policy.name}: minimum={policy.minimum:g} is out of range; "
            f"{terms} weights that sum to 1 can all be at least {1 / terms:g}."
        )
