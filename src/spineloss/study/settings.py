"""What a study is: the settings of its file, with defaults, checked; unknown keys are refused."""

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spineloss.errors import UserError
from spineloss.training.schedule import scaled_rate

Probability = Annotated[float, Field(ge=0, le=1)]
Axis = Annotated[int, Field(ge=16, multiple_of=16)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# One rate; several, to choose from on an inner split of each fold's training cases; or the rule of `scaled_rate`.
LearningRate = Literal["auto"] | Rate | Annotated[tuple[Rate, ...], Field(min_length=2)]


class Settings(BaseModel):
    """Plain, frozen settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentSettings(Settings):
    """Probabilities of each augmentation (Table A.6), and alpha of MixUp's Beta(alpha, alpha)."""

    affine: Probability = 0.3
    noise: Probability = 0.2
    mixup: Probability = 1.0
    mixup_alpha: Annotated[float, Field(gt=0)] = 0.2


class Method(Settings):
    """A loss, by its text, and how it changes while training: what a study compares.

    `weighting` is the text of a policy, whose prior are the loss's own weights; `tuning` that of a search of the
    loss's parameters, which starts from its own. `controls` adds trials that tell whether adapting is what helped.
    `learning_rate` is the study's if none is given.
    """

    loss: str
    name: str = ""
    weighting: str | None = None
    tuning: str | None = None
    controls: bool = False
    learning_rate: LearningRate | None = None

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _is_a_rate(cls, value: Any) -> Any:
        return None if value is None else _rate(value)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        value = {"loss": value} if isinstance(value, str) else value
        if isinstance(value, dict) and "loss" in value:
            named = " / ".join(str(value[key]) for key in ("loss", "weighting", "tuning") if value.get(key))
            return {"name": named, **value}
        return value

    @field_validator("loss")
    @classmethod
    def _parses(cls, text: str) -> str:
        from spineloss.text import parse

        parse(text)
        return text

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("a method's name must not be empty")
        return name

    @property
    def adapts(self) -> Literal["weights", "parameters"] | None:
        """What of its loss changes while training."""
        if self.tuning is not None:
            return "parameters"
        return None if self.weighting is None else "weights"

    @model_validator(mode="after")
    def _can_be_tuned(self) -> "Method":
        from spineloss.text import parse
        from spineloss.training.greedy import parse_search

        if self.tuning is None:
            return self
        if self.weighting is not None:
            raise ValueError(f"{self.name}: it has a weighting and a tuning; a run can have one of them")
        parse_search(self.tuning).check(parse(self.loss))
        return self

    @model_validator(mode="after")
    def _can_be_weighed(self) -> "Method":
        from spineloss.losses import WeightedSum
        from spineloss.text import parse
        from spineloss.weighting import Rebalance, Static, parse_weighting

        policy = None if self.weighting is None else parse_weighting(self.weighting, epoch=1, run=1)
        if self.controls and (self.adapts is None or isinstance(policy, Static)):
            raise ValueError(f"{self.name}: controls are of an adaptive weighting or a tuning, and it has none")
        if policy is None:
            return self
        loss = parse(self.loss)
        if not isinstance(loss, WeightedSum):
            raise ValueError(f"{self.name}: {self.loss} is one term; a weighting needs a sum of two or more")
        policy.init(loss.names, loss.weights)
        distance = [bool(term.needs) for term in loss.losses]
        if isinstance(policy, Rebalance) and any(distance) and not distance[-1]:
            raise ValueError(f"{self.name}: rebalance raises the last term; write the distance loss last")
        return self


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


class Study(Settings):
    """A resolved study file; every key but `data` and `methods` has a default.

    `held_out` is the `split.json` of a search: every fold then validates on its held-out cases and trains on the
    others, with other initial weights and batches. `repeats` trains each fold that often, on the same cases, with
    other initial weights and batches. `groups` finds the patient in a case id, see `spineloss.data.groups`.
    `beside` names results of the thesis (Hun 2021) that the report shows beside the study's own.
    """

    data: Path
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    leave_out: tuple[str, ...] = ()
    held_out: Path | None = None
    groups: str = "auto"
    labels: Literal["all"] | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = "all"
    target: Literal["merged", "per-label"] = "merged"
    grid: tuple[Axis, Axis, Axis] = (32, 224, 224)
    network: str = "unet"
    width: Annotated[int, Field(ge=1)] = 64
    folds: Annotated[int, Field(ge=2)] = 3
    repeats: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 21
    epochs: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=1)] = 4
    learning_rate: LearningRate = "auto"
    clip_gradient: Annotated[float, Field(gt=0)] | None = None
    validate_every: Annotated[int, Field(ge=1)] = 5
    metrics_grid: Literal["case", "network"] = "case"
    tolerance: Annotated[float, Field(gt=0)] = 2.0
    augment: AugmentSettings = AugmentSettings()
    beside: Literal["thesis-lumbar", "thesis-cervical"] | None = None

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _is_a_rate(cls, value: Any) -> Any:
        return _rate(value)

    @field_validator("groups")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
        return pattern

    def rates(self, method: Method) -> tuple[float, ...]:
        """The learning rates that a method is trained with: one, or several to choose from, smallest first."""
        rate = self.learning_rate if method.learning_rate is None else method.learning_rate
        if rate == "auto":
            return (scaled_rate(self.width),)
        return tuple(sorted(set(rate))) if isinstance(rate, tuple) else (rate,)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every row of the table; a method comes before its controls, which may read its weights."""
        return tuple(
            Trial(method, control)
            for method in self.methods
            for control in (None, *(CONTROLS[method.adapts] if method.controls and method.adapts else ()))
        )

    @model_validator(mode="after")
    def _methods_differ(self) -> "Study":
        names = [trial.name for trial in self.trials]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two methods are named {name!r}; give one of them another `name`")
        return self

    def plain(self) -> dict[str, Any]:
        """The settings as plain data, as they are written to `study.yaml`."""
        return self.model_dump(mode="json")

    def training(self) -> dict[str, Any]:
        """What every run shares and a finished run depends on: all but where the data lies and the methods."""
        # Which cases are held out is in the study's folds; repeats can be added.
        others = ("data", "held_out", "methods", "repeats", "beside")
        return {key: value for key, value in self.plain().items() if key not in others}


PRESETS = ("cervical", "demo", "lumbar")


def load(source: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study from a file, or from a preset's name, and check it.

    A file may build on a preset: `preset: lumbar`. Relative `data` and `held_out` start from that file.

    Args:
        source: path of a YAML file, or one of `PRESETS`.
        overrides: settings that win over the file's.

    Raises:
        UserError: no such file, not YAML, an unknown key, or a value out of range.
    """
    settings = _read(source)
    settings |= overrides or {}
    if "preset" in settings:
        preset = _preset(settings["preset"], source)
        if "width" in settings:
            # A preset's learning rate is for its own width.
            preset.pop("learning_rate", None)
        settings = preset | {key: value for key, value in settings.items() if key != "preset"}
    return check(settings, source)


def check(settings: dict[str, Any], source: str | Path) -> Study:
    """Settings as a `Study`; a mistake raises `UserError` in one sentence that names `source`."""
    try:
        return Study.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {_sentence(error.errors()[0])}") from error


def _read(source: str | Path) -> dict[str, Any]:
    if source in PRESETS and not Path(source).exists():
        return {"preset": source}
    path = Path(source)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a study file, nor a preset ({', '.join(PRESETS)}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UserError(f"{path} is not valid YAML{line}: fix it there.") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings: write `key: value` lines, such as `data: path/to/volumes`.")
    for key in ("data", "held_out"):
        if isinstance(settings.get(key), str):
            settings[key] = str(path.parent / settings[key])
    return settings


def _preset(name: Any, source: str | Path) -> dict[str, Any]:
    if name not in PRESETS:
        raise UserError(f"{source}: there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return yaml.safe_load((files("spineloss") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


def _rate(value: Any) -> Any:
    """`auto`, a number or a tuple of them; YAML reads 1e-3, without a dot, as a text."""
    if value == "auto":
        return value
    if not isinstance(value, list | tuple):
        return _number(value)
    if len(value) < 2:
        raise ValueError("a list of learning rates to choose from needs two or more; write one as a number")
    return tuple(_number(rate) for rate in value)


def _number(value: Any) -> float:
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"{value!r} is no learning rate; write auto, a number above 0, or a list of numbers")
    return rate


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        known = list(_model_at(error["loc"]).model_fields)
        near = get_close_matches(key, known, n=1, cutoff=0.0)[0]
        return f"unknown key {place!r}; the nearest known one is {near!r}."
    if error["type"] == "missing":
        return f"the key {place!r} is missing: add it."
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}." if place else f"{message}."


def _model_at(location: tuple[int | str, ...]) -> type[Settings]:
    if location[0] == "augment":
        return AugmentSettings
    return Method if location[0] == "methods" else Study
