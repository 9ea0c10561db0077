"""The surface of losses around trained weights, along two random directions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from spineloss.errors import UserError

Tensors = Mapping[str, torch.Tensor]
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
OFFSETS = ["alpha", "beta"]


def filters_of(network: nn.Module) -> dict[str, int]:
    """The parameters that hold filters, and the axis that numbers them: a filter makes one output channel.

    Biases and the parameters of norms, with one axis, hold none.
    """
    transposed = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, TRANSPOSED)}
    return {
        name: 1 if name in transposed else 0
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1
    }


def direction(weights: Tensors, filters: Mapping[str, int], seed: int) -> dict[str, torch.Tensor]:
    """A random direction whose every filter is as long as the trained one; whatever holds no filter stays.

    d_f = |theta_f| g_f / |g_f| for each filter f, with g_f normal. Networks whose filters differ in scale alone
    compute the same after a norm, and so have the same surface.

    Args:
        weights: trained parameters, by name.
        filters: of `filters_of`.
        seed: of the draw.

    Returns:
        A tensor for each of `filters`, of its parameter's shape.

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, axis in filters.items():
        trained = weights[name]
        drawn = torch.randn(trained.shape, generator=generator).to(trained)
        found[name] = drawn / _lengths(drawn, axis) * _lengths(trained, axis)
    return found


def _lengths(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    others = [other for other in range(tensor.ndim) if other != axis]
    return torch.linalg.vector_norm(tensor, dim=others, keepdim=True)


@dataclass(frozen=True)
class Surface:
    """Losses by name, (alpha, beta) values each, at `offsets` along both directions; 0 is the trained network."""

    offsets: list[float]
    losses: dict[str, np.ndarray]


def surface(
    evaluate: Callable[[Tensors], Mapping[str, float]],
    weights: Tensors,
    directions: tuple[Tensors, Tensors],
    *,
    points: int,
    span: float,
) -> Iterator[dict[str, float]]:
    """Losses at theta + alpha d_1 + beta d_2, one row per point as it is computed.

    Args:
        evaluate: from parameters to losses by name.
        weights: theta, by name.
        directions: d_1 and d_2; parameters they lack stay.
        points: along each direction, odd, so that the trained network is one of them.
        span: alpha and beta go from -span to span, above 0.

    Returns:
        Rows of alpha, beta and each loss; beta is quickest.

    Raises:
        UserError: `points` or `span` is out of range.
    """
    if points < 3 or points % 2 == 0:
        raise UserError(f"{points} points have no centre with two sides: give an odd number from 3.")
    if not span > 0:
        raise UserError(f"A span of {span:g} is no stretch of the surface: give one above 0.")
    first, second = directions
    offsets = np.linspace(-span, span, points).tolist()
    for alpha in offsets:
        for beta in offsets:
            moved = {name: weights[name] + alpha * first[name] + beta * second[name] for name in first}
            yield {"alpha": alpha, "beta": beta, **evaluate({**weights, **moved})}


def surface_of(rows: Sequence[Mapping[str, str]]) -> Surface:
    """The surface that the rows of a `landscape.csv` hold.

    Raises:
        IndexError, KeyError, TypeError, ValueError: the rows are no surface.
    """
    offsets = [float(row["beta"]) for row in rows if row["alpha"] == rows[0]["alpha"]]
    names = [name for name in rows[0] if name not in OFFSETS]
    shape = (len(offsets), len(offsets))
    # An undefined loss is an empty field.
    losses = {name: np.reshape([float(row[name] or "nan") for row in rows], shape) for name in names}
    return Surface(offsets, losses)
