"""Rebalance: the weight of the last term grows linearly with the steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spineloss.weighting.policy import Policy, State, Terms, check_range, check_whole, prior_of, shares_of


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
        check_whole(self, "steps", 1)
        check_range(self, "start", 0, 1)
        check_range(self, "end", 0, 1)

    def init(self, names: Sequence[str], prior: Sequence[float] | None = None) -> State:
        return {"prior": prior_of(self.name, names, prior), "step": 0}

    def update(self, state: State, values: Mapping[str, float]) -> tuple[Terms, State]:
        *others, last = state["prior"]
        done = min(state["step"] / max(self.steps - 1, 1), 1.0)
        risen = (1 - done) * self.start + done * self.end
        rest = shares_of({name: state["prior"][name] for name in others})
        weights = {name: (1 - risen) * share for name, share in rest.items()} | {last: risen}
        return weights, state | {"step": state["step"] + 1}
