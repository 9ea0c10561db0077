"""Odd tensors against the compiled passes: they give what plain operations give, or both refuse.

Shapes, strides, offsets, types, devices and bits are drawn at random; few calls are as a training makes them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from fuzz.harness import Silent
from spineloss.kernels import native, passes
from spineloss.kernels.binned_sums import binned_sums
from spineloss.kernels.columns import KINDS, Column
from spineloss.kernels.distance_transform import signed_distance_maps
from spineloss.kernels.level_sums import level_sum
from spineloss.kernels.voxel_sums import sums_of
from spineloss.kernels.weighted_sums import weighted_error_sum, weighted_sum

LOGITS = (torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64)
TYPES = (*LOGITS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
TOLERANCE = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float64: 1e-4}
FOCAL = [Column("entropy", gamma) for gamma in (0.0, 0.5, 1.45, 2.0)]
ASKED = ([], FOCAL[:1], FOCAL[3:], FOCAL[:3], [Column(kind, 1.5) for kind in KINDS])

Result = tuple[torch.Tensor, ...] | None  # values and gradient, or refused


def prepare(folder: Path) -> None:
    """Nothing: each call is made from random numbers alone."""


def attempt(prepared: None, random: np.random.Generator, folder: Path) -> None:
    """One call of a function of the kernels with odd tensors, by C and by plain operations."""
    torch.manual_seed(int(random.integers(2**31)))
    function, logits, constants, settings = odd_call(random)
    with mock.patch.object(passes, "SMALL", 1):
        found = outcome(function, logits, constants, settings)
    with mock.patch.object(native, "library", lambda: None):
        expected = outcome(function, logits, constants, settings)
    compare(found, expected, logits.dtype)


def odd_call(random: np.random.Generator) -> tuple[Callable[..., Any], torch.Tensor, list[Any], dict[str, Any]]:
    """A function of (logits, *constants, **settings)."""
    activation = str(random.choice(["sigmoid", "softmax"]))
    samples, classes = int(random.integers(1, 4)), int(random.choice([1, 2, 3, 6, 40]))
    space = tuple(int(size) for size in random.integers(1, 20, random.integers(1, 4)))
    shape = (samples, classes, *space)
    logits = odd(values(random, LOGITS[random.integers(len(LOGITS))], shape), random)
    labels = random.random() < 0.5
    ignore = [None, 0, 2, 255, -1, -100][random.integers(6)] if labels else None
    if labels:
        classes_of = torch.randint(-1, classes + 2, (samples, *space)) * (torch.rand(samples, *space) < 0.8)
        target = cast(classes_of, TYPES[random.integers(len(TYPES))])
    elif random.random() < 0.5:
        target = cast((torch.rand(shape) < 0.3).float(), TYPES[random.integers(len(TYPES))])
    else:
        target = torch.rand(shape).to(LOGITS[random.integers(len(LOGITS))])
    target = odd(target, random)
    kind = random.choice(["sums", "sums", "sums", "binned", "weighted", "error", "level", "distances"])
    if kind == "distances":
        spacing = random.uniform(0.3, 5.0, len(space)).tolist() if random.random() < 0.5 else None
        return distances, logits, [spacing], {}
    if kind in ("sums", "binned"):
        mask = None
        if random.random() < 0.5:
            channels = classes if activation == "sigmoid" and random.random() < 0.3 else 1
            mask = odd(
                (torch.rand(samples, channels, *space) < 0.6).to(TYPES[random.integers(len(TYPES))]), random
            )
            if mask.device == logits.device and mask.shape[2:] == logits.shape[2:] and random.random() < 0.3:
                logits = torch.where(mask == 0, torch.nan, logits)
        if kind == "binned":
            return binned, logits, [target, mask], {"activation": activation, "ignore": ignore}
        asked = ASKED[random.integers(len(ASKED))]
        return columns, logits, [target, mask], {"activation": activation, "ignore": ignore, "columns": asked}
    weights = odd((10 * torch.randn(shape)).to(LOGITS[random.integers(len(LOGITS))]), random)
    if kind == "level":
        # Next to 0 in both, the formula magnifies the rounding of either way.
        return level_sum, logits, [torch.where(weights < 0, weights - 1, weights + 1)], {"activation": activation}
    if kind == "weighted":
        return weighted_sum, logits, [weights], {"activation": activation}
    return weighted_error_sum, logits, [target, weights], {"activation": activation}


def distances(logits: torch.Tensor, spacing: list[float] | None) -> torch.Tensor:
    """Signed distance maps, which have no gradient, beside logits that have."""
    return signed_distance_maps(logits, spacing) + logits.nan_to_num(0).clamp(-1, 1)


def columns(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, **settings: Any
) -> torch.Tensor:
    """All sums side by side: (N, C, columns)."""
    sums = sums_of(logits, target, mask, **settings)
    single = (sums.counted, sums.outside, sums.overlap, sums.predicted, sums.true, sums.squared_error)
    return torch.stack([*single, *sums.columns.values()], 2)


def binned(logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, **settings: Any) -> torch.Tensor:
    """Voxels and errors of all bins together, (N, C, 2): whatever rounding moves from one bin to the next."""
    sums = binned_sums(logits, target, mask, bins=19, **settings)
    return torch.stack([each.sum(2) for each in sums], 2)


def values(random: np.random.Generator, kind: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Logits of ordinary, small and huge scales, sometimes with a NaN of odd bits."""
    logits = (float(random.choice([1e-3, 1.0, 5.0, 60.0])) * torch.randn(shape)).to(kind)
    if random.random() < 0.1 and kind == torch.float32:
        payload = int(random.integers(1, 2**22))
        logits.view(torch.int32).view(-1)[int(random.integers(logits.numel()))] = 0x7FC00000 | payload
    return logits


def cast(tensor: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """In another type; booleans sometimes as a view of bytes other than 0 and 1."""
    if kind == torch.bool and torch.rand(()) < 0.5:
        return ((tensor > 0).to(torch.uint8) * 7).view(torch.bool)
    return tensor.to(kind)


def odd(tensor: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """The same values, or nearly the same shape, in another place of memory."""
    match random.integers(10):
        case 0:
            return tensor.transpose(-1, 0).contiguous().transpose(-1, 0)
        case 1:
            return torch.cat([tensor, tensor], -1)[..., : tensor.shape[-1]]
        case 2:
            return tensor.repeat_interleave(2, -1)[..., ::2]
        case 3:  # not aligned to a vector
            return torch.cat([tensor.new_zeros(3), tensor.reshape(-1)])[3:].view(tensor.shape)
        case 4:
            return tensor[:1].expand_as(tensor)
        case 5 if random.random() < 0.3:
            return tensor.to("meta")
        case 6 if random.random() < 0.3:  # of another shape
            return tensor[:, :1] if tensor.ndim > 2 else tensor[..., :-1]
        case 7 if random.random() < 0.3:
            return tensor[..., :0]
        case _:
            return tensor


def outcome(
    function: Callable[..., Any], logits: torch.Tensor, constants: list[Any], settings: dict[str, Any]
) -> Result:
    """Values and gradient, or None if the call is refused."""
    leaf = logits.detach().requires_grad_()
    try:
        sums = function(leaf, *constants, **settings)
        mix = torch.linspace(0.5, 2, sums.numel(), dtype=sums.dtype).view_as(sums)
        (gradient,) = torch.autograd.grad((mix * sums).sum(), leaf)
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
        return None
    return sums.detach(), gradient


def compare(found: Result, expected: Result, kind: torch.dtype) -> None:
    """Raises `Silent` where they differ beyond the precision of the logits."""
    if (found is None) != (expected is None):
        raise Silent(f"{'refused' if found is None else 'taken'} by the library alone")
    for mine, theirs in zip(found or (), expected or (), strict=True):
        if mine.is_meta or not mine.numel():
            continue
        mine, theirs, near = mine.double().flatten(1), theirs.double().flatten(1), TOLERANCE[kind]
        if not torch.equal(mine.isnan().any(1), theirs.isnan().any(1)):
            raise Silent("another sample is NaN")
        # In a sample with NaN, plain operations multiply it by targets of 0, too.
        mine, theirs = (torch.where(theirs.isnan(), torch.nan, side) for side in (mine, theirs))
        scale = max(1.0, theirs.abs().nan_to_num(0, 0).max().item())
        if not torch.allclose(mine, theirs, rtol=near, atol=near * scale, equal_nan=True):
            raise Silent(f"{mine} in place of {theirs}")
