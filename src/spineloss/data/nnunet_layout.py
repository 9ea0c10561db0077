"""nnU-Net's raw folders: `dataset.json` of versions 1 (the Decathlon's) and 2, and the files it describes."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spineloss.data import volumes
from spineloss.data.cases import Case, Labels, Layout, Problem
from spineloss.errors import UserError

NAME = "nnU-Net raw"
CHANNEL = re.compile(r"(.+)_(\d{4})$")
FLAT = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says: channel names in order, labels, and the ending of the files."""

    channels: tuple[str, ...] = ()
    labels: Labels = Labels()
    ending: str | None = None


def read_layout(source: Path) -> Layout:
    """The cases of `imagesTr` and `labelsTr`.

    Raises:
        UserError: `dataset.json` is no such description, or the images are 2D.
    """
    description = read_description(source / "dataset.json")
    images = _images(source, description)
    masks = _files(source / "labelsTr", description)
    channels = description.channels or numbered(max(map(len, images.values()), default=1))
    cases, problems = [], []
    for case, parts in images.items():
        numbers = sorted(parts)
        # The Decathlon's files hold all channels of a case, and have no number.
        in_one = numbers == [0] and not CHANNEL.match(volumes.stem_of(parts[0][0]))
        if numbers != list(range(len(channels))) and not in_one:
            problems.append(_wrong_channels(case, source, parts, channels))
        elif any(len(paths) > 1 for paths in parts.values()):
            problems.append(two_files(case, next(paths for paths in parts.values() if len(paths) > 1)))
        elif len(masks.get(case, ())) > 1:
            problems.append(two_files(case, masks[case]))
        elif case not in masks:
            problems.append(missing_mask(case, parts[0][0]))
        else:
            cases.append(Case(case, tuple(parts[n][0] for n in numbers), ((masks[case][0], None),)))
    problems += [extra_mask(case, paths[0]) for case, paths in masks.items() if case not in images]
    return Layout(NAME, source, cases, problems, channels, description.labels)


def numbered(count: int) -> tuple[str, ...]:
    """Names of channels that have none."""
    return tuple(f"channel {number}" for number in range(count))


def two_files(case: str, paths: list[Path]) -> Problem:
    """Two files that only their endings tell apart."""
    names = " and ".join(str(path) for path in paths[:2])
    return Problem(case, "two files", f"{names} have one name but for the ending: keep one of them.")


def missing_mask(case: str, image: Path) -> Problem:
    """An image without a mask."""
    return Problem(case, "missing mask", f"{image} has no mask: add one of the same name, or remove it.")


def extra_mask(case: str, mask: Path) -> Problem:
    """A mask without an image."""
    return Problem(case, "extra mask", f"{mask} has no image: add one of the same name, or remove it.")


def _wrong_channels(case: str, source: Path, parts: dict[int, list[Path]], channels: tuple[str, ...]) -> Problem:
    there = ", ".join(f"_{number:04d}" for number in sorted(parts))
    wanted = f"{len(channels)} ({', '.join(channels)})" if len(channels) > 1 else "one"
    sentence = (
        f"{source / 'imagesTr' / case} has the channels {there}, but the data set {wanted}: add or remove files."
    )
    return Problem(case, "channels", sentence)


def _images(source: Path, description: Description) -> dict[str, dict[int, list[Path]]]:
    images: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for stem, paths in _files(source / "imagesTr", description).items():
        match = CHANNEL.match(stem)
        case, number = (match[1], int(match[2])) if match else (stem, 0)
        images[case][number] += paths
    return images


def _files(folder: Path, description: Description) -> dict[str, list[Path]]:
    files = defaultdict(list)
    found = volumes.list_folder(folder) if folder.is_dir() else []
    for path in found:
        if description.ending is None or path.name.lower().endswith(description.ending.lower()):
            files[volumes.stem_of(path)].append(path)
    if not files and folder.is_dir():
        flat = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in FLAT), None)
        if flat is not None:
            raise UserError(
                f"{flat} is a 2D image: networks here are 3D, stack the slices of each case into a volume."
            )
    return files


def read_description(path: Path) -> Description:
    """`dataset.json` of a raw folder; without one, nothing is known.

    Raises:
        UserError: it is not JSON, or not as nnU-Net describes it.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return Description()
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({' '.join(str(error).split())[:120]}): correct it.") from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} is no description of a data set: it must be a JSON object.")
    ending = plain.get("file_ending")
    if ending is not None and not isinstance(ending, str):
        raise UserError(f'{path}: `file_ending` must be a text such as ".nii.gz": correct it.')
    if ending is not None and ending.lower() in FLAT:
        raise UserError(
            f"{path} describes 2D images ({ending}): networks here are 3D, stack the slices of each case."
        )
    return Description(_channels(path, plain), _labels(path, plain), ending)


def _channels(path: Path, plain: dict[str, Any]) -> tuple[str, ...]:
    key = "channel_names" if plain.get("channel_names") else "modality"
    names = plain.get(key)
    if names is None:
        return ()
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f'{path}: `{key}` must map numbers to names, as in {{"0": "T2"}}: correct it.')
    if sorted(names) != sorted(str(number) for number in range(len(names))):
        raise UserError(f"{path}: `{key}` must count from 0 without gaps: correct it.")
    return tuple(names[str(number)] for number in range(len(names)))


def _labels(path: Path, plain: dict[str, Any]) -> Labels:
    entries = plain.get("labels") or {}
    if not isinstance(entries, dict):
        raise UserError(f'{path}: `labels` must map names to numbers, as in {{"background": 0}}: correct it.')
    if entries and all(key.isdigit() and isinstance(name, str) for key, name in entries.items()):
        # Version 1 maps numbers to names, which may come again.
        twice = {name for name in entries.values() if list(entries.values()).count(name) > 1}
        entries = {f"{name} {key}" if name in twice else name: int(key) for key, name in entries.items()}
    names, regions, ignore = {}, {}, None
    for name, value in entries.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(
            isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in values
        ):
            raise UserError(f"{path}: the label {name!r} must be a whole number, or a list of them: correct it.")
        if name == "ignore":
            ignore = values[0]
        elif isinstance(value, list):
            regions[name] = tuple(values)
        elif value != 0:
            names[value] = name
    if not regions:
        return Labels(names, ignore)
    return _regions(path, plain, names, regions, ignore)


def _regions(path: Path, plain: dict[str, Any], names: dict, regions: dict, ignore: int | None) -> Labels:
    """With one region, nnU-Net trains every entry as a region, a plain label as a region of itself."""
    every = {name: labels for name, labels in regions.items() if labels != (0,)}
    every |= {name: (label,) for label, name in names.items()}
    order = plain.get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(every) or not all(isinstance(one, int) for one in order):
        raise UserError(
            f"{path}: `regions_class_order` must list {len(every)} labels, one per region ({', '.join(every)})."
        )
    in_order = [name for name in plain["labels"] if name in every]
    return Labels(names, ignore, {name: every[name] for name in in_order}, dict(zip(in_order, order, strict=True)))
