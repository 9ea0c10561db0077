"""Weights of a loss's terms that change while training: policies with a state, for any loop."""

from spineloss.grammar import Text
from spineloss.weighting.coefficient_of_variation import CoefficientOfVariation
from spineloss.weighting.policy import Policy, State, Static, Terms
from spineloss.weighting.rebalance import Rebalance
from spineloss.weighting.record import recorded_weights, step_record
from spineloss.weighting.shuffled import Shuffled
from spineloss.weighting.softadapt import SoftAdapt

__all__ = [
    "POLICIES",
    "CoefficientOfVariation",
    "Policy",
    "Rebalance",
    "Shuffled",
    "SoftAdapt",
    "State",
    "Static",
    "Terms",
    "parse_weighting",
    "recorded_weights",
    "step_record",
]

POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (Static, Rebalance, SoftAdapt, CoefficientOfVariation)
}


def parse_weighting(text: str, *, epoch: int, run: int) -> Policy:
    """The policy that a text describes, such as `softadapt(beta=0.1, every=epoch)`.

    Args:
        text: a name of `POLICIES`, with arguments in parentheses where they differ from its defaults. A number of
            steps may be the word `epoch` or `run`; rebalance takes the run.
        epoch: steps an epoch.
        run: steps of the whole run.

    Raises:
        UserError: the text is malformed, or a name or value is unknown or out of range.

    >>> str(parse_weighting("rebalance(end=0.5)", epoch=10, run=200))
    'rebalance(steps=200, start=0.01, end=0.5)'
    """
    call = Text("weighting", text).call()
    lasting = {"epoch": epoch, "run": run}
    arguments = {
        key: lasting.get(str(value), value) if key in ("steps", "every") else value
        for key, value in call.arguments.items()
    }
    if call.name == Rebalance.name:
        arguments = {"steps": run} | arguments
    return call.given(arguments).make(POLICIES)
