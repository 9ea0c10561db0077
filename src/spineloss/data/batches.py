"""Training batches: shuffled, augmented, mixed, with the maps of the target that the loss needs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

import torch

from spineloss.data.augmentation import Augment, augmented, draw_mixup
from spineloss.data.dataset import Sample
from spineloss.data.labelling import Labelling
from spineloss.data.patches import AROUND_FOREGROUND, Window, draw_window
from spineloss.data.preprocessing import Grid
from spineloss.kernels.target_maps import MapName, target_map
from spineloss.seeding import generator

Key = tuple[int | str, ...]


@dataclass(frozen=True)
class Target:
    """What a loss compares with: the truth, (N, 3) spacing in mm, the maps needed, by name.

    The truth is volumes (N, C, *grid), or numbers of exclusive classes (N, 1, *grid); maps (N, outputs, *grid).
    The maps of a patch hold the distances to what is in the patch.
    """

    truth: torch.Tensor
    spacing: torch.Tensor
    maps: Mapping[MapName, torch.Tensor]

    @classmethod
    def of(
        cls,
        targets: Sequence[torch.Tensor],
        spacing: torch.Tensor,
        needs: frozenset[MapName],
        labelling: Labelling,
    ) -> "Target":
        """That of samples' targets (C, *grid), with the maps that a loss needs."""
        truth = torch.stack(list(targets))
        volumes = labelling.volumes(truth) if needs else truth
        counted, exclusive = labelling.counted(truth), labelling.exclusive
        maps = {name: target_map(name, volumes, spacing, counted, exclusive=exclusive) for name in needs}
        return cls(truth if labelling.exclusive else truth.float(), spacing, maps)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Target":
        """The same with every tensor changed alike."""
        maps = {name: change(found) for name, found in self.maps.items()}
        return Target(change(self.truth), change(self.spacing), maps)

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

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """The same with every tensor changed alike."""
        return Batch(change(self.image), tuple((share, target.each(change)) for share, target in self.targets))

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; from page-locked memory it goes there without being waited for."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))


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
    needs: frozenset[MapName],
    labelling: Labelling,
    key: tuple[int, int, int],
    patch: Grid | None = None,
    steps: int | None = None,
) -> list[Callable[[], Batch]]:
    """One epoch of batches, each as a call that makes it; every draw is a function of `key` and the case.

    Args:
        samples: the training cases.
        size: cases a batch.
        augment: probabilities.
        needs: names of the target's maps that the loss needs; they are made after augmentation.
        labelling: what the targets mean.
        key: (seed, fold, epoch).
        patch: (Z, Y, X) voxels; none where all samples have one grid, which is seen whole.
        steps: batches of the epoch, over as many shuffled passes as they take; by default one pass, whose last
            batch may be smaller.
    """
    order = _order([sample.case for sample in samples], key)
    places = list(islice(order, len(samples) if steps is None else steps * size))

    def make(start: int) -> Batch:
        drawn = places[start : start + size]
        keys = [each for _, each in drawn]
        return _mix(
            _collate([samples[index] for index, _ in drawn], augment, needs, labelling, keys, patch),
            augment,
            keys[0],
        )

    return [partial(make, start) for start in range(0, len(places), size)]


def window_of(sample: Sample, patch: Grid, labelling: Labelling, key: Key) -> Window:
    """The patch of a sample that is drawn by a key, the same whatever is trained with it.

    Where some voxels are not annotated, every patch lies around one that is.
    """
    around = AROUND_FOREGROUND if labelling.ignore is None else 1.0
    random = generator(*key, "patch")
    return draw_window(random, sample.image.shape[1:], patch, sample.places, around)


def seen(sample: Sample, patch: Grid | None, labelling: Labelling, key: Key) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and target of what the network is shown of a case, before augmentation: all of it, or a patch."""
    if patch is None:
        return sample.image, sample.target
    window = window_of(sample, patch, labelling, key)
    return window.cut(sample.image), window.cut(sample.target)


def pairs(batches: Iterable[Batch]) -> Iterator[BatchPair]:
    """Each batch of an epoch with the next one, and the last with the first; in one pass they share no case."""
    remaining = iter(batches)
    first = previous = next(remaining, None)
    for batch in remaining:
        yield BatchPair(previous, batch)
        previous = batch
    if first is not None:
        yield BatchPair(previous, first)


def _order(cases: Sequence[str], key: tuple[int, int, int]) -> Iterator[tuple[int, Key]]:
    """The cases' places in shuffled passes without end, each with the key of its draws."""
    for number in count():
        later = (number,) if number else ()
        for index in generator(*key, "order", *later).permutation(len(cases)):
            yield int(index), (*key, cases[index], *later)


def _collate(
    samples: Sequence[Sample],
    augment: Augment,
    needs: frozenset[MapName],
    labelling: Labelling,
    keys: Sequence[Key],
    patch: Grid | None,
) -> tuple[torch.Tensor, Target]:
    cases = [
        augmented(
            sample.image,
            sample.target,
            sample.spacing,
            augment,
            key,
            None if patch is None else window_of(sample, patch, labelling, key),
        )
        for sample, key in zip(samples, keys, strict=True)
    ]
    spacing = torch.tensor([sample.spacing for sample in samples])
    images, targets = zip(*cases, strict=True)
    return torch.stack(images), Target.of(targets, spacing, needs, labelling)


def _mix(unmixed: tuple[torch.Tensor, Target], augment: Augment, key: Key) -> Batch:
    image, target = unmixed
    mixup = draw_mixup(generator(*key, "mixup"), augment.mixup, augment.mixup_alpha, len(image))
    if mixup is None:
        return Batch(image, ((1.0, target),))
    partner = list(mixup.partner)
    other = target.each(lambda tensor: tensor[partner])
    mixed = image[partner].mul_(1 - mixup.share).add_(mixup.share * image)
    return Batch(mixed, ((mixup.share, target), (1 - mixup.share, other)))
