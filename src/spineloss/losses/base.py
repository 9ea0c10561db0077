"""What every loss is: an `nn.Module` called with logits and target, with its numbers declared."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.kernels.distance_transform import Unit
from spineloss.losses.inputs import Inputs


@dataclass(frozen=True)
class Parameter:
    """A number that a loss can be tuned by, with its default, its range and its meaning."""

    name: str
    default: float
    low: float
    high: float
    meaning: str


class Loss(nn.Module):
    """A segmentation loss: `loss(logits, target)` is a scalar to be minimised.

    A subclass declares its `name` in the text form, its `declared` parameters, the units of the target's distance
    maps that it `needs` from the data side and the `gammas` of the entropies it reads, and computes its value from
    `Inputs`.
    """

    name: ClassVar[str]
    declared: ClassVar[tuple[Parameter, ...]] = ()
    needs: frozenset[Unit] = frozenset()

    def __init__(self, **values: float) -> None:
        super().__init__()
        for parameter in self.declared:
            value = float(values[parameter.name])
            if not parameter.low <= value <= parameter.high:
                raise UserError(
                    f"{self.name}: {parameter.name}={value:g} is out of range; "
                    f"it must be in [{parameter.low:g}, {parameter.high:g}]."
                )
            setattr(self, parameter.name, value)

    @property
    def gammas(self) -> tuple[float, ...]:
        """Focusing exponents of the entropies that `compute` asks the inputs for."""
        return ()

    @abstractmethod
    def compute(self, inputs: Inputs) -> torch.Tensor:
        """The scalar loss of the inputs."""

    def least(self, inputs: Inputs) -> torch.Tensor | float:
        """What `compute` gives for the best prediction: 0 unless a subclass says otherwise."""
        return 0.0

    def inputs(self, logits: torch.Tensor, target: torch.Tensor, **context: Any) -> Inputs:
        """What the loss is computed from; arguments and errors are those of a call."""
        if logits.shape != target.shape or logits.ndim < 3:
            raise UserError(
                f"{self.name} needs logits and target of one shape (N, C, *spatial); "
                f"they are {tuple(logits.shape)} and {tuple(target.shape)}."
            )
        return Inputs(logits, target, gammas=self.gammas, **context)

    def forward(self, logits: torch.Tensor, target: torch.Tensor, **context: Any) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: (N, C, *spatial), before the sigmoid; any floating type.
            target: (N, C, *spatial) in [0, 1].
            context: `mask`, `spacing`, `target_maps` and `class_weights`, see `Inputs`.

        Returns:
            A scalar, float32 at least.

        Raises:
            UserError: logits and target differ in shape.
        """
        return self.compute(self.inputs(logits, target, **context))

    def settings(self) -> Mapping[str, float | str]:
        """The arguments that make this loss again, as they appear in its text."""
        return {parameter.name: getattr(self, parameter.name) for parameter in self.declared}

    def tunable(self) -> dict[str, Parameter]:
        """What it can be tuned by, by name, each with its present value for a default.

        >>> from spineloss.text import parse
        >>> {name: parameter.default for name, parameter in parse("dice + tversky(beta=0.4)").tunable().items()}
        {'tversky.alpha': 0.7, 'tversky.beta': 0.4}
        """
        return {
            parameter.name: replace(parameter, default=getattr(self, parameter.name))
            for parameter in self.declared
        }

    def tuned(self, values: Mapping[str, float]) -> "Loss":
        """The same loss with other values of what is `tunable`.

        >>> from spineloss.text import parse
        >>> str(parse("dice + tversky(beta=0.4)").tuned({"tversky.alpha": 0.6}))
        '1.0*dice + 1.0*tversky(alpha=0.6, beta=0.4)'
        """
        return type(self)(**{**self.settings(), **values}) if values else self

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value}" for key, value in self.settings().items())
        return f"{self.name}({arguments})" if arguments else self.name

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.settings().items())
