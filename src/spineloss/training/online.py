"""A step that learns its own loss: down the exact slope of what another batch says of the step."""

from typing import Any

import torch
from torch.func import functional_call, jvp

from spineloss.data.batches import Batch, BatchPair
from spineloss.losses import Loss
from spineloss.training.steps import Plain, Step


class Online:
    """A plain step of the network, and then one of its loss: down what an objective says of the network's step.

    The network's step is theta' = theta - s(g), with g the gradient of the loss L_phi in theta and s the rule of
    the optimiser, which acts on each weight alone. With v = dO/dtheta' of the objective O on another batch, P the
    prediction (logits) at theta and J its Jacobian,

        dO/dphi = -d/dphi <s(g), v> = -d/dphi <dL_phi/dP, u>,    u = J s'(g) v.

    u is one forward-mode product, and <dL_phi/dP, u> is the slope of the loss alone along it. So the network is
    never differentiated twice, and the memory is about that of a plain step. The optimiser's state before the step
    counts as constant: the loss is learned from one step ahead.

    Args:
        plain: the network's step, in full precision, by SGD or Adam, not clipped; its loss is a meta-loss.
            The network draws nothing at random.
        objective: any loss.
        optimiser: of the loss's weights.

    References:
        Bechtle et al., Meta-learning via learned loss, ICPR 2020.
    """

    def __init__(self, plain: Plain, objective: Loss, optimiser: torch.optim.Optimizer) -> None:
        self.plain = plain
        self.objective = objective
        self.optimiser = optimiser

    def __call__(self, pair: BatchPair) -> Step:
        """Step the network, then the loss; the record holds the objective after the network's step.

        Raises:
            LossNotFinite: the loss is NaN or infinite; no step is taken.
        """
        before = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        self.plain.loss.requires_grad_(False)
        step = self.plain(pair.batch)
        objective, direction = self._judged(pair.other)
        with torch.no_grad():
            logits, tangent = jvp(
                lambda weights: functional_call(self.network, weights, pair.batch.image), (before,), (direction,)
            )
        self._learn(pair.batch, logits, tangent)
        return Step(step.loss, {"objective": objective})

    def _learn(self, batch: Batch, logits: torch.Tensor, tangent: torch.Tensor) -> None:
        """Step the loss down -d/dphi <dL_phi/dP, u>."""
        self.plain.loss.requires_grad_(True)
        self.optimiser.zero_grad(set_to_none=True)
        for share, target in batch.targets:
            self.plain.loss.add_slope_gradient(logits, tangent, target.truth, -share)
        self.optimiser.step()

    @property
    def network(self) -> torch.nn.Module:
        """The network that is trained."""
        return self.plain.network

    def _judged(self, other: Batch) -> tuple[float, dict[str, torch.Tensor]]:
        """The objective, and the direction s'(g) v."""
        weights = dict(self.network.named_parameters())
        value = batch_loss(self.objective, self.network(other.image), other)
        slopes = torch.autograd.grad(value, list(weights.values()))
        optimiser = self.plain.optimiser
        with torch.no_grad():
            direction = {
                name: step_slope(optimiser, weight) * slope
                for (name, weight), slope in zip(weights.items(), slopes, strict=True)
            }
        optimiser.zero_grad(set_to_none=True)
        return value.item(), direction

    def state(self) -> dict[str, Any]:
        """The loss's weights and its optimiser's state."""
        return {"loss": self.plain.loss.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.plain.loss.load_state_dict(state["loss"])
        self.optimiser.load_state_dict(state["optimiser"])


def batch_loss(loss: Loss, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The loss of a batch, mixed over its targets by their shares."""
    return sum(share * loss(logits, target.truth, **target.context()) for share, target in batch.targets)


def step_slope(optimiser: torch.optim.Optimizer, weight: torch.Tensor) -> torch.Tensor | float:
    """s'(g), the derivative of the step just taken in the weight's gradient, element by element.

    SGD, s = lr g: lr. Adam, s = lr m / (b (r + eps)) with r = sqrt(w / c), m = b1 m0 + (1 - b1) g,
    w = b2 w0 + (1 - b2) g^2, b = 1 - b1^t, c = 1 - b2^t:

        s' = lr / (b (r + eps)) (1 - b1 - m (1 - b2) g / (c r (r + eps))).

    Args:
        optimiser: SGD without momentum, or Adam with no option but its rate, betas and eps.
        weight: one of its weights, its gradient still there.

    Raises:
        ValueError: another optimiser, whose step's derivative is not known here.
    """
    (group,) = (group for group in optimiser.param_groups if any(weight is each for each in group["params"]))
    extras = ("momentum", "weight_decay", "amsgrad", "maximize", "decoupled_weight_decay")
    if type(optimiser) not in (torch.optim.SGD, torch.optim.Adam) or any(group.get(extra) for extra in extras):
        raise ValueError(f"the derivative of a step of {optimiser} is not known")
    if isinstance(optimiser, torch.optim.SGD):
        return group["lr"]
    state, gradient = optimiser.state[weight], weight.grad
    first, second = group["betas"]
    mean_bias, square_bias = (1 - beta ** state["step"].item() for beta in (first, second))
    root = (state["exp_avg_sq"] / square_bias).sqrt()
    # Where no gradient has ever been, the slope is that of its mean alone.
    turn = state["exp_avg"] * (1 - second) * gradient / (square_bias * root).clamp(min=1e-30)
    return group["lr"] / mean_bias / (root + group["eps"]) * (1 - first - turn / (root + group["eps"]))
