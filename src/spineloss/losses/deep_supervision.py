"""Deep supervision: logits at several resolutions, each with its target and its weight."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from spineloss.errors import UserError
from spineloss.kernels.target_maps import MapName

LevelWeights = Literal["nnunet", "monai"] | Sequence[float]
Spacing = torch.Tensor | Sequence[float] | None
Volumes = Sequence[torch.Tensor]
TargetMaps = Mapping[MapName, torch.Tensor] | None


@dataclass(frozen=True)
class SupervisedLevel:
    """What the loss of one resolution is called with."""

    logits: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None
    spacing: Spacing
    target_maps: TargetMaps


def check_level_weights(chosen: LevelWeights) -> None:
    """Refuse what are no weights.

    Raises:
        UserError: they are neither known by name nor finite numbers of at least 0, one of them above.
    """
    if isinstance(chosen, str):
        if chosen not in ("nnunet", "monai"):
            raise UserError(f"levels={chosen!r} is unknown; it is 'nnunet', 'monai' or one weight per level.")
    elif not all(0 <= weight < math.inf for weight in chosen) or not any(chosen):
        raise UserError("levels must be finite weights of at least 0, one per level, and one of them above 0.")


def level_weights(chosen: LevelWeights, count: int) -> list[float]:
    """The weight of each level, from the finest to the coarsest.

    `nnunet` is 1, 1/2, 1/4 ..., the coarsest 0, divided by their sum (nnU-Net v2); `monai` is 1, 1/2, 1/4 ... down
    to 1/16 (MONAI's DeepSupervisionLoss with weight_mode="exp").

    Raises:
        UserError: there are not as many weights as levels.

    >>> level_weights("nnunet", 3), level_weights("monai", 3)
    ([0.6666666666666666, 0.3333333333333333, 0.0], [1.0, 0.5, 0.25])
    """
    if not isinstance(chosen, str):
        if len(chosen) != count:
            raise UserError(f"levels has {len(chosen)} weights, and the logits have {count} levels.")
        return [float(weight) for weight in chosen]
    halves = [0.5**level for level in range(count)]
    if chosen == "monai":
        return [max(half, 1 / 16) for half in halves]
    if count == 1:
        return halves
    return [half / sum(halves[:-1]) for half in halves[:-1]] + [0.0]


def levels_of(
    logits: Volumes,
    target: torch.Tensor | Volumes,
    mask: torch.Tensor | Volumes | None,
    spacing: Spacing,
    target_maps: TargetMaps,
) -> Iterator[SupervisedLevel]:
    """Each level's logits with its target and mask: one of a list, or the one given at the level's resolution.

    A single target or mask is resized to the nearest voxel, and the spacing with it. Maps are those of the finest.

    Raises:
        UserError: there are no levels, or not as many targets or masks as levels, or a single one has other voxels
            than the finest logits.
    """
    if not logits:
        raise UserError("logits is an empty list; it must have one tensor per level.")
    for name, given in (("target", target), ("mask", mask)):
        if isinstance(given, list | tuple) and len(given) != len(logits):
            raise UserError(f"{name} has {len(given)} levels, and logits has {len(logits)}.")
    whole = logits[0].shape[2:]
    for name, given in (("target", target), ("mask", mask)):
        if isinstance(given, torch.Tensor):
            _check_finest(name, given.shape[-len(whole) :], whole)
    for number, seen in enumerate(logits):
        shape = seen.shape[2:]
        counted = None if mask is None else _of_level(mask, number, shape)
        truth, steps = _of_level(target, number, shape), _spacing(spacing, whole, shape)
        yield SupervisedLevel(seen, truth, counted, steps, None if number else target_maps)


def _check_finest(name: str, grid: torch.Size, whole: torch.Size) -> None:
    """Refuse what resizing would make fit, such as axes that are swapped; a mask may hold 1 along an axis."""
    fits = len(grid) == len(whole) and all(
        size == full or (size == 1 and name == "mask") for size, full in zip(grid, whole, strict=True)
    )
    if not fits:
        raise UserError(
            f"{name} must have the voxels of the finest logits, {tuple(whole)}, or be one tensor per level; it "
            f"has {tuple(grid)}."
        )


def _of_level(given: torch.Tensor | Volumes, number: int, shape: torch.Size) -> torch.Tensor:
    return _resized(given, shape) if isinstance(given, torch.Tensor) else given[number]


def _resized(volume: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The nearest voxel of each place in a grid of another shape, of any type of number."""
    for axis, size in enumerate(shape, start=volume.ndim - len(shape)):
        old = volume.shape[axis]
        if old != size:
            # In whole numbers: PyTorch's default type may count to no more than 256.
            nearest = (2 * torch.arange(size, device=volume.device) + 1) * old // (2 * size)
            volume = volume.index_select(axis, nearest)
    return volume


def _spacing(spacing: Spacing, whole: torch.Size, shape: torch.Size) -> Spacing:
    if spacing is None:
        return None
    steps = torch.as_tensor(spacing, dtype=torch.float64, device="cpu")
    return steps * steps.new_tensor([old / new for old, new in zip(whole, shape, strict=True)])
