"""A case: an image and the masks that belong to it; and what may be wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.data.guards import refuse
from spineloss.errors import UserError


@dataclass(frozen=True)
class Case:
    """An id, its images and its masks: one label map, or binary masks with the label of each.

    There is an image a channel, or one that holds all of them. `group` is the patient, where a manifest names one.
    """

    id: str
    images: tuple[Path, ...]
    masks: tuple[tuple[Path, int | None], ...]
    group: str | None = None

    def paths(self) -> list[Path]:
        """Every volume of the case."""
        return [*self.images, *(path for path, _ in self.masks)]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data, in one sentence that names the file and the remedy."""

    case: str
    kind: str
    sentence: str


@dataclass(frozen=True)
class Labels:
    """What a data set says of its labels: names, the one that means "not annotated", and regions of several.

    Args:
        names: of labels.
        ignore: the label of voxels that nobody annotated, if there is one.
        regions: name -> the labels it is made of, in the order in which a prediction's label map is filled.
        values: the label that each region gets in a prediction's label map.
    """

    names: dict[int, str] = field(default_factory=dict)
    ignore: int | None = None
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The cases of a folder, the files that make no case, and what it says of channels and labels.

    `usual` are the channels that a study takes if it names none; all of them if it is empty.
    """

    name: str
    source: Path
    cases: list[Case]
    problems: list[Problem]
    channels: tuple[str, ...] = ("image",)
    labels: Labels = Labels()
    usual: tuple[str, ...] = ()

    def channels_taken(self, wanted: Sequence[str] | None = None) -> list[int]:
        """The numbers of the channels that a study names, in its order.

        Raises:
            UserError: there is no such channel, or one is named twice.
        """
        names = wanted or self.usual or self.channels
        for name in names:
            if name not in self.channels or list(names).count(name) > 1:
                raise UserError(
                    f"{self.source} has the channels {', '.join(self.channels)}: each can be named once, "
                    f"and {name!r} {'is named twice' if name in self.channels else 'is none of them'}."
                )
        return [self.channels.index(name) for name in names]


def read_images(case: Case) -> list[sitk.Image]:
    """The channels of a case: one a file, or several in one.

    Raises:
        UserError: a file cannot be read.
    """
    return [channel for path in case.images for channel in volumes.read_channels(path)]


def read_labels(masks: Iterable[tuple[Path, int | None]]) -> sitk.Image:
    """One label map of a case's masks, merged where there is a binary mask per label.

    Raises:
        UserError: a file cannot be read, or the masks differ in geometry.
    """
    merged: np.ndarray | None = None
    for path, label in masks:
        mask = volumes.read(path)
        if label is None:
            return mask
        if merged is None:
            first, merged = mask, np.zeros(mask.GetSize()[::-1], np.int32)
        if mask.GetSize() != first.GetSize():
            raise refuse(path, "it has another size than the masks beside it", "export it again")
        merged[volumes.array_of(mask) != 0] = label
    image = sitk.GetImageFromArray(merged)
    image.CopyInformation(first)
    return image


def read_case(case: Case, orientation: str) -> tuple[list[sitk.Image], sitk.Image]:
    """Channels and label map of a case, turned to an orientation.

    Raises:
        UserError: a file cannot be read.
    """
    channels = [volumes.orient(channel, orientation) for channel in read_images(case)]
    return channels, volumes.orient(read_labels(case.masks), orientation)
