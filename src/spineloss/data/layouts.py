"""Where the cases of a folder are: found by looking at its layout, listed once."""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from spineloss.data import volumes
from spineloss.data.cases import Case, Layout, Problem
from spineloss.data.guards import check_name, is_plain, shown
from spineloss.data.manifest import read_manifest
from spineloss.data.nnunet_layout import extra_mask, missing_mask, numbered, read_layout, two_files
from spineloss.errors import UserError

VERTEBRA = re.compile(r"([CTL])(\d+)$", re.IGNORECASE)
# Labels of single-vertebra masks follow the data set's own numbering: L1 is 1.


def find_cases(source: Path) -> Layout:
    """The cases of a folder or a CSV manifest.

    Layouts, in the order they are looked for: a `.csv` manifest (columns case, image, mask, and group where a
    patient has several cases), nnU-Net raw (`imagesTr`, `labelsTr`), paired folders (`images`, `masks`),
    MyoSegmenTUM (`NN/vertebrae/WATER.dcm` with `L1.mha` ...), and the thesis's cervical one
    (`NN/data_NN.nii.gz`, `NN/label_NN.nii.gz`). Channels are files of their own (nnU-Net's `_0000`, `_0001`; a
    manifest's columns `image_T1`, `image_T2`; MyoSegmenTUM's WATER, FAT, PDFF) or lie in one: the volumes of a 4D
    NIfTI file, the components of a .mha's voxels.

    Raises:
        UserError: nothing is there, or it is none of these layouts.
    """
    check_name(source)
    layout = _read(source)
    named, problems = [], list(layout.problems)
    for case in layout.cases:
        odd = next((path for path in case.paths() if not is_plain(path)), None)
        if odd is None:
            named.append(case)
        else:
            problems.append(Problem(shown(case.id), "name", f"{shown(odd)} is no plain UTF-8 name: rename it."))
    problems = [Problem(shown(problem.case), problem.kind, shown(problem.sentence)) for problem in problems]
    if not named:
        first = (
            f"; the first problem: {problems[0].sentence}"
            if problems
            else f": check the names in it ({layout.name})."
        )
        raise UserError(f"{source} holds no case with an image and a mask{first}")
    ordered = sorted(named, key=lambda case: _natural(case.id))
    return replace(layout, cases=ordered, problems=problems, channels=_channels(layout.channels, ordered[0]))


def _channels(known: tuple[str, ...], first: Case) -> tuple[str, ...]:
    """The names of the channels; where the files of the first case hold several each, and they have no names."""
    if len(known) > 1 or len(first.images) > 1:
        return known
    try:
        inside = volumes.count_channels(first.images[0])
    except UserError:  # which the check reports
        return known
    return known if inside == 1 else numbered(inside)


def _read(source: Path) -> Layout:
    try:
        if not source.exists():
            raise UserError(f"{source} does not exist: check its spelling.")
        if not source.is_dir():
            return read_manifest(source)
        if (source / "imagesTr").is_dir():
            return read_layout(source)
        if (source / "images").is_dir():
            return _paired(source)
        if any(source.glob("*/vertebrae")):
            return _myosegmentum(source)
        if any(source.glob("*/data_*.nii*")):
            return _cervical(source)
    except OSError as error:
        raise UserError(f"{source} cannot be listed ({error.strerror}): name another folder.") from error
    below = next((path for path in sorted(source.glob("*/imagesTr"))), None)
    remedy = (
        f"name {shown(below.parent)}, which is an nnU-Net raw folder."
        if below
        else "put volumes in images/ and label maps of the same names in masks/, "
        "or name a CSV manifest with the columns case, image, mask."
    )
    raise UserError(f"{source} has no known layout: {remedy}")


def _natural(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def _paired(source: Path) -> Layout:
    images, masks = _by_stem(source / "images"), _by_stem(source / "masks")
    return _pair("paired folders", source, images, masks)


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in volumes.list_folder(folder) if folder.is_dir() else []:
        found[volumes.stem_of(path)].append(path)
    return found


def _pair(name: str, source: Path, images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> Layout:
    cases, problems = [], []
    for stem, paths in images.items():
        if len(paths) > 1 or len(masks.get(stem, ())) > 1:
            problems.append(two_files(stem, paths if len(paths) > 1 else masks[stem]))
        elif stem not in masks:
            problems.append(missing_mask(stem, paths[0]))
        else:
            cases.append(Case(stem, (paths[0],), ((masks[stem][0], None),)))
    problems += [extra_mask(stem, paths[0]) for stem, paths in masks.items() if stem not in images]
    return Layout(name, source, cases, problems)


def _myosegmentum(source: Path) -> Layout:
    cases, problems = [], []
    folders = sorted(source.glob("*/vertebrae"))
    beside = [name for name in ("FAT", "PDFF") if all((folder / f"{name}.dcm").exists() for folder in folders)]
    channels = ("WATER", *beside)
    for folder in folders:
        case = folder.parent.name
        image = folder / "WATER.dcm"
        masks = [
            (path, int(match[2])) for path in sorted(folder.glob("*.mha")) if (match := VERTEBRA.match(path.stem))
        ]
        if not image.exists():
            problems.append(
                Problem(case, "missing image", f"{image} is missing: add it, or remove {folder.parent}.")
            )
        elif not masks:
            problems.append(missing_mask(case, image))
        else:
            cases.append(Case(case, tuple(folder / f"{name}.dcm" for name in channels), tuple(masks)))
    # The thesis trained on water images.
    return Layout("MyoSegmenTUM", source, cases, problems, channels, usual=("WATER",))


def _cervical(source: Path) -> Layout:
    images: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        for path in sorted(folder.glob("*.nii*")):
            for prefix, found in (("data_", images), ("label_", masks)):
                if path.name.startswith(prefix) and volumes.suffix_of(path):
                    found[folder.name].append(path)
    return _pair("cervical", source, images, masks)
