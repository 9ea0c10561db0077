"""Cases: which image belongs to which masks, found by looking at a folder's layout."""

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spineloss.data import volumes
from spineloss.errors import UserError

VERTEBRA = re.compile(r"([CTL])(\d+)$", re.IGNORECASE)
# Labels of single-vertebra masks follow the data set's own numbering: L1 is 1.


@dataclass(frozen=True)
class Case:
    """An id, an image, and its masks: one label map, or binary masks with the label each stands for.

    `group` is the patient, where a manifest names one.
    """

    id: str
    image: Path
    masks: tuple[tuple[Path, int | None], ...]
    group: str | None = None

    def paths(self) -> list[Path]:
        """Every file of the case."""
        return [self.image, *(path for path, _ in self.masks)]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data, in one sentence that names the file and the remedy."""

    case: str
    kind: str
    sentence: str


@dataclass(frozen=True)
class Layout:
    """The cases of a folder, and the files that make no case."""

    name: str
    cases: list[Case]
    problems: list[Problem]


def find_cases(source: Path) -> Layout:
    """The cases of a folder or a CSV manifest.

    Layouts, in the order they are looked for: a `.csv` manifest (columns case, image, mask, and group
    where a patient has several cases), nnU-Net raw
    (`imagesTr`, `labelsTr`), paired folders (`images`, `masks`), MyoSegmenTUM (`NN/vertebrae/WATER.dcm` with
    `L1.mha` ...), and the seed's cervical one (`NN/data_NN.nii.gz`, `NN/label_NN.nii.gz`).

    Raises:
        UserError: nothing is there, or it is none of these layouts.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist: check its spelling.")
    if source.is_file():
        layout = _manifest(source)
    elif (source / "imagesTr").is_dir():
        layout = _nnunet(source)
    elif (source / "images").is_dir():
        layout = _pair("paired folders", _volumes(source / "images"), _volumes(source / "masks"))
    elif any(source.glob("*/vertebrae")):
        layout = _myosegmentum(source)
    elif any(source.glob("*/data_*.nii*")):
        layout = _cervical(source)
    else:
        raise UserError(
            f"{source} has no known layout: put volumes in images/ and label maps of the same names in masks/, "
            "or name a CSV manifest with the columns case, image, mask."
        )
    if not layout.cases:
        raise UserError(f"{source} holds no case with an image and a mask: check the names in it ({layout.name}).")
    return Layout(layout.name, sorted(layout.cases, key=lambda case: _natural(case.id)), layout.problems)


def _natural(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]


def _volumes(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (volumes.suffix_of(path) or volumes.is_series(path)):
            found[volumes.stem_of(path)] = path
    return found


def _pair(name: str, images: dict[str, Path], masks: dict[str, Path]) -> Layout:
    cases = [Case(stem, image, ((masks[stem], None),)) for stem, image in images.items() if stem in masks]
    problems = [_missing_mask(stem, image) for stem, image in images.items() if stem not in masks]
    problems += [
        Problem(stem, "extra mask", f"{mask} has no image: add one of the same name, or remove it.")
        for stem, mask in masks.items()
        if stem not in images
    ]
    return Layout(name, cases, problems)


def _missing_mask(case: str, image: Path) -> Problem:
    return Problem(case, "missing mask", f"{image} has no mask: add one of the same name, or remove it.")


def _nnunet(source: Path) -> Layout:
    description = source / "dataset.json"
    try:
        channels = json.loads(description.read_text(encoding="utf-8")).get("channel_names", {})
    except FileNotFoundError:
        channels = {}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{description} is not valid JSON ({error}): mend it.") from error
    if len(channels) > 1:
        raise UserError(f"{description} names {len(channels)} image channels: keep one, networks here take one.")
    images = {stem.removesuffix("_0000"): path for stem, path in _volumes(source / "imagesTr").items()}
    return _pair("nnU-Net raw", images, _volumes(source / "labelsTr"))


def _myosegmentum(source: Path) -> Layout:
    cases, problems = [], []
    for folder in sorted(source.glob("*/vertebrae")):
        case = folder.parent.name
        image = folder / "WATER.dcm"
        masks = [
            (path, _vertebra_label(path)) for path in sorted(folder.glob("*.mha")) if VERTEBRA.match(path.stem)
        ]
        if not image.exists():
            problems.append(
                Problem(case, "missing image", f"{image} is missing: add it, or remove {folder.parent}.")
            )
        elif not masks:
            problems.append(_missing_mask(case, image))
        else:
            cases.append(Case(case, image, tuple(masks)))
    return Layout("MyoSegmenTUM", cases, problems)


def _vertebra_label(path: Path) -> int:
    match = VERTEBRA.match(path.stem)
    return int(match[2]) if match else 0


def _cervical(source: Path) -> Layout:
    images, masks = {}, {}
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        for path in folder.glob("*.nii*"):
            for prefix, found in (("data_", images), ("label_", masks)):
                if path.name.startswith(prefix):
                    found[folder.name] = path
    return _pair("cervical", images, masks)


def _manifest(path: Path) -> Layout:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV manifest ({error}): name a folder or a .csv file.") from error
    if not rows or not {"case", "image", "mask"} <= rows[0].keys():
        raise UserError(f"{path} is not a manifest: its first line must name the columns case,image,mask.")
    cases, problems, seen = [], [], set()
    for line, row in enumerate(rows, start=2):
        case = row["case"] or ""
        if not case or case in seen or "/" in case or not row["image"] or not row["mask"]:
            raise UserError(
                f"{path}, line {line}: each line needs a case of its own, without '/', an image and a mask."
            )
        seen.add(case)
        image, mask = path.parent / row["image"], path.parent / row["mask"]
        missing = next((file for file in (image, mask) if not file.exists()), None)
        if missing:
            problems.append(
                Problem(case, "missing file", f"{missing} does not exist: mend line {line} of {path}.")
            )
        else:
            cases.append(Case(case, image, ((mask, None),), row.get("group") or None))
    return Layout("manifest", cases, problems)


def read_case(case: Case, orientation: str) -> tuple[sitk.Image, sitk.Image]:
    """Image and label map of a case, turned to an orientation.

    Raises:
        UserError: a file cannot be read.
    """
    image = volumes.read(case.image)
    return volumes.orient(image, orientation), volumes.orient(read_labels(case.masks), orientation)


def read_labels(masks: Iterable[tuple[Path, int | None]]) -> sitk.Image:
    """One label map of a case's masks, merged when there is a binary mask a label.

    Raises:
        UserError: a file cannot be read, or the masks differ in geometry.
    """
    merged: np.ndarray | None = None
    for path, label in masks:
        mask = volumes.read(path)
        if label is None:
            return mask
        if merged is None:
            first, merged = mask, np.zeros(mask.GetSize()[::-1], np.uint8)
        if mask.GetSize() != first.GetSize():
            raise UserError(f"{path} has another size than the masks beside it: export it again.")
        merged[volumes.array_of(mask) != 0] = label
    image = sitk.GetImageFromArray(merged)
    image.CopyInformation(first)
    return image
