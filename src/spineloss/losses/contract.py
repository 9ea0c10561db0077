"""The contract of a call: what logits, target and mask may be, and one error that names the one that is not."""

from collections.abc import Mapping, Sequence
from typing import get_args

import torch

from spineloss.errors import UserError
from spineloss.kernels.plain_sums import can_be
from spineloss.kernels.target_maps import MapName
from spineloss.losses.convention import Convention


def read(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, convention: Convention
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The arguments of a call as plain tensors of known shapes.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial), regions (N, C + 1, *spatial) with what is ignored last, or labels
            (N, 1, *spatial) or (N, *spatial).
        mask: (N, 1 or C, *spatial) or (N, *spatial); 0 ignores a voxel.
        convention: how they are read.

    Returns:
        Logits; volumes (N, C, *spatial) or labels (N, *spatial); and a mask (N, 1 or C, *spatial), or none where
        all voxels count but those of the label `ignore`.

    Raises:
        UserError: types, devices or shapes do not fit; the message names the argument.
    """
    logits, target = _tensor("logits", logits), _tensor("target", target)
    mask = None if mask is None else _tensor("mask", mask)
    _check_logits(logits, convention)
    for name, given in (("target", target), ("mask", mask)):
        if given is not None and given.device != logits.device:
            raise UserError(f"{name} is on {given.device}, and logits on {logits.device}: move one to the other.")
    if mask is not None:
        mask = _read_mask(mask, logits, convention)
    return logits, *_read_target(target, mask, logits, convention)


def check_spacing(spacing: torch.Tensor | Sequence[float] | None, logits: torch.Tensor) -> None:
    """Refuse what is no spacing of the logits' axes.

    Raises:
        UserError: it is neither (D,) nor (N, D), or not finite and above 0.
    """
    if spacing is None:
        return
    steps, axes = torch.as_tensor(spacing, device="cpu"), logits.ndim - 2
    if tuple(steps.shape) not in ((axes,), (1, axes), (len(logits), axes)):
        raise UserError(
            f"spacing must be ({axes},) or ({len(logits)}, {axes}) for these logits; it is {tuple(steps.shape)}."
        )
    if not ((steps > 0) & steps.isfinite()).all():
        raise UserError(f"spacing must be finite and above 0 along every axis; it is {steps.tolist()}.")


def check_target_maps(target_maps: Mapping[MapName, torch.Tensor] | None, logits: torch.Tensor) -> None:
    """Refuse what are no maps of a target of the logits' shape.

    Raises:
        UserError: a name is unknown, or a shape or device differs from the logits'.
    """
    for name, given in (target_maps or {}).items():
        if name not in get_args(MapName):
            raise UserError(f"target_maps has {name!r}; it may have {', '.join(get_args(MapName))}.")
        found = _tensor(f"target_maps[{name!r}]", given)
        if found.shape != logits.shape or found.device != logits.device:
            raise UserError(
                f"target_maps[{name!r}] must be {tuple(logits.shape)} on {logits.device}, as logits; it is "
                f"{tuple(found.shape)} on {found.device}."
            )


def _tensor(name: str, given: torch.Tensor) -> torch.Tensor:
    if not isinstance(given, torch.Tensor):
        raise UserError(f"{name} must be a torch.Tensor; it is {type(given).__name__}.")
    if given.is_complex():
        raise UserError(f"{name} must be real; it is {given.dtype}.")
    if given.dtype in (torch.uint16, torch.uint32, torch.uint64):  # PyTorch computes with few of them
        given = given.to(torch.int64)
    # Subclasses such as MONAI's MetaTensor would carry their metadata through every operation.
    return given if type(given) is torch.Tensor else given.as_subclass(torch.Tensor)


def _check_logits(logits: torch.Tensor, convention: Convention) -> None:
    if not logits.is_floating_point():
        raise UserError(f"logits must be of a floating type, before the activation; they are {logits.dtype}.")
    if logits.ndim < 3 or not logits.numel():
        raise UserError(f"logits must be (N, C, *spatial), none of them 0; they are {tuple(logits.shape)}.")
    classes, weights = logits.shape[1], convention.class_weights
    if classes < 2 and convention.activation == "softmax":
        raise UserError("activation='softmax' needs two channels of logits or more: take 'sigmoid' for one.")
    if classes < 2 and not convention.background:
        raise UserError("background=False leaves nothing of logits with one channel.")
    if weights is not None and len(weights) != classes:
        raise UserError(f"class_weights has {len(weights)} numbers, and logits has {classes} channels.")
    if weights is not None and not convention.background and not any(weights[1:]):
        raise UserError("background=False leaves nothing of class_weights that are 0 but for the background.")


def _read_mask(mask: torch.Tensor, logits: torch.Tensor, convention: Convention) -> torch.Tensor:
    samples, classes, *grid = logits.shape
    if list(mask.shape) == [samples, *grid]:
        mask = mask[:, None]
    channels = {1} if convention.activation == "softmax" else {1, classes}
    fits = mask.ndim == logits.ndim and mask.shape[1] in channels
    wanted = [samples, mask.shape[1] if fits else 1, *grid]
    if not fits or any(size not in (1, full) for size, full in zip(mask.shape, wanted, strict=True)):
        one_of = " or ".join(str((samples, each, *grid)) for each in sorted(channels))
        raise UserError(f"mask must be {one_of} for these logits; it is {tuple(mask.shape)}.")
    return mask.expand(wanted)


def _read_target(
    target: torch.Tensor, mask: torch.Tensor | None, logits: torch.Tensor, convention: Convention
) -> tuple[torch.Tensor, torch.Tensor | None]:
    samples, classes, *grid = logits.shape
    shape, exclusive = list(target.shape), convention.activation == "softmax"
    if shape == [samples, *grid] or (classes > 1 and shape == [samples, 1, *grid]):
        labels = target.reshape(samples, *grid)
        if classes > 1:
            return labels, mask
        target = labels[:, None]
    elif convention.ignore is not None and not exclusive and shape == [samples, classes + 1, *grid]:
        return target[:, :-1], _both(target[:, -1:] == 0, mask)
    elif shape != list(logits.shape):
        raise UserError(
            f"target must have the shape of logits, {tuple(logits.shape)}, or be labels {(samples, 1, *grid)} or "
            f"{(samples, *grid)}; it is {tuple(shape)}."
        )
    if convention.ignore is None or not can_be(target.dtype, convention.ignore):
        return target, mask
    known = target != convention.ignore
    return target, _both(known.all(1, keepdim=True) if exclusive else known, mask)


def _both(counted: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return counted if mask is None else counted & (mask != 0)
