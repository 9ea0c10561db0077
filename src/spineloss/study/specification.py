"""What a study is: the settings of its file, with defaults, checked; unknown keys are refused."""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spineloss.errors import UserError

Probability = Annotated[float, Field(ge=0, le=1)]
Axis = Annotated[int, Field(ge=16, multiple_of=16)]


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
    """One row of the table: a loss, by its text, and the name it is shown by."""

    loss: str
    name: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        value = {"loss": value} if isinstance(value, str) else value
        if isinstance(value, dict) and "loss" in value:
            return {"name": value["loss"], **value}
        return value

    @field_validator("loss")
    @classmethod
    def _parses(cls, text: str) -> str:
        from spineloss.losses import parse

        parse(text)
        return text

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("a method's name must not be empty")
        return name


class Study(Settings):
    """A resolved study file; every key but `data` and `methods` has a default."""

    data: Path
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    leave_out: tuple[str, ...] = ()
    labels: Literal["all"] | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = "all"
    target: Literal["merged", "per-label"] = "merged"
    grid: tuple[Axis, Axis, Axis] = (32, 224, 224)
    network: str = "unet"
    width: Annotated[int, Field(ge=1)] = 64
    folds: Annotated[int, Field(ge=2)] = 3
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 21
    epochs: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=1)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    clip_gradient: Annotated[float, Field(gt=0)] | None = None
    validate_every: Annotated[int, Field(ge=1)] = 5
    metrics_grid: Literal["case", "network"] = "case"
    tolerance: Annotated[float, Field(gt=0)] = 2.0
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _methods_differ(self) -> "Study":
        names = [method.name for method in self.methods]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two methods are named {name!r}; give one of them another `name`")
        return self

    def plain(self) -> dict[str, Any]:
        """The settings as plain data, as they are written to `study.yaml`."""
        return self.model_dump(mode="json")

    def training(self) -> dict[str, Any]:
        """What every run shares and a finished run depends on: all but where the data lies and the methods."""
        return {key: value for key, value in self.plain().items() if key not in ("data", "methods")}


PRESETS = ("cervical", "demo", "lumbar")


def load(source: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study from a file, or from a preset's name, and check it.

    A file may build on a preset: `preset: lumbar`. A relative `data` in a file is relative to that file.

    Args:
        source: path of a YAML file, or one of `PRESETS`.
        overrides: settings that win over the file's.

    Raises:
        UserError: no such file, not YAML, an unknown key, or a value out of range.
    """
    settings = _read(source)
    if "preset" in settings:
        settings = _preset(settings["preset"], source) | {k: v for k, v in settings.items() if k != "preset"}
    settings |= overrides or {}
    return check(settings, source)


def check(settings: dict[str, Any], source: str | Path) -> Study:
    """Settings as a `Study`; a mistake is told in one sentence that names `source`."""
    try:
        return Study.model_validate(settings)
    except ValidationError as error:
        raise UserError(f"{source}: {_sentence(error.errors()[0])}") from error


def _read(source: str | Path) -> dict[str, Any]:
    if source in PRESETS and not Path(source).exists():
        return _preset(str(source), source)
    path = Path(source)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a study file, nor a preset ({', '.join(PRESETS)}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UserError(f"{path} is not valid YAML{line}: mend it there.") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings: write `key: value` lines, such as `data: path/to/volumes`.")
    if isinstance(settings.get("data"), str):
        settings["data"] = str(path.parent / settings["data"])
    return settings


def _preset(name: Any, source: str | Path) -> dict[str, Any]:
    if name not in PRESETS:
        raise UserError(f"{source}: there is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return yaml.safe_load((files("spineloss") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


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
