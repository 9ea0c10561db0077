"""Coefficient of variation: weights from how much each term still varies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spineloss.weighting.policy import (
    Policy,
    State,
    Terms,
    check_minimum,
    check_range,
    prior_of,
    shares_of,
    usable,
)

TINY = 1e-8  # added to a variance, as in the authors' code of CoV, so that constant terms have a spread


@dataclass(frozen=True)
class CoefficientOfVariation(Policy):
    """Weights by how much each term, relative to its own mean so far, still varies: constant terms are done.

    l_t = L_t / mean(L) before t;   alpha_i = c_i / sum_l c_l,   c = std(l) / mean(l)     (Eqs. 5.6 to 5.8)

    Means and deviations are Welford's, up to the step before (Eqs. 5.9 to 5.11); the first two steps have the
    priors' shares. With `decay` d the means are m_t = d m_(t-1) + (1 - d) x_t, and the variance, as in the
    authors' code, stays the mean of all products so far.

    Args:
        decay: weight of the past in the means, 0 to 1; by default every step counts alike.
        minimum: of each weight, 0 to 1 / terms: alpha = minimum + (1 - terms minimum) alpha.

    References:
        Groenendijk et al., Multi-loss weighting with coefficient of variations, WACV 2021.

    >>> policy = CoefficientOfVariation()
    >>> state = policy.init(["still", "moving"])
    >>> for value in (1.0, 0.5, 0.25):
    ...     weights, state = policy.update(state, {"still": 1.0, "moving": value})
    >>> {name: round(weight, 3) for name, weight in weights.items()}
    {'still': 0.0, 'moving': 1.0}
    """

    name = "cov"

    decay: float | None = None
    minimum: float = 0.0

    def __post_init__(self) -> None:
        if self.decay is not None:
            check_range(self, "decay", 0, 1)

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        terms = prior_of(self.name, names, prior)
        check_minimum(self, len(terms))
        zeros = dict.fromkeys(terms, 0.0)
        return {"prior": terms, "step": 0, "mean_value": zeros, "mean_ratio": zeros, "products": zeros}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        if not usable(values):
            return self._weights(state), state
        step = state["step"] + 1
        past = self._past(step)
        after: State = {"prior": state["prior"], "step": step, "mean_value": {}, "mean_ratio": {}, "products": {}}
        for name in state["prior"]:
            value, mean_value = values[name], state["mean_value"][name]
            # A term that was 0 at every step before has no ratio: it counts as unchanged.
            ratio = value / mean_value if mean_value else 1.0
            before = state["mean_ratio"][name]
            mean = past * before + (1 - past) * ratio
            after["mean_ratio"][name] = mean
            after["products"][name] = state["products"][name] + (ratio - before) * (ratio - mean)
            after["mean_value"][name] = past * mean_value + (1 - past) * value
        return self._weights(state), after

    def _past(self, step: int) -> float:
        if step == 1:
            return 0.0
        return 1 - 1 / step if self.decay is None else self.decay

    def _weights(self, state: State) -> Terms:
        prior, steps = state["prior"], state["step"]
        if steps < 2:
            return shares_of(prior, self.minimum)
        variation = {
            name: math.sqrt(state["products"][name] / steps + TINY) / max(abs(state["mean_ratio"][name]), TINY)
            for name in prior
        }
        return shares_of({name: prior[name] * variation[name] for name in prior}, self.minimum)
