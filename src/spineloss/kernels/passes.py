"""A pass of the C library over the voxels of a batch: sums of each sample and class, or their gradient."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from spineloss.kernels import native
from spineloss.kernels.columns import KINDS, Column
from spineloss.kernels.plain_sums import Activation

SMALL = 1 << 13  # logits below which a call into the library costs more than it saves
CHUNK = 1 << 18  # logits that a thread takes at a time
ALIGNED = 1 << 10  # voxels: no chunk but the last ends within a vector
UNCACHED = 1 << 24  # bytes that no cache holds until they are read again
MOST_CLASSES, MOST_ASKED = 512, 8

# The numbers of the types in c/tiles.h.
LOGITS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
VALUES = LOGITS | {torch.bool: 3, torch.uint8: 4}
LABELS = {torch.float32: 0, torch.bool: 3, torch.uint8: 4}
LABELS |= {torch.int8: 5, torch.int16: 6, torch.int32: 7, torch.int64: 8}


class _Batch(ctypes.Structure):
    """`batch` of c/tiles.h, where each field is described."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("logits", "target", "mask", "map", "exponents", "kinds")]
        + [(name, ctypes.c_int64) for name in ("classes", "voxels", "ignored", "asked")]
        + [
            (name, ctypes.c_int32)
            for name in (
                "logits_type",
                "target_type",
                "labels",
                "ignores",
                "softmax",
                "entropy",
                "streams",
                "bins",
            )
        ]
    )


def takes(
    logits: torch.Tensor,
    target: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> bool:
    """Whether the library is there, can read the memory of each tensor, and has each in a shape that it knows."""
    samples, *space = logits.shape[0], *logits.shape[2:]
    constants = [tensor for tensor in (target, mask, weights) if tensor is not None]
    return (
        not native.is_traced()
        and native.library() is not None
        and logits.dtype in LOGITS
        and logits.numel() >= SMALL
        and logits.shape[1] <= MOST_CLASSES
        and (target is None or target.shape in (logits.shape, (samples, *space)))
        and (mask is None or mask.shape == (samples, 1, *space))
        and (weights is None or weights.shape == logits.shape)
        and not any(tensor.requires_grad or tensor.is_complex() for tensor in constants)
        and all(native.readable(tensor) for tensor in (logits, *constants))
    )


class Pass:
    """A batch in contiguous memory and in types that the library reads.

    Args:
        logits: (N, C, *spatial), float32, float16 or bfloat16.
        target: (N, C, *spatial) in [0, 1], or labels (N, *spatial); of any type.
        mask: (N, 1, *spatial); voxels of 0 are not counted.
        weights: (N, C, *spatial), of weighted sums.
        activation: `sigmoid` or `softmax`.
        ignore: the label of voxels that are not counted.
        columns: what is summed beside what always is.
        entropy: whether the cross-entropy is summed.
        bins: of probabilities, of binned sums.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        target: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        *,
        activation: Activation,
        ignore: int | None = None,
        columns: Sequence[Column] = (),
        entropy: bool = False,
        bins: int = 0,
    ) -> None:
        labels = target is not None and target.ndim < logits.ndim
        types = LABELS if labels else VALUES
        self._logits = logits.detach().contiguous()
        if target is not None:
            target = target.detach().to(_readable_type(target, types)).contiguous()
        if mask is not None:
            mask = (mask if mask.dtype in (torch.bool, torch.uint8) else mask != 0).contiguous()
        if weights is not None:
            weights = weights.detach().float().contiguous()
        # Kept here, as the library is given nothing but their addresses.
        exponents = torch.tensor([column.exponent for column in columns], dtype=torch.float32, device="cpu")
        kinds = torch.tensor([KINDS.index(column.kind) for column in columns], dtype=torch.int32, device="cpu")
        self._volumes = (self._logits, target, mask, weights, exponents, kinds)
        self._batch = _Batch(
            *(None if volume is None else volume.data_ptr() for volume in self._volumes),
            *(logits.shape[1], logits[0, 0].numel(), int(ignore or 0), len(columns)),
            *(LOGITS[logits.dtype], 0 if target is None else types[target.dtype]),
            *(labels, ignore is not None, activation == "softmax", entropy),
            logits.dtype == torch.float32 and logits.numel() * 4 >= UNCACHED,
            bins,
        )
        self._chunks = self._cut()

    def _cut(self) -> list[tuple[int, int, int]]:
        """Sample, first and last voxel of each chunk: the same for any number of threads."""
        size = max(1, CHUNK // self._batch.classes // ALIGNED) * ALIGNED
        voxels = self._batch.voxels
        return [
            (sample, first, min(first + size, voxels))
            for sample in range(len(self._logits))
            for first in range(0, voxels, size)
        ]

    def sums(self, function: str, columns: int) -> torch.Tensor:
        """(N, C, columns) float32."""
        parts = native.memory(len(self._chunks), self._batch.classes, columns, dtype=torch.float64).zero_()
        native.in_threads(self._caller(function), *zip(*self._chunks, strict=True), _addresses(parts))
        # Added in the order of the chunks: the same digits for any number of threads.
        return parts.unflatten(0, (len(self._logits), -1)).sum(1).float()

    def each_voxel(self, function: str, channels: int) -> torch.Tensor:
        """A number of each voxel: (N, channels, voxels) float32."""
        found = native.memory(len(self._logits), channels, self._batch.voxels)
        rows = [(*chunk, found.data_ptr()) for chunk in self._chunks]
        native.in_threads(self._caller(function), *zip(*rows, strict=True))
        return found

    def gradient(self, function: str, weights: torch.Tensor) -> torch.Tensor:
        """The gradient of the sums, weighted by (N, C, columns), with respect to the logits, in their type."""
        weights = weights.float().contiguous()
        gradient = torch.empty_like(self._logits)
        of_samples, call = _addresses(weights), self._caller(function)
        rows = [(*chunk, of_samples[chunk[0]], gradient.data_ptr()) for chunk in self._chunks]
        native.in_threads(call, *zip(*rows, strict=True))
        return gradient

    def _caller(self, function: str) -> Callable[..., None]:
        return partial(getattr(native.library(), function), ctypes.byref(self._batch))


def _addresses(rows: torch.Tensor) -> range:
    """Where each row of a contiguous tensor begins; asking the tensor for each takes longer than the call."""
    bytes_of_row = rows[0].numel() * rows.element_size()
    return range(rows.data_ptr(), rows.data_ptr() + len(rows) * bytes_of_row, bytes_of_row)


def _readable_type(target: torch.Tensor, types: Mapping[torch.dtype, int]) -> torch.dtype:
    if target.dtype in types:
        return target.dtype
    return torch.float32 if target.is_floating_point() or types is VALUES else torch.int64
