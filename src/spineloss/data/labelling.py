"""What a network tells apart: from label maps to targets, and from its outputs back to label maps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool3d

from spineloss.data.cases import Labels
from spineloss.data.preprocessing import IGNORED, Grid, resize_labels, resize_mask
from spineloss.errors import UserError
from spineloss.kernels.level_sets import Predicted, heaviside
from spineloss.kernels.plain_sums import Activation, probabilities_of

Kind = Literal["merged", "exclusive", "per-label", "regions"]
MOST = IGNORED - 1  # structures whose numbers fit beside `IGNORED`


@dataclass(frozen=True)
class Structure:
    """What is segmented: its name in tables, the labels it is made of, its value in a prediction's label map."""

    name: str
    labels: tuple[int, ...]
    value: int


@dataclass(frozen=True)
class Labelling:
    """How the labels of a data set are a network's targets, and its outputs labels again.

    A target is (C, Z, Y, X) uint8, `IGNORED` where nobody annotated. Of exclusive structures C is 1 and a voxel
    holds 0 for the background or 1, 2, ... for the structures in their order; of all others each structure has a
    channel of 0 and 1, and they may overlap.

    Args:
        kind: `merged` into one structure, `exclusive`, `per-label`, each on its own, or `regions`, each of several
            labels and over one another.
        structures: in the order of the network's outputs.
        ignore: the label of voxels that nobody annotated, which count neither in losses nor in metrics.
        predicts: what the loss trains the network's outputs to say; of signed distance maps, a probability of
            (1 - map) / 2, so that masks are where it is above 1/2 and averages are those of maps.
    """

    kind: Kind
    structures: tuple[Structure, ...]
    ignore: int | None = None
    predicts: Predicted = "mask"

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Labelling":
        """That of `plain`, as JSON gives it back."""
        structures = [Structure(**{**each, "labels": tuple(each["labels"])}) for each in plain["structures"]]
        return cls(**{**plain, "structures": tuple(structures)})

    def plain(self) -> dict[str, Any]:
        """As plain data, by which prepared cases are known again: what is usual is left out of it."""
        plain = asdict(self)
        if self.predicts == "mask":
            del plain["predicts"]
        return plain

    @property
    def names(self) -> list[str]:
        """Of the structures."""
        return [structure.name for structure in self.structures]

    @property
    def exclusive(self) -> bool:
        """Whether each voxel belongs to one structure at most: outputs are a softmax, the background first."""
        return self.kind == "exclusive"

    @property
    def activation(self) -> Activation:
        """What makes probabilities of logits."""
        return "softmax" if self.exclusive else "sigmoid"

    @property
    def outputs(self) -> int:
        """Channels of the logits."""
        return len(self.structures) + self.exclusive

    def target_of(self, label_map: np.ndarray) -> torch.Tensor:
        """The target of a (Z, Y, X) label map on the same grid.

        >>> pair = tuple(Structure(str(label), (label,), label) for label in (1, 7))
        >>> label_map = np.array([[[0, 1, 7, 9]]])
        >>> Labelling("exclusive", pair).target_of(label_map).tolist()
        [[[[0, 1, 2, 0]]]]
        >>> Labelling("per-label", pair).target_of(label_map).tolist()
        [[[[0, 1, 0, 0]]], [[[0, 0, 1, 0]]]]
        """
        masks = [np.isin(label_map, structure.labels) for structure in self.structures]
        if self.exclusive:
            target = sum(number * mask.astype(np.uint8) for number, mask in enumerate(masks, 1))[None]
        else:
            target = np.stack(masks).astype(np.uint8)
        if self.ignore is not None:
            target[:, label_map == self.ignore] = IGNORED
        return torch.from_numpy(target)

    def resized(self, target: torch.Tensor, grid: Grid) -> torch.Tensor:
        """The target on another grid; each structure keeps its volume. On its own grid it is a copy."""
        if tuple(target.shape[1:]) == grid:
            return target.clone()
        return resize_labels(target, grid) if self.exclusive else resize_mask(target, grid)

    def masks(self, target: torch.Tensor) -> torch.Tensor:
        """Where each structure is: (structures, Z, Y, X) booleans."""
        return target == self._numbers(target) if self.exclusive else target == 1

    def counted(self, targets: torch.Tensor) -> torch.Tensor | None:
        """Which voxels of targets (..., C, Z, Y, X) are annotated, (..., 1, Z, Y, X), or none where all are."""
        return None if self.ignore is None else targets[..., :1, :, :, :] != IGNORED

    def annotated(self, target: torch.Tensor) -> torch.Tensor:
        """Where each structure is and, if some voxels are not annotated, the background: (n, Z, Y, X) booleans."""
        masks, counted = self.masks(target), self.counted(target)
        return masks if counted is None else torch.cat([masks, counted & ~masks.any(0, keepdim=True)])

    def volumes(self, targets: torch.Tensor) -> torch.Tensor:
        """A batch of targets (N, C, Z, Y, X) as booleans of the logits' shape, (N, outputs, Z, Y, X)."""
        if not self.exclusive:
            return targets == 1
        return torch.cat([targets == 0, targets == self._numbers(targets)], dim=1)

    def shares(self, targets: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A batch of targets (N, C, Z, Y, X) on a coarser grid: what share of each of its voxels an output is.

        Returns:
            (N, outputs, *grid) float32 shares of what is annotated; and which voxels hold any, (N, 1, *grid), or
            none where all do.
        """
        volumes, counted = self.volumes(targets).float(), self.counted(targets)
        if counted is None:
            return adaptive_avg_pool3d(volumes, grid), None
        known = adaptive_avg_pool3d(counted.float(), grid)
        # Of what is not annotated no output is any.
        found = adaptive_avg_pool3d(volumes, grid) / known.clamp(min=torch.finfo(known.dtype).tiny)
        return found.clamp(max=1), known > 0

    def _numbers(self, target: torch.Tensor) -> torch.Tensor:
        numbers = torch.arange(1, len(self.structures) + 1, dtype=target.dtype, device=target.device)
        return numbers.view(-1, 1, 1, 1)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Of logits (N, outputs, Z, Y, X), float32 at least."""
        return probabilities_of(logits, self.activation)

    def of_structures(self, probabilities: torch.Tensor) -> torch.Tensor:
        """How likely each structure is in a voxel, by probabilities (outputs, Z, Y, X)."""
        found = probabilities[1:] if self.exclusive else probabilities
        return found if self.predicts == "mask" else heaviside(found)

    def decide(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Where each structure is predicted, (structures, Z, Y, X) booleans, from (outputs, Z, Y, X)."""
        if self.exclusive:
            return self.masks(probabilities.argmax(0, keepdim=True))
        return probabilities > 0.5

    def label_map(self, probabilities: torch.Tensor) -> np.ndarray:
        """The labels predicted by (outputs, Z, Y, X), in the smallest type that holds them.

        Where structures that may overlap do, the likeliest is taken; of regions the last one, as in nnU-Net.
        """
        if self.exclusive:
            number = probabilities.argmax(0)
        elif self.kind == "regions":
            order = torch.arange(1, self.outputs + 1).view(-1, 1, 1, 1)
            number = ((probabilities > 0.5) * order).amax(0)
        else:
            highest, channel = probabilities.max(0)
            number = torch.where(highest > 0.5, channel + 1, 0)
        values = np.array([0, *(structure.value for structure in self.structures)])
        return values.astype(np.min_scalar_type(values.max()))[number.numpy()]


def labelling_of(kind: Kind, labels: Sequence[int], described: Labels | None = None) -> Labelling:
    """How labels become a target of a kind.

    Args:
        kind: of the target.
        labels: the chosen ones; of regions, which are made of labels, they are not asked for.
        described: what the data set says of its labels; nothing by default.

    Raises:
        UserError: there are too many, what is not annotated is chosen, or no region is described.

    >>> labelling_of("merged", [1, 2]).structures
    (Structure(name='all', labels=(1, 2), value=1),)
    """
    described = described or Labels()
    ignore = described.ignore
    if kind == "regions":
        regions = described.regions.items()
        if not regions:
            raise UserError("target: regions needs regions and their order in dataset.json, as nnU-Net has them.")
        return Labelling(
            kind, tuple(Structure(name, parts, described.values[name]) for name, parts in regions), ignore
        )
    if ignore in labels:
        raise UserError(f"label {ignore} is ignored and cannot be segmented: take it out of `labels`.")
    if kind == "merged":
        return Labelling(kind, (Structure("all", tuple(labels), 1),), ignore)
    if len(labels) > MOST:
        raise UserError(f"target: {kind} of {len(labels)} labels is too many: choose up to {MOST} with `labels`.")
    structures = [Structure(described.names.get(label, str(label)), (label,), label) for label in labels]
    return Labelling(kind, tuple(structures), ignore)
