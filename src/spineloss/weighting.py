"""Weights of a loss's terms that change while training: policies with a state, for any loop.

A policy is plain settings. `init` gives its state, `update` takes the state and the terms' values of one training
step and gives the weights of that step and the next state. A state is plain data: saved and given back, training
goes on as if it had never stopped. Weights are never negative, and those of an adaptive policy sum to 1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from spineloss.errors import UserError
from spineloss.grammar import Text
from spineloss.seeding import generator

State = dict[str, Any]
Terms = dict[str, float]
Variant = Literal["original", "loss_weighted", "normalised"]
TINY = 1e-8  # added to a variance, as in the authors' code of CoV, so that constant terms have a spread


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
            values: of each term at this step, finite, 0 at best.
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
        return {"prior": _prior(self.name, names, prior)}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        return dict(state["prior"]), state


@dataclass(frozen=True)
class Rebalance(Policy):
    """A weight that moves from the other terms to the last one, by as much each step.

    alpha_last = start + (end - start) (t - 1) / (steps - 1) at step t, and `end` from there on    (Eq. 5.3)

    The others share 1 - alpha_last, in proportion to their priors.

    Args:
        steps: of the run, at least 1.
        start: weight of the last term (the distance loss) at the first step, 0 to 1.
        end: its weight at the last step, 0 to 1.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, Medical Image Analysis 67, 2021.

    >>> policy = Rebalance(steps=3, start=0.0, end=0.5)
    >>> state = policy.init(["dice", "boundary"])
    >>> for _ in range(4):
    ...     weights, state = policy.update(state, {"dice": 0.5, "boundary": 3.0})
    ...     print(weights)
    {'dice': 1.0, 'boundary': 0.0}
    {'dice': 0.75, 'boundary': 0.25}
    {'dice': 0.5, 'boundary': 0.5}
    {'dice': 0.5, 'boundary': 0.5}
    """

    name = "rebalance"

    steps: int
    start: float = 0.01
    end: float = 0.99

    def __post_init__(self) -> None:
        _check_whole(self, "steps", 1)
        _check(self, "start", 0, 1)
        _check(self, "end", 0, 1)

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        return {"prior": _prior(self.name, names, prior), "step": 0}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        *others, last = state["prior"]
        done = min(state["step"] / max(self.steps - 1, 1), 1.0)
        risen = (1 - done) * self.start + done * self.end
        rest = _shares({name: state["prior"][name] for name in others})
        weights = {name: (1 - risen) * share for name, share in rest.items()} | {last: risen}
        return weights, state | {"step": state["step"] + 1}


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
        beta: above 0 prefers the worst term, below 0 the best one; 0 weighs by the priors alone.
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
        _check(self, "beta", -math.inf, math.inf)
        for key in ("order", "window", "every"):
            _check_whole(self, key, 1)
        if self.variant not in get_args(Variant):
            raise UserError(f"softadapt: variant={self.variant} is unknown; it is {', '.join(get_args(Variant))}.")

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        prior = _prior(self.name, names, prior)
        _check_minimum(self, len(prior))
        return {
            "prior": prior,
            "weights": _shares(prior, self.minimum),
            "history": {name: [] for name in prior},
            "open": {name: [] for name in prior},
        }

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
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
            return _shares(prior, self.minimum)
        slopes = {name: self._slope(values[-self.order - 1 :]) for name, values in history.items()}
        if self.variant == "normalised":
            scale = sum(abs(slope) for slope in slopes.values()) or 1.0
            slopes = {name: slope / scale for name, slope in slopes.items()}
        # A softmax is the same when its exponents are shifted alike; so none overflows.
        largest = max(self.beta * slope for slope in slopes.values())
        shares = {name: prior[name] * math.exp(self.beta * slope - largest) for name, slope in slopes.items()}
        if self.variant == "loss_weighted":
            shares = {name: share * self._level(history[name]) for name, share in shares.items()}
        return _shares(shares, self.minimum)

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
            _check(self, "decay", 0, 1)

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        prior = _prior(self.name, names, prior)
        _check_minimum(self, len(prior))
        zeros = dict.fromkeys(prior, 0.0)
        return {"prior": prior, "step": 0, "mean_value": zeros, "mean_ratio": zeros, "products": zeros}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
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
            return _shares(prior, self.minimum)
        variation = {
            name: math.sqrt(state["products"][name] / steps + TINY) / max(abs(state["mean_ratio"][name]), TINY)
            for name in prior
        }
        return _shares({name: prior[name] * variation[name] for name in prior}, self.minimum)


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


POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (Static, Rebalance, SoftAdapt, CoefficientOfVariation)
}


def parse(text: str, *, epoch: int, run: int) -> Policy:
    """The policy that a text describes, such as `softadapt(beta=0.1, every=epoch)`.

    Args:
        text: a name of `POLICIES`, with arguments in parentheses where they differ from its defaults. A number of
            steps may be the word `epoch` or `run`; rebalance takes the run.
        epoch: steps an epoch.
        run: steps of the whole run.

    Raises:
        UserError: the text is malformed, or a name or value is unknown or out of range.

    >>> str(parse("rebalance(end=0.5)", epoch=10, run=200))
    'rebalance(steps=200, start=0.01, end=0.5)'
    """
    call = Text("weighting", text).call()
    lasting = {"epoch": epoch, "run": run}
    arguments = {
        key: lasting.get(value, value) if key in ("steps", "every") else value
        for key, value in call.arguments.items()
    }
    if call.name == Rebalance.name:
        arguments = {"steps": run} | arguments
    return call.given(arguments).make(POLICIES)


def _prior(policy: str, names: Sequence[str], prior: Sequence[float] | None) -> Terms:
    weights = [1.0] * len(names) if prior is None else [float(weight) for weight in prior]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{policy} weighs two or more terms of different names; they are {', '.join(names)}.")
    if len(weights) != len(names) or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise UserError(f"{policy} needs a weight of at least 0 for each of {', '.join(names)}, and one above 0.")
    return dict(zip(names, weights, strict=True))


def _shares(raw: Mapping[str, float], minimum: float = 0.0) -> Terms:
    """Weights that sum to 1 in proportion to `raw`, equal where all of it is 0, each at least `minimum`."""
    total, count = math.fsum(raw.values()), len(raw)
    return {
        name: minimum + (1 - count * minimum) * (value / total if total else 1 / count)
        for name, value in raw.items()
    }


def _check(policy: Policy, key: str, low: float, high: float) -> None:
    value = getattr(policy, key)
    if not (low <= value <= high and math.isfinite(value)):
        raise UserError(f"{policy.name}: {key}={value:g} is out of range; it must be in [{low:g}, {high:g}].")


def _check_whole(policy: Policy, key: str, low: int) -> None:
    value = getattr(policy, key)
    if not isinstance(value, int) or value < low:
        raise UserError(f"{policy.name}: {key}={value} is out of range; it must be whole, at least {low}.")


def _check_minimum(policy: Any, terms: int) -> None:
    if not 0 <= policy.minimum <= 1 / terms:
        raise UserError(
            f"{policy.name}: minimum={policy.minimum:g} is out of range; "
            f"{terms} weights that sum to 1 can all be at least {1 / terms:g}."
        )
