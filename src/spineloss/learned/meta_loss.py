"""A loss that is a small network: from each voxel and a few counts to a number that is not negative."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn
from torch.func import jvp
from torch.nn import functional

from spineloss.errors import UserError
from spineloss.files import write_tensors
from spineloss.grammar import shortened
from spineloss.losses import Loss
from spineloss.losses.inputs import Inputs
from spineloss.losses.region import SMOOTH
from spineloss.seeding import seed_of, seeded

HIDDEN = 16  # units per layer
STATISTICS = 5  # of a sample's channel, that every voxel is seen with
PIECE = 1 << 13  # voxels taken at a time when learning
DIGITS = 16  # of a digest in a text: 64 bits
LARGEST = 1 << 20  # bytes of a file


class MetaLoss(Loss):
    """A meta-loss network: mean over the voxels of softplus(f(m, y, s)), plus softplus(r(s)).

    m = (2 Y - 1) logit is a voxel's margin and y its target; s are the sample's Dice, precision and recall and its
    true and predicted shares of the volume. f (two hidden layers, and its inputs past them) and r (one) are
    perceptrons. So the value depends neither on a voxel's place nor on the volume's size nor on the batch.
    Without a file its weights are random, and to be learned.

    Args:
        seed: of the random weights.

    References:
        Bechtle et al., Meta-learning via learned loss, ICPR 2020.
    """

    name = "meta"

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        with seeded(seed_of(self.seed, "meta-loss")):
            self.voxel = nn.Linear(2, HIDDEN)
            self.context = nn.Linear(STATISTICS, HIDDEN, bias=False)
            self.second = nn.Linear(HIDDEN, HIDDEN)
            self.last = nn.Linear(HIDDEN, 1)
            self.past = nn.Linear(2, 1, bias=False)
            self.counts = nn.Linear(STATISTICS, HIDDEN)
            self.region = nn.Linear(HIDDEN, 1)
        self.file: Path | None = None
        self.digest = ""

    def values(self, inputs: Inputs) -> torch.Tensor:
        statistics = _statistics(inputs)
        voxels = self._voxels(_margin(inputs, inputs.log_odds), inputs.truth.flatten(2), statistics)
        return inputs.mean(voxels.reshape(inputs.logits.shape)) + self._region(statistics)

    def add_slope_gradient(
        self, logits: torch.Tensor, direction: torch.Tensor, target: torch.Tensor, scale: float
    ) -> None:
        """Add to the weights' gradients those of the loss's slope in the logits along a direction.

        The statistics and their own slope depend on no weight, so the voxels are taken piece by piece: the memory
        is that of one piece.

        Args:
            logits: (N, C, *spatial).
            direction: likewise; how the logits move.
            target: likewise, in [0, 1].
            scale: what the gradients are multiplied by.
        """
        inputs = Inputs(logits, target)
        statistics, change = jvp(lambda moved: _statistics(Inputs(moved, target)), (logits,), (direction,))
        margin, turn = _margin(inputs, logits), _margin(inputs, direction)
        seen = inputs.truth.flatten(2)
        samples, channels, voxels = margin.shape
        scale = scale / (samples * channels)
        _, slope = jvp(self._region, (statistics,), (change,))
        (scale * slope.sum()).backward()
        length = max(1, PIECE // (samples * channels))
        for start in range(0, voxels, length):
            part = slice(start, start + length)
            _, slope = jvp(
                lambda moved, described, known=seen[..., part]: self._voxels(moved, known, described),
                (margin[..., part], statistics),
                (turn[..., part], change),
            )
            (scale / voxels * slope.sum()).backward()

    def _voxels(self, margin: torch.Tensor, target: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """softplus(f) of each voxel: (N, C, voxels) from margins and targets (N, C, voxels)."""
        seen = torch.stack([margin, target], dim=3)
        hidden = functional.silu(_linear(self.voxel, seen) + _linear(self.context, statistics)[:, :, None])
        hidden = functional.silu(_linear(self.second, hidden))
        return functional.softplus((_linear(self.last, hidden) + _linear(self.past, seen)).squeeze(3))

    def _region(self, statistics: torch.Tensor) -> torch.Tensor:
        """softplus(r): (N, C)."""
        hidden = functional.silu(_linear(self.counts, statistics))
        return functional.softplus(_linear(self.region, hidden).squeeze(2))

    def settings(self) -> Mapping[str, float | str]:
        return {} if self.file is None else {"path": str(self.file), "digest": self.digest}

    def __str__(self) -> str:
        return self.name if self.file is None else f'{self.name}("{self.file}", digest={self.digest})'

    def write(self, path: Path) -> None:
        """Write the weights as safetensors."""
        write_tensors(path, {name: tensor.contiguous() for name, tensor in self.state_dict().items()})


def read_meta_loss(path: str, digest: str = "", folder: Path = Path()) -> MetaLoss:
    """A meta-loss from the file of its weights, frozen; nothing in the file is executed.

    Args:
        path: of the safetensors file.
        digest: what the file's must be, such as `sha256.0123456789abcdef`, or empty for any.
        folder: where a relative path starts.

    Raises:
        UserError: the file is missing, is no meta-loss, or is another one than the digest says.
    """
    file = folder / path
    try:
        # Nothing is read of a device, a pipe or a file of another kind.
        known = file.is_file() and file.stat().st_size <= LARGEST
        content = file.read_bytes() if known else b""
    except OSError as error:
        name, reason = shortened(path), error.strerror
        raise UserError(f"{name!r} cannot be read ({reason}): `spineloss meta` writes one.") from error
    if not known:
        raise UserError(f"{shortened(path)!r} is no meta-loss: name the meta.safetensors of `spineloss meta`.")
    found = f"sha256.{hashlib.sha256(content).hexdigest()[:DIGITS]}"
    if digest not in ("", found):
        raise UserError(
            f"{file} has the digest {found}, not {shortened(digest)}: restore the file, or leave the digest out."
        )
    loss = MetaLoss()
    try:
        loss.load_state_dict(load(content))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(f"{file} is no meta-loss: name the meta.safetensors of `spineloss meta`.") from error
    loss.file, loss.digest = Path(path), found
    return loss.requires_grad_(False)


def _linear(layer: nn.Linear, values: torch.Tensor) -> torch.Tensor:
    """The layer in the precision of the values, inside autocast too."""
    bias = None if layer.bias is None else layer.bias.to(values.dtype)
    with torch.autocast(values.device.type, enabled=False):
        return functional.linear(values, layer.weight.to(values.dtype), bias)


def _margin(inputs: Inputs, logits: torch.Tensor) -> torch.Tensor:
    """How far logits are on the target's side: (N, C, voxels)."""
    return (2 * inputs.truth.flatten(2) - 1) * logits.to(inputs.wide).flatten(2)


def _statistics(inputs: Inputs) -> torch.Tensor:
    """Dice, precision, recall, true and predicted share of each sample and channel: (N, C, 5)."""
    counts = inputs.counts("sample")
    predicted, true = counts.tp + counts.fp, counts.tp + counts.fn
    shares = [(counts.tp + SMOOTH) / (volume + SMOOTH) for volume in ((predicted + true) / 2, predicted, true)]
    return torch.stack([*shares, true / inputs.voxels, predicted / inputs.voxels], dim=2)
