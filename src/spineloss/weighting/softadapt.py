"""SoftAdapt: weights from the slopes of the terms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spineloss.errors import UserError
from spineloss.weighting.policy import (
    Policy,
    State,
    Terms,
    check_minimum,
    check_range,
    check_whole,
    prior_of,
    shares_of,
    usable,
)

Variant = Literal["original", "loss_weighted", "normalised"]


@dataclass(frozen=True)
class SoftAdapt(Policy):
    """A softmax of the slopes of the terms: with beta > 0 the term that falls least gets the most weight.

    original        alpha_i = exp(beta s_i) / sum_l exp(beta s_l)              (Eq. 5.4)
    loss_weighted   alpha_i = L_i exp(beta s_i) / sum_l L_l exp(beta s_l)      (Eq. 5.5)
    normalised      the original, of s_i / sum_l |s_l|

    s_i is a finite difference over the last `order` + 1 values: of the first order L_t - L_(t-1); of a higher one,
    as in the authors' code, the forward difference at the oldest of them. Until there are so many values, the
    weights are the priors' shares. The authors' package divides by sum_l s_l, which turns the meaning of beta
    round as soon as the terms fall.

    Args:
        beta: above 0 prefers the worst term, below 0 the best one; 0 weights by the priors alone.
        variant: `original`, `loss_weighted` or `normalised`.
        order: of the finite difference, at least 1.
        window: how many of the last values are averaged to L_i in the loss-weighted form, at least 1.
        every: steps whose mean is one value, at least 1; the weights stay as they are in between.
        minimum: of each weight, 0 to 1 / terms: alpha = minimum + (1 - terms minimum) alpha.

    References:
        Heydari et al., SoftAdapt: Techniques for adaptive loss weighting of neural networks with multi-part loss
        functions, arXiv:1912.12355, 2019.

    >>> policy = SoftAdapt(beta=1.0)
    >>> _, state = policy.update(policy.init(["a", "b"]), {"a": 0.5, "b": 0.5})
    >>> weights, state = policy.update(state, {"a": 0.5, "b": 0.25})
    >>> {name: round(weight, 3) for name, weight in weights.items()}
    {'a': 0.562, 'b': 0.438}
    """

    name = "softadapt"

    beta: float = 0.1
    variant: Variant = "original"
    order: int = 1
    window: int = 1
    every: int = 1
    minimum: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "beta", -math.inf, math.inf)
        for key in ("order", "window", "every"):
            check_whole(self, key, 1)
        if self.variant not in get_args(Variant):
            raise UserError(f"softadapt: variant={self.variant} is unknown; it is {', '.join(get_args(Variant))}.")

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        terms = prior_of(self.name, names, prior)
        check_minimum(self, len(terms))
        return {
            "prior": terms,
            "weights": shares_of(terms, self.minimum),
            "history": {name: [] for name in terms},
            "open": {name: [] for name in terms},
        }

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        if not usable(values):
            return dict(state["weights"]), state
        names = list(state["prior"])
        gathered = {name: [*state["open"][name], values[name]] for name in names}
        if len(gathered[names[0]]) < self.every:
            return dict(state["weights"]), state | {"open": gathered}
        kept = max(self.order + 1, self.window)
        history = {
            name: [*state["history"][name], math.fsum(gathered[name]) / self.every][-kept:] for name in names
        }
        weights = self._weights(history, state["prior"])
        return weights, state | {"weights": weights, "history": history, "open": {name: [] for name in names}}

    def _weights(self, history: Mapping[str, Sequence[float]], prior: Terms) -> Terms:
        if len(next(iter(history.values()))) <= self.order:
            return shares_of(prior, self.minimum)
        slopes = {name: self._slope(values[-self.order - 1 :]) for name, values in history.items()}
        if self.variant == "normalised":
            scale = sum(abs(slope) for slope in slopes.values()) or 1.0
            slopes = {name: slope / scale for name, slope in slopes.items()}
        factors = dict(prior)
        if self.variant == "loss_weighted":
            factors = {name: factor * self._level(history[name]) for name, factor in factors.items()}
        # A softmax is the same when its exponents are shifted alike; so none overflows, and not all vanish.
        largest = max((self.beta * slopes[name] for name, factor in factors.items() if factor), default=0.0)
        shares = {
            name: factor and factor * math.exp(self.beta * slopes[name] - largest)
            for name, factor in factors.items()
        }
        return shares_of(shares, self.minimum)

    def _slope(self, values: Sequence[float]) -> float:
        return math.fsum(
            factor * value for factor, value in zip(forward_difference(self.order), values, strict=True)
        )

    def _level(self, values: Sequence[float]) -> float:
        last = values[-self.window :]
        # A negative weight would maximise its term.
        return max(math.fsum(last) / len(last), 0.0)


def forward_difference(order: int) -> list[float]:
    """Factors of f(x), f(x + 1), ... f(x + order) whose sum is f'(x), exact for polynomials up to that order.

    c_k = (-1)^(k+1) binomial(order, k) / k, and c_0 makes them sum to 0.

    >>> forward_difference(2)
    [-1.5, 2.0, -0.5]
    """
    later = [(-1) ** (k + 1) * math.comb(order, k) / k for k in range(1, order + 1)]
    return [-math.fsum(later), *later]
