"""What every loss is: an `nn.Module` called with logits and target, with each of its arguments declared once."""

import copy
import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, Self, dataclass_transform, get_args

import torch
from torch import nn

from spineloss.errors import UserError
from spineloss.kernels.columns import Column
from spineloss.kernels.level_sets import Predicted
from spineloss.kernels.target_maps import MapName
from spineloss.losses.contract import check_spacing, check_target_maps, read
from spineloss.losses.convention import Convention
from spineloss.losses.deep_supervision import level_weights, levels_of
from spineloss.losses.inputs import Inputs


@dataclass(frozen=True)
class Parameter:
    """A number that a loss can be tuned by, with its default, its range and its meaning."""

    name: str
    default: float
    low: float
    high: float
    meaning: str


def parameter(*, default: float, low: float, high: float, meaning: str) -> Any:
    """Declare a number of a loss: text form, checks, catalogue, greedy search and docstring read it here."""
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


def constant(*, default: float, low: float, high: float, meaning: str) -> Any:
    """Declare a number that no search tunes; by keyword alone, and in the text where it is not the default."""
    return field(default=default, kw_only=True, metadata={"range": (low, high), "meaning": meaning})


def choice(*, default: str, meaning: str) -> Any:
    """Declare a word of a loss, one of its annotation's `Literal`; by keyword alone."""
    return field(default=default, kw_only=True, metadata={"meaning": meaning})


@dataclass_transform(eq_default=False, field_specifiers=(parameter, constant, choice, field))
@dataclass(eq=False, repr=False)
class Loss(nn.Module, Convention):
    """A segmentation loss: `loss(logits, target)` is a scalar to be minimised.

    A subclass has a `name` in the text form, and for the gallery a `category`, an `equation` and when to `use` it.
    It declares its arguments as fields (`parameter`, `constant`, `choice`), says which maps of the target it
    `needs` from the data side and which `columns` it reads beside the usual sums, and computes the `values` of
    each sample and class from `Inputs`. Every loss has the keyword arguments of `Convention`; of a sum, those of
    the sum count.

    values    of each sample and class, before any weights: what a subclass is about
    compute   the scalar that is trained with: the values averaged as the convention says
    shares    what each sample and class adds to it: what `per_sample` returns
    least     the scalar for the best prediction, where that is not 0
    """

    name: ClassVar[str]
    category: ClassVar[str] = ""  # distribution, region, boundary, compound, topology or calibration
    equation: ClassVar[str] = ""  # in LaTeX
    use: ClassVar[str] = ""  # when to use it, and when not

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        dataclass(eq=False, repr=False)(cls)
        if "__doc__" in cls.__dict__ and cls.__doc__:
            cls.__doc__ = _documented(inspect.cleandoc(cls.__doc__), arguments_of(cls))

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        # The __init__ that dataclass writes sets attributes and calls no other, and a module's must come first.
        module = super().__new__(cls)
        nn.Module.__init__(module)
        return module

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in arguments_of(type(self)):
            value = getattr(self, item.name)
            if "range" in item.metadata:
                setattr(self, item.name, self._number(item, value))
            elif (words := get_args(item.type)) and value not in words:
                listed = _either([f"`{word}`" for word in words])
                raise UserError(f"{self.name}: {item.name}={value} is unknown; it is {listed}.")
        self.convention = Convention.of(self)

    def _number(self, item: Field, value: float) -> float:
        low, high = item.metadata["range"]
        if not low <= float(value) <= high:
            raise UserError(
                f"{self.name}: {item.name}={value:g} is out of range; it must be in [{low:g}, {high:g}]."
            )
        return float(value)

    @property
    def needs(self) -> frozenset[MapName]:
        """Names of the target's maps that it reads."""
        return frozenset()

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it asks the inputs for beside the sums that are always made."""
        return ()

    @property
    def predicts(self) -> Predicted:
        """What the probabilities that it trains are: of a mask, or (1 - map) / 2 of a signed distance map."""
        return "mask"

    @property
    def keeps_background(self) -> bool:
        """Whether channel 0 counts even where `background` is False."""
        return False

    @abstractmethod
    def values(self, inputs: Inputs) -> torch.Tensor:
        """The loss of each sample and class, (N, C), or (1, C) over the batch."""

    def compute(self, inputs: Inputs) -> torch.Tensor:
        """The scalar loss of the inputs: the average of the values, unless a subclass says otherwise."""
        return inputs.average(self.values(inputs))

    def shares(self, inputs: Inputs) -> torch.Tensor:
        """What each sample and class adds, (N, C); 0 for a background that is left out.

        Raises:
            UserError: the loss counts over the batch.
        """
        values = self.values(inputs)
        if len(values) != len(inputs.logits):
            raise UserError(f"{self} counts over the batch, so its samples have no value each.")
        return inputs.without_background(values)

    def least(self, inputs: Inputs) -> torch.Tensor | float:
        """What `compute` gives for the best prediction: 0 unless a subclass says otherwise."""
        return 0.0

    def inputs(
        self,
        logits: Any,
        target: Any,
        *,
        mask: Any = None,
        spacing: torch.Tensor | Sequence[float] | None = None,
        target_maps: Mapping[MapName, torch.Tensor] | None = None,
    ) -> Inputs:
        """What the loss is computed from; arguments and errors are those of a call."""
        seen, truth, counted = read(logits, target, mask, self.convention)
        check_spacing(spacing, seen)
        check_target_maps(target_maps, seen)
        return Inputs(
            seen,
            truth,
            counted,
            self.convention,
            spacing,
            dict(target_maps or {}),
            self.columns,
            has_label_axis=truth.ndim < target.ndim,
        )

    def inputs_of_levels(
        self,
        logits: Sequence[torch.Tensor],
        target: Any,
        *,
        mask: Any = None,
        spacing: torch.Tensor | Sequence[float] | None = None,
        target_maps: Mapping[MapName, torch.Tensor] | None = None,
    ) -> Iterator[tuple[float, Inputs]]:
        """The weight and the inputs of each level that has a weight; arguments and errors are those of a call."""
        weights = level_weights(self.levels, len(logits))
        levels = levels_of(logits, target, mask, spacing, target_maps)
        for weight, each in zip(weights, levels, strict=True):
            if weight:
                maps = each.target_maps
                inputs = self.inputs(
                    each.logits, each.target, mask=each.mask, spacing=each.spacing, target_maps=maps
                )
                yield weight, inputs

    def forward(
        self,
        logits: torch.Tensor | Sequence[torch.Tensor],
        target: torch.Tensor | Sequence[torch.Tensor],
        *,
        mask: torch.Tensor | Sequence[torch.Tensor] | None = None,
        spacing: torch.Tensor | Sequence[float] | None = None,
        target_maps: Mapping[MapName, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: (N, C, *spatial), before the activation, any floating type; or a list of them, from the finest
                resolution to the coarsest (deep supervision).
            target: volumes (N, C, *spatial) in [0, 1], or labels (N, 1, *spatial) or (N, *spatial) of any type; of
                a list of logits, a list or the finest one.
            mask: (N, 1 or C, *spatial); 0 ignores a voxel. Likewise a list or the finest one.
            spacing: (N, D) or (D,) mm; 1 voxel by default.
            target_maps: (N, C, *spatial) maps of the (finest) target, by name; made by default.

        Returns:
            A scalar, float32 at least.

        Raises:
            UserError: an argument's type, device, shape or range does not fit; the message names it.
        """
        if isinstance(logits, torch.Tensor):
            return self.compute(self.inputs(logits, target, mask=mask, spacing=spacing, target_maps=target_maps))
        inputs = self.inputs_of_levels(logits, target, mask=mask, spacing=spacing, target_maps=target_maps)
        return torch.stack([weight * self.compute(each) for weight, each in inputs]).sum()

    def per_sample(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        spacing: torch.Tensor | Sequence[float] | None = None,
        target_maps: Mapping[MapName, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What each sample and class adds to the loss; arguments are those of a call.

        Returns:
            (N, C); its mean is the loss where all classes count, with the same weight, and no voxel is ignored. A
            background that is left out of a term adds nothing.

        Raises:
            UserError: as a call; or the loss counts over the batch, or is another package's.
        """
        return self.shares(self.inputs(logits, target, mask=mask, spacing=spacing, target_maps=target_maps))

    def settings(self) -> Mapping[str, Any]:
        """The arguments that make this loss again, as they appear in its text."""
        return {
            item.name: getattr(self, item.name)
            for item in arguments_of(type(self))
            if _is_tunable(item) or getattr(self, item.name) != item.default
        }

    def with_convention(self, convention: Convention) -> Self:
        """The same loss with other keyword arguments of `Convention`."""
        twin = copy.copy(self)
        for item in fields(convention):
            setattr(twin, item.name, getattr(convention, item.name))
        twin.convention = convention
        return twin

    def tunable(self) -> dict[str, Parameter]:
        """What it can be tuned by, by name, each with its present value for a default.

        >>> from spineloss.text import parse
        >>> {name: parameter.default for name, parameter in parse("dice + tversky(beta=0.4)").tunable().items()}
        {'tversky.alpha': 0.7, 'tversky.beta': 0.4}
        """
        found = {}
        for item in filter(_is_tunable, arguments_of(type(self))):
            low, high = item.metadata["range"]
            found[item.name] = Parameter(item.name, getattr(self, item.name), low, high, item.metadata["meaning"])
        return found

    def tuned(self, values: Mapping[str, float]) -> "Loss":
        """The same loss with other values of what is `tunable`.

        >>> from spineloss.text import parse
        >>> str(parse("dice + tversky(beta=0.4)").tuned({"tversky.alpha": 0.6}))
        '1.0*dice + 1.0*tversky(alpha=0.6, beta=0.4)'
        """
        if not values:  # also of a loss with weights or a module of its own, which is not made again
            return self
        changed: dict[str, Any] = dict(values)
        twin = replace(self, **changed)
        twin.name = self.name  # type: ignore[misc]  # an import path, where it was found by one
        return twin

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value}" for key, value in self.settings().items())
        return f"{self.name}({arguments})" if arguments else self.name

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.settings().items())


def arguments_of(loss: type[Loss]) -> list[Field]:
    """The arguments that a class declares for its formula, words last: what `Convention` has is every loss's."""
    declared = [item for item in fields(loss) if "meaning" in item.metadata]
    return [item for item in declared if not item.kw_only] + [item for item in declared if item.kw_only]


def _is_tunable(argument: Field) -> bool:
    return "range" in argument.metadata and not argument.kw_only


def range_of(argument: Field) -> str:
    """What an argument may be, in words."""
    if "range" in argument.metadata:
        low, high = argument.metadata["range"]
        return f"{low:g} to {high:g}"
    return _either(get_args(argument.type))


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _documented(doc: str, arguments: Sequence[Field]) -> str:
    """The docstring with the arguments as they are declared."""
    if not arguments:
        return doc
    lines = [
        f"    {item.name}: {item.metadata['meaning']}; {range_of(item)} (default {short(item.default)})."
        for item in arguments
    ]
    text, references, rest = doc.partition("References:\n")
    return text + "\n".join(["Args:", *lines, "", ""]) + references + rest


def short(default: object) -> str:
    """A default as it is printed: a number with four digits."""
    return f"{default:.4g}" if isinstance(default, float) else str(default)
