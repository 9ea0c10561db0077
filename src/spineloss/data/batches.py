"""Training batches: shuffled, augmented, mixed, with the target's distance map where the loss needs one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spineloss.data.augmentation import Augment, augmented, draw_mixup
from spineloss.data.dataset import Sample
from spineloss.data.labelling import Labelling
from spineloss.data.patches import AROUND_FOREGROUND, Window, draw_window
from spineloss.data.preprocessing import Grid
from spineloss.kernels.distance_transform import Unit, signed_distance_maps
from spineloss.seeding import generator


@dataclass(frozen=True)
class Target:
    """What a loss compares with: masks, (N, 3) spacing in mm, the distance maps needed, by unit.

    Masks are volumes (N, C, *grid), or numbers of exclusive classes (N, 1, *grid); maps are (N, outputs, *grid).
    The maps of a patch hold the distances to what is in the patch.
    """

    mask: torch.Tensor
    spacing: torch.Tensor
    maps: Mapping[Unit, torch.Tensor]

    @classmethod
    def of(
        cls, targets: Sequence[torch.Tensor], spacing: torch.Tensor, needs: frozenset[Unit], labelling: Labelling
    ) -> "Target":
        """That of samples' targets (C, *grid), with the distance maps that a loss needs."""
        mask = torch.stack(list(targets))
        volumes = labelling.volumes(mask) if needs else mask
        counted = labelling.counted(mask)
        maps = {unit: signed_distance_maps(volumes, spacing if unit == "mm" else None, counted) for unit in needs}
        return cls(mask if labelling.exclusive else mask.float(), spacing, maps)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Target":
        """The same with every tensor changed alike."""
        maps = {unit: change(distances) for unit, distances in self.maps.items()}
        return Target(change(self.mask), change(self.spacing), maps)

    def context(self) -> dict[str, Any]:
        """The keyword arguments a loss is called with, after logits and target."""
        return {"spacing": self.spacing, "target_maps": self.maps}


@dataclass(frozen=True)
class Batch:
    """Images (N, 1, *grid) and one or two targets with the shares their losses are mixed by.

    MixUp mixes the losses, never the targets: a region loss of a mixed mask is not the mix of region losses.
    """

    image: torch.Tensor
    targets: tuple[tuple[float, Target], ...]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        moved = tuple((share, target.each(lambda tensor: tensor.to(device))) for share, target in self.targets)
        return Batch(self.image.to(device), moved)


@dataclass(frozen=True)
class BatchPair:
    """A batch to step on, and another to judge the step by."""

    batch: Batch
    other: Batch

    def to(self, device: torch.device) -> "BatchPair":
        """The same pair on `device`."""
        return BatchPair(self.batch.to(device), self.other.to(device))


def training_batches(
    samples: Sequence[Sample],
    *,
    size: int,
    augment: Augment,
    needs: frozenset[Unit],
    labelling: Labelling,
    key: tuple[int, int, int],
    patch: Grid | None = None,
) -> Iterator[Batch]:
    """One epoch of batches: each case once, whole or as one patch. Every draw is a function of `key` and the case.

    Args:
        samples: the training cases.
        size: cases a batch; the last batch may be smaller.
        augment: probabilities.
        needs: units of the signed distance maps that the loss needs; they are made after augmentation.
        labelling: what the targets mean.
        key: (seed, fold, epoch).
        patch: (Z, Y, X) voxels; none where all samples have one grid, which is seen whole.
    """
    order = generator(*key, "order").permutation(len(samples))
    for start in range(0, len(samples), size):
        chosen = [samples[index] for index in order[start : start + size]]
        yield _mix(_collate(chosen, augment, needs, labelling, key, patch), augment, key, chosen[0].case)


def window_of(sample: Sample, patch: Grid, labelling: Labelling, key: tuple[int, int, int]) -> Window:
    """The patch of a sample that is drawn by a key, the same whatever is trained with it.

    Where some voxels are not annotated, every patch lies around one that is.
    """
    around = AROUND_FOREGROUND if labelling.ignore is None else 1.0
    random = generator(*key, sample.case, "patch")
    return draw_window(random, sample.image.shape[1:], patch, sample.places, around)


def seen(
    sample: Sample, patch: Grid | None, labelling: Labelling, key: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and target of what the network is shown of a case, before augmentation: all of it, or a patch."""
    if patch is None:
        return sample.image, sample.target
    window = window_of(sample, patch, labelling, key)
    return window.cut(sample.image), window.cut(sample.target)


def pairs(batches: Iterable[Batch]) -> Iterator[BatchPair]:
    """Each batch of an epoch with the next one, which shares no case with it, and the last with the first."""
    remaining = iter(batches)
    first = previous = next(remaining)
    for batch in remaining:
        yield BatchPair(previous, batch)
        previous = batch
    yield BatchPair(previous, first)


def _collate(
    samples: Sequence[Sample],
    augment: Augment,
    needs: frozenset[Unit],
    labelling: Labelling,
    key: tuple[int, int, int],
    patch: Grid | None,
) -> tuple[torch.Tensor, Target]:
    images, targets = [], []
    for sample in samples:
        window = None if patch is None else window_of(sample, patch, labelling, key)
        case = (*key, sample.case)
        image, target = augmented(sample.image, sample.target, sample.spacing, augment, case, window)
        images.append(image)
        targets.append(target)
    spacing = torch.tensor([sample.spacing for sample in samples])
    return torch.stack(images), Target.of(targets, spacing, needs, labelling)


def _mix(unmixed: tuple[torch.Tensor, Target], augment: Augment, key: tuple[int, int, int], case: str) -> Batch:
    image, target = unmixed
    mixup = draw_mixup(generator(*key, case, "mixup"), augment.mixup, augment.mixup_alpha, len(image))
    if mixup is None:
        return Batch(image, ((1.0, target),))
    partner = list(mixup.partner)
    other = target.each(lambda tensor: tensor[partner])
    mixed = mixup.share * image + (1 - mixup.share) * image[partner]
    return Batch(mixed, ((mixup.share, target), (1 - mixup.share, other)))
