"""The control of an adaptive weighting: its own weights in a random order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spineloss.seeding import generator
from spineloss.weighting.policy import Policy, State, Terms


@dataclass(frozen=True)
class Shuffled(Policy):
    """The weights of another run in a random order: their mean, spread and dependence, without their timing.

    Args:
        weights: of each step of the other run.
        key: of the random order.
    """

    name = "shuffled"

    weights: Sequence[Mapping[str, float]]
    key: tuple[int | str, ...]

    @cached_property
    def _order(self) -> np.ndarray:
        return generator(*self.key, "shuffled").permutation(len(self.weights))

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        return {"step": 0}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        chosen = self.weights[self._order[state["step"] % len(self.weights)]]
        return dict(chosen), {"step": state["step"] + 1}
