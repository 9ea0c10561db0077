"""What a study is: its settings, with defaults, checked; unknown keys are refused."""

import math
import os
import re
from dataclasses import asdict
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from spineloss.data.augmentation import NNUNET
from spineloss.data.intensity import NOISE
from spineloss.data.labelling import Kind
from spineloss.errors import UserError
from spineloss.study.method import (
    CONTROLS,
    Count,
    Flag,
    LearningRate,
    Method,
    PhaseSettings,
    Settings,
    Trial,
    learning_rate,
)
from spineloss.study.yaml_text import Place, read_yaml
from spineloss.training.optimisers import OptimiserName
from spineloss.training.schedule import scaled_rate

Probability = Annotated[float, Field(strict=True, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
AXIS = 16  # the U-Net halves an axis four times
Axis = Annotated[int, Field(strict=True, ge=AXIS, multiple_of=AXIS, lt=2**31)]
PatchAxis = Annotated[int, Field(strict=True, ge=AXIS, multiple_of=8, lt=2**31)]
Label = Annotated[int, Field(strict=True, ge=1)]


class AugmentSettings(Settings):
    """Probabilities of each augmentation; those of the thesis (Table A.6) by default."""

    affine: Probability = 0.3
    """Of a random rotation (10 degrees), shift (5 %) and scaling (0.9 to 1.1), in that order."""
    noise: Probability = 0.2
    """Of added noise."""
    noise_std: Positive = NOISE
    """Its largest standard deviation; the image's is 1."""
    mixup: Probability = 1.0
    """Of MixUp of two cases."""
    mixup_alpha: Positive = 0.2
    """Alpha of MixUp's Beta(alpha, alpha)."""
    rotation: Probability = 0.0
    """Of a rotation by up to 30 degrees about each axis; of a stack of few slices, by any angle within them."""
    scaling: Probability = 0.0
    """Of structures made 0.7 to 1.4 times smaller; of a stack of few slices, within them."""
    elastic: Probability = 0.0
    """Of a smooth random deformation."""
    mirror: Probability = 0.0
    """Of mirroring, for each axis; leave it off where labels tell left from right, or a place in a row."""
    brightness: Probability = 0.0
    """Of values times 0.75 to 1.25."""
    contrast: Probability = 0.0
    """Of differences from the mean times 0.75 to 1.25."""
    gamma: Probability = 0.0
    """Of values to the power of 0.7 to 1.5; mean and standard deviation stay."""
    inverted_gamma: Probability = 0.0
    """Of the same with the values turned round."""
    blur: Probability = 0.0
    """Of a Gaussian blur by 0.5 to 1 voxel."""
    low_resolution: Probability = 0.0
    """Of a loss of resolution by up to 2."""


class Study(Settings):
    """A resolved study file; every key but `data` and `methods` has a default."""

    data: Path
    """A folder of volumes, or a CSV manifest; relative to this file."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    """What is compared: losses by their text, or mappings with the keys of a method."""
    leave_out: tuple[str, ...] = ()
    """Case ids that are not used."""
    held_out: Path | None = None
    """The `split.json` of a search: every fold validates on its held-out cases and trains on the others."""
    groups: str = "auto"
    """Finds the patient in a case id: a regular expression, or `auto`. No fold splits a patient."""
    channels: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    """The channels of the images by name, in the network's order; `auto`: all, of MyoSegmenTUM WATER alone."""
    labels: Literal["all"] | Annotated[tuple[Label, ...], Field(min_length=1)] = "all"
    """The labels that are segmented."""
    target: Kind = "merged"
    """`merged`: all in one; `exclusive`: each, by softmax; `per-label`: each alone; `regions` of dataset.json."""
    ignore: Label | None = None
    """The label of voxels that nobody annotated: they count nowhere. What `dataset.json` says, if not given."""
    grid: tuple[Axis, Axis, Axis] | None = (32, 224, 224)
    """Voxels (Z, Y, X) that every case is resampled to, the coarsest axis first; multiples of 16."""
    spacing: Literal["median", "native"] | tuple[Positive, Positive, Positive] | None = None
    """Instead of `grid`: mm (z, y, x) that cases are resampled to, the `median` of the cases', or each its own."""
    patch: tuple[PatchAxis, PatchAxis, PatchAxis] | None = None
    """With `spacing`: voxels (Z, Y, X) that the network sees at once, a patch of each case; multiples of 8."""
    network: str | dict[str, Any] = "unet"
    """`unet`, or a class of `monai.networks.nets`: its name, or a mapping of its `name` and its arguments."""
    width: Count = 64
    """Channels of the first level of the U-Net; each level below has twice as many."""
    folds: Annotated[int, Field(strict=True, ge=2, lt=2**31)] = 3
    """Of the cross-validation."""
    repeats: Count = 1
    """Trainings of each fold, on the same cases, with other initial weights and batches."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 21
    """Of every random draw."""
    epochs: Count = 100
    """Passes over the training cases, or of `steps`. The report warns where curves still rise at the end."""
    steps: Count | None = None
    """Training steps per epoch, over as many passes as they take; one pass if not given."""
    batch: Count = 4
    """Cases per training step."""
    optimiser: OptimiserName = "adam"
    """`adam`, or `sgd`: with Nesterov momentum 0.99 and weight decay 3e-5, as nnU-Net trains."""
    learning_rate: LearningRate = "auto"
    """`auto` is by the width for Adam, 0.01 for SGD; a list is chosen from, for each method, on an inner split."""
    warm_up: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0
    """Epochs in which the learning rate rises to where it starts to fall."""
    clip_gradient: Positive | None = None
    """The largest norm of the gradient, if any."""
    validate_every: Count = 5
    """Epochs from one validation to the next."""
    deterministic: Flag = True
    """On a GPU, whether every sum is added in the same order each time; without it training may be faster."""
    metrics_grid: Literal["case", "network"] = "case"
    """Where metrics are taken: on each case's own voxels, or on the network's grid, as in the thesis."""
    tolerance: Positive = 2.0
    """Of the surface Dice, in mm."""
    augment: AugmentSettings = AugmentSettings()
    """How likely each augmentation of a training case is; `nnunet` takes nnU-Net's list."""
    beside: Literal["thesis-lumbar", "thesis-cervical"] | None = None
    """Results of the thesis (Hun 2021) that the report shows beside the study's own."""
    _folder: Path = PrivateAttr(Path())

    @property
    def folder(self) -> Path:
        """Where relative paths in the texts of its losses start: the folder of its file."""
        return self._folder

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _is_a_rate(cls, value: Any) -> Any:
        return learning_rate(value)

    @field_validator("augment", mode="before")
    @classmethod
    def _is_a_list_of_augmentations(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "nnunet":
            raise ValueError(
                f"there is no list {value[:60]!r}; write nnunet, or a probability for each augmentation"
            )
        return asdict(NNUNET) if value == "nnunet" else value

    @field_validator("network")
    @classmethod
    def _has_a_name(cls, network: Any) -> Any:
        if isinstance(network, dict) and not isinstance(network.get("name"), str):
            raise ValueError("a network with arguments needs a `name`, as in {name: DynUNet, kernel_size: [3, 3]}")
        return network

    @field_validator("labels")
    @classmethod
    def _are_named_once(cls, labels: Any) -> Any:
        for label in () if labels == "all" else labels:
            if labels.count(label) > 1:
                raise ValueError(f"{label} is named twice; name each label once")
        return labels

    @field_validator("leave_out", mode="before")
    @classmethod
    def _are_texts(cls, cases: Any) -> Any:
        for case in cases if isinstance(cases, list | tuple) else ():
            if not isinstance(case, str):
                raise ValueError(
                    f"{case} is no text, and a number loses its first zeros; put each id in quotes, as in ['03']"
                )
        return cases

    @field_validator("grid", "patch")
    @classmethod
    def _is_large_enough(cls, size: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if size is not None and max(size) < 2 * AXIS:
            raise ValueError(
                f"{list(size)} leaves one voxel at the network's coarsest level, which cannot be normalised; "
                f"make an axis {2 * AXIS}"
            )
        return size

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
            return (scaled_rate(self.width, self.optimiser),)
        return tuple(sorted(set(rate))) if isinstance(rate, tuple) else (rate,)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every row of the table; a method comes before its controls, which may read its weights."""
        return tuple(
            Trial(method, control)
            for method in self.methods
            for control in (None, *(CONTROLS[method.adapts] if method.controls and method.adapts else ()))
        )

    @property
    def input(self) -> tuple[int, int, int]:
        """Voxels (Z, Y, X) that the network sees at once: the grid, or the patch."""
        return self.grid or self.patch

    @model_validator(mode="before")
    @classmethod
    def _grid_or_spacing(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        spacing, patch = (values.get(key) is not None for key in ("spacing", "patch"))
        if spacing and values.get("grid") is not None:
            raise ValueError("a study has a grid or a spacing; remove `grid` or `spacing`")
        if spacing != patch:
            raise ValueError("`spacing` and `patch` belong together; add the other, as in `patch: [16, 128, 128]`")
        if not spacing and "grid" in values and values["grid"] is None:
            raise ValueError("without a `grid` a study needs `spacing` and `patch`")
        return values | {"grid": None} if spacing else values

    @model_validator(mode="after")
    def _warm_up_ends(self) -> "Study":
        if self.warm_up >= self.epochs:
            raise ValueError(
                f"warm_up is {self.warm_up} of {self.epochs} epochs; make it shorter, or train longer"
            )
        return self

    @model_validator(mode="after")
    def _phases_fit(self) -> "Study":
        for method in self.methods:
            epochs = [phase.epochs for phase in method.phases]
            if not epochs:
                continue
            if self.network != "unet":
                raise ValueError(
                    f"{method.name}: phases are of `network: unet`, whose encoder and decoder are known"
                )
            if sum(epochs) != self.epochs:
                raise ValueError(
                    f"{method.name}: its phases have {sum(epochs)} epochs and the study {self.epochs}; make them "
                    "equal, so that all methods train as long"
                )
            if self.warm_up >= min(epochs):
                raise ValueError(
                    f"{method.name}: warm_up is {self.warm_up} epochs of each phase, and one has {min(epochs)}; "
                    "make it shorter"
                )
        return self

    @model_validator(mode="after")
    def _regions_have_their_labels(self) -> "Study":
        if self.target == "regions" and self.labels != "all":
            raise ValueError("labels: regions are made of those that dataset.json says; leave `labels` out")
        return self

    @model_validator(mode="after")
    def _methods_differ(self) -> "Study":
        names = [trial.name for trial in self.trials]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two methods are named {name!r}; give one of them another `name`")
        return self

    def steps_for(self, cases: int) -> int:
        """Training steps per epoch on so many cases."""
        return self.steps or math.ceil(cases / self.batch)

    def plain(self) -> dict[str, Any]:
        """The settings as plain data, as they are written to `study.yaml`."""
        return self.model_dump(mode="json")

    def training(self) -> dict[str, Any]:
        """What every run shares and a finished run depends on: all but where the data lies and the methods."""
        # Which cases are held out is in the study's folds; repeats can be added.
        others = ("data", "held_out", "methods", "repeats", "beside")
        return {key: value for key, value in self.plain().items() if key not in others}

    def signed(self) -> dict[str, Any]:
        """What of `training` differs from its default: a key that a later version adds leaves runs done."""
        differing = self.model_dump(mode="json", exclude_defaults=True)
        return {key: differing[key] for key in self.training() if key in differing}


LONGEST = 400  # characters of what is said about a mistake
PRESETS = ("cervical", "demo", "lumbar", "nnunet")


def load(
    source: str | Path, overrides: dict[str, Any] | None = None, defaults: dict[str, Any] | None = None
) -> Study:
    """Read a study from a file, or from a preset's name, and check it.

    A file may build on a preset: `preset: lumbar`. Relative paths in it start from its folder, those in the texts
    of its losses too; those in `overrides` start from the working directory.

    Args:
        source: path of a YAML file, or one of `PRESETS`.
        overrides: settings that win over the file's.
        defaults: settings that the file's, and a preset's, win over.

    Raises:
        UserError: no such file, not YAML, an unknown key, or a value out of range.
    """
    path = Path(source)
    lines: dict[Place, int] = {}
    if source in PRESETS and not os.path.exists(path):  # Path.exists raises for a name that is too long
        settings: dict[str, Any] = {"preset": source}
    elif os.path.isfile(path):
        settings, lines = read_yaml(path)
    else:
        raise UserError(f"{path} is not a study file, nor a preset ({', '.join(PRESETS)}).")
    for key in ("data", "held_out"):
        if isinstance(settings.get(key), str):
            settings[key] = str(path.parent / settings[key])
    folder = path.parent
    if overrides:
        settings |= overrides
        # What replaces the file's methods was not written beside it.
        folder = Path() if "methods" in overrides else folder
        lines = {place: line for place, line in lines.items() if place[0] not in overrides}
    if "preset" in settings:
        preset = _preset(settings["preset"], source)
        if "width" in settings:
            # A preset's learning rate is for its own width.
            preset.pop("learning_rate", None)
        if "spacing" in settings:
            preset.pop("grid", None)
        settings = preset | {key: value for key, value in settings.items() if key != "preset"}
    settings = (defaults or {}) | settings
    return check(settings, source, folder, lines)


def check(
    settings: dict[str, Any], source: str | Path, folder: Path = Path(), lines: dict[Place, int] | None = None
) -> Study:
    """Settings as a `Study`; a mistake raises `UserError` in one sentence that names `source` and the line.

    Args:
        settings: by key.
        source: what a message names.
        folder: where relative paths in the texts of losses start.
        lines: of the places in `settings`.
    """
    try:
        study = Study.model_validate(settings, context={"folder": folder})
    except ValidationError as error:
        found = error.errors()[0]
        places = [found["loc"][:end] for end in range(len(found["loc"]), 0, -1)]
        line = next((lines[place] for place in places if lines and place in lines), None)
        raise UserError(f"{source}{f', line {line}' if line else ''}: {_sentence(found)[:LONGEST]}") from error
    study._folder = folder
    return study


def _preset(name: Any, source: str | Path) -> dict[str, Any]:
    if name not in PRESETS:
        raise UserError(f"{source}: there is no preset {str(name)[:60]!r}; the presets are {', '.join(PRESETS)}.")
    with as_file(files("spineloss") / "presets" / f"{name}.yaml") as path:
        return read_yaml(path)[0]


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        known = list(_model_at(error["loc"]).model_fields)
        near = get_close_matches(key, known, n=1, cutoff=0.0)[0]
        return f"unknown key {place!r}; the nearest known one is {near!r}."
    if error["type"] == "missing":
        return f"the key {place!r} is missing: add it."
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}: {message}." if place else f"{message}."


def _model_at(location: tuple[int | str, ...]) -> type[Settings]:
    if location[0] == "augment":
        return AugmentSettings
    if "phases" in location:
        return PhaseSettings
    return Method if location[0] == "methods" else Study
