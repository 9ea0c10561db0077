"""Where a network trains and how precisely: device, autocast, and the scale of gradients in float16."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

AMPERE = 8  # compute capability from which a GPU multiplies in bfloat16
LEAST_SCALE = 1.0  # of gradients in float16: one that overflows without any is no gradient


class GradientNotFinite(ArithmeticError):
    """A gradient in full precision became NaN or infinite; no step was taken."""


def best_device() -> torch.device:
    """A GPU of NVIDIA or AMD where there is one, else the CPU.

    Not Apple's GPU: nobody has compared a training there with one on a CPU, and it has no double precision, in
    which greedy search compares its trials.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Convolutions inside are in single precision: a GPU rounds them to TensorFloat-32 by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Precision:
    """A device, and how a network is computed and stepped on it.

    In half precision the network's forward and backward passes alone are: logits are float32, weights too. In
    float16 gradients are scaled so that small ones do not vanish, and a step whose gradients overflow is skipped.

    Args:
        device: of the network, its batches and its loss.
        dtype: of the forward pass: `torch.float32` for full precision, `torch.bfloat16` or `torch.float16`.
        scaler: scales the gradients; `Precision.mixed` gives float16 its own.

    >>> Precision(torch.device("cpu")).dtype
    torch.float32
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.scaler = scaler

    @classmethod
    def mixed(cls, device: torch.device) -> "Precision":
        """The usual precision of a device: half on CUDA (bfloat16 where it is native), full on all others."""
        if device.type != "cuda":
            return cls(device)
        if torch.cuda.get_device_capability(device)[0] >= AMPERE:
            return cls(device, torch.bfloat16)
        return cls(device, torch.float16, torch.amp.GradScaler(device.type))

    def autocast(self) -> AbstractContextManager[Any]:
        """Forward passes inside are in `dtype`."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def logits(self, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
        """The network's output, in float32 at least."""
        with self.autocast():
            output = network(image)
        return output.to(torch.promote_types(output.dtype, torch.float32))

    @property
    def scale(self) -> float:
        """What gradients are multiplied by before a step: 1 but in float16."""
        if self.scaler is None:
            return 1.0
        return self.scaler.scale(torch.ones((), device=self.device)).item()

    def backward(self, value: torch.Tensor) -> None:
        """Add the gradients of a scalar, scaled, to those of the parameters."""
        (value if self.scaler is None else self.scaler.scale(value)).backward()

    def step(self, optimiser: torch.optim.Optimizer, clip_gradient: float | None = None) -> None:
        """Take the optimiser's step down the gradients, scaled by `scale`, that its parameters hold.

        Args:
            optimiser: of the network's parameters.
            clip_gradient: largest norm of all gradients together, or none.

        Raises:
            GradientNotFinite: a gradient is NaN or infinite, and a scaler has none left that is smaller.
        """
        if self.scaler is not None:
            self.scaler.unscale_(optimiser)
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, math.inf if clip_gradient is None else clip_gradient)
        if self.scaler is not None:
            self.scaler.step(optimiser)
            self.scaler.update()
            if self.scaler.get_scale() < LEAST_SCALE and not torch.isfinite(norm):
                raise GradientNotFinite("its gradient is not finite at any scale")
            return
        if not torch.isfinite(norm):
            raise GradientNotFinite(f"the gradient became {norm.item()}")
        optimiser.step()

    def state(self) -> dict[str, Any]:
        """The scaler's state."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`; that of another precision is left unread."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
