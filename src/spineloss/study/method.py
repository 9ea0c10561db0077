"""A method of a study: a loss and how it changes while training; and what it is compared with."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from spineloss.losses import Loss, WeightedSum
from spineloss.losses.foreign import Foreign
from spineloss.text import parse
from spineloss.training.greedy import parse_search
from spineloss.training.phases import Part
from spineloss.weighting import Rebalance, Static, parse_weighting

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# One rate; several, to choose from on an inner split of each fold's training cases; or the rule of `scaled_rate`.
LearningRate = Literal["auto"] | Rate | Annotated[tuple[Rate, ...], Field(min_length=2)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, lt=2**31)]


class Settings(BaseModel):
    """Plain, frozen settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PhaseSettings(Settings):
    """Epochs in which one loss trains the U-Net or a part of it."""

    train: Part
    """`encoder`, by a head at its coarsest level that is thrown away; `decoder`, the encoder kept; or `all`."""
    epochs: Count
    """How many; those of all phases are the study's."""
    loss: str | None = None
    """The method's if not given."""


class Method(Settings):
    """A loss, by its text, and how it changes while training: what a study compares."""

    loss: str
    """The text of the loss, such as `0.8*dice + 0.2*boundary` or `mypackage.MyLoss`."""
    name: str = ""
    """What it is shown by; its text if not given."""
    weighting: str | None = None
    """The text of a policy that changes the terms' weights while training, such as `rebalance`."""
    tuning: str | None = None
    """The text of a search of the loss's parameters while training, such as `greedy(moves=single, every=8)`."""
    phases: tuple[PhaseSettings, ...] = ()
    """Encoder and decoder of the U-Net trained apart, then together, each phase by a loss of its own."""
    controls: Flag = False
    """Whether controls are trained too, which show whether adapting is what helped."""
    learning_rate: LearningRate | None = None
    """The study's if not given."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _is_a_rate(cls, value: Any) -> Any:
        return None if value is None else learning_rate(value)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        value = {"loss": value} if isinstance(value, str) else value
        if isinstance(value, dict) and "loss" in value:
            parts = [str(value[key]) for key in ("loss", "weighting", "tuning") if value.get(key)]
            return {"name": " / ".join([*parts, "phases"] if value.get("phases") else parts), **value}
        return value

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError("a method's name must not be empty, and must be printable")
        return name

    @property
    def adapts(self) -> Literal["weights", "parameters"] | None:
        """What of its loss changes while training."""
        if self.tuning is not None:
            return "parameters"
        return None if self.weighting is None else "weights"

    @model_validator(mode="after")
    def _has_phases_that_end_well(self) -> "Method":
        if not self.phases:
            return self
        if self.adapts is not None:
            raise ValueError(f"{self.name}: it has phases and a weighting or a tuning; a run can have one of them")
        if self.phases[-1].train == "encoder":
            raise ValueError(
                f"{self.name}: its last phase trains the encoder, and no decoder learns to read it; end with one "
                "of the decoder or of all"
            )
        return self

    @model_validator(mode="after")
    def _can_be_trained(self, info: ValidationInfo) -> "Method":
        folder = (info.context or {}).get("folder", Path())
        loss = parse(self.loss, folder)
        for part in (loss, *(parse(phase.loss, folder) for phase in self.phases if phase.loss)):
            self._refuse_own_parameters(part)
        if self.tuning is not None:
            if self.weighting is not None:
                raise ValueError(f"{self.name}: it has a weighting and a tuning; a run can have one of them")
            parse_search(self.tuning).check(loss)
        policy = None if self.weighting is None else parse_weighting(self.weighting, epoch=1, run=1)
        if self.controls and (self.adapts is None or isinstance(policy, Static)):
            raise ValueError(f"{self.name}: controls are of an adaptive weighting or a tuning, and it has none")
        if policy is None:
            return self
        if not isinstance(loss, WeightedSum):
            raise ValueError(f"{self.name}: {self.loss} is one term; a weighting needs a sum of two or more")
        policy.init(loss.names, loss.weights)
        distance = [bool(term.needs) for term in loss.losses]
        if isinstance(policy, Rebalance) and any(distance) and not distance[-1]:
            raise ValueError(f"{self.name}: rebalance raises the last term; write the distance loss last")
        return self

    def _refuse_own_parameters(self, loss: Loss) -> None:
        for part in loss.modules():
            if isinstance(part, Foreign) and any(each.requires_grad for each in part.parameters()):
                raise ValueError(
                    f"{self.name}: {part.name} has parameters of its own, and a study trains the network alone; "
                    "freeze them with requires_grad_(False)"
                )


def learning_rate(value: Any) -> Any:
    """`auto`, a number, or a tuple of numbers, checked.

    Raises:
        ValueError: it is none of them.
    """
    if value == "auto":
        return value
    if not isinstance(value, list | tuple):
        return _number(value)
    if len(value) < 2:
        raise ValueError("a list of learning rates to choose from needs two or more; write one as a number")
    return tuple(_number(rate) for rate in value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        shown = repr(value)[:80]
        raise ValueError(f"{shown} is no learning rate; write auto, a number above 0, or a list of numbers")
    return float(value)


Control = Literal["uniform", "random", "average"]
CONTROLS: dict[str, tuple[Control, ...]] = {
    "weights": ("uniform", "random", "average"),
    "parameters": ("random", "average"),
}


@dataclass(frozen=True)
class Trial:
    """One row of the table: a method, or a control of it, trained with the same loss but otherwise adapted.

    Weights that are `uniform` are equal, `random` ones are the method's own in a random order; of parameters, each
    step takes a random change of those that the method would try. `average` ones are the mean of the method's own,
    held fixed.
    """

    method: Method
    control: Control | None = None

    @property
    def name(self) -> str:
        """What it is shown by."""
        return f"{self.method.name} ({self.control} {self.method.adapts})" if self.control else self.method.name
