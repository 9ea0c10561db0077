"""A case: an image and the masks that belong to it; and what may be wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.data.guards import refuse
from spineloss.errors import UserError

TOLERANCE = 1e-3  # of geometry: relative to the spacing, and of direction cosines


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
    """Something wrong with the data, in one sentence that names the file and the remedy.

    `twins` are the cases whose image the case has, too: without them that is no problem.
    """

    case: str
    kind: str
    sentence: str
    twins: tuple[str, ...] = ()


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


def read_labels(masks: Iterable[tuple[Path, int | None]]) -> tuple[sitk.Image, list[str]]:
    """One label map of a case's masks, merged where there is a binary mask per label.

    Returns:
        The label map, and a sentence for each mask that lies over those before it.

    Raises:
        UserError: a file cannot be read, or of several masks one has another grid or voxels that are NaN.
    """
    merged: np.ndarray | None = None
    overlaps = []
    for path, label in masks:
        mask = volumes.read(path)
        if label is None:
            return mask, []
        if merged is None:
            first, merged = mask, np.zeros(mask.GetSize()[::-1], np.int32)
        if (difference := geometry_difference(first, mask)) is not None:
            raise refuse(path, f"it has another {difference} than the masks beside it", "export it again")
        array = volumes.array_of(mask)
        volumes.refuse_not_finite(array, str(path))
        inside = array != 0
        if taken := np.count_nonzero(merged[inside]):
            overlaps.append(
                f"{path} lies over the masks before it in {taken} voxels, which get its label {label}."
            )
        merged[inside] = label
    image = sitk.GetImageFromArray(merged)
    image.CopyInformation(first)
    return image, overlaps


def geometry_difference(image: sitk.Image, other: sitk.Image) -> str | None:
    """In what the grid of a mask, or of another channel, is not that of an image; none where it is."""
    if image.GetSize() != other.GetSize():
        return f"size ({list(other.GetSize())}, not {list(image.GetSize())})"
    spacing = np.array(image.GetSpacing())
    if np.abs(np.subtract(other.GetSpacing(), spacing) / spacing).max() > TOLERANCE:
        return "spacing"
    if np.abs(np.subtract(other.GetDirection(), image.GetDirection())).max() > TOLERANCE:
        return "direction"
    corner = image.TransformContinuousIndexToPhysicalPoint([0.0, 0.0, 0.0])
    if np.abs(np.subtract(other.GetOrigin(), corner)).max() > 0.1 * spacing.min():
        return "origin"
    return None


def read_case(case: Case, orientation: str) -> tuple[list[sitk.Image], sitk.Image]:
    """Channels and label map of a case, turned to an orientation.

    Raises:
        UserError: a file cannot be read.
    """
    *channels, labels = orient_alike([*read_images(case), read_labels(case.masks)[0]], orientation)
    return channels, labels


def orient_alike(images: Sequence[sitk.Image], orientation: str) -> list[sitk.Image]:
    """Volumes that lie alike, turned to an orientation: all as the first one, whose geometry they take over.

    They may differ by rounding, and at 45 degrees it decides what the nearest axes of each by itself are.
    """
    for other in images[1:]:
        other.CopyInformation(images[0])
    return [volumes.orient(image, orientation) for image in images]
