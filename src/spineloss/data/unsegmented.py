"""Cases to predict: which files are the channels of one."""

import re
from collections.abc import Sequence
from pathlib import Path

from spineloss.data import volumes
from spineloss.data.cases import Case
from spineloss.data.nnunet_layout import CHANNEL
from spineloss.errors import UserError


def unsegmented_cases(paths: Sequence[Path], channels: Sequence[str]) -> list[Case]:
    """The cases that files are, for networks that take channels in an order.

    With one channel each file is a case. With several, files are one case whose names differ in nnU-Net's number
    (`a_0000`, `a_0001`) or in the channel's name (`a_T1`, `a_T2`) alone; as many files as channels, without
    either and of one channel each, are one case in the order given; any other file is a case of its own, which
    holds all channels.

    Args:
        paths: files, DICOM series' folders, or folders of them.
        channels: names.

    Raises:
        UserError: a path holds no volume, or a file's name contradicts its number or its place.
    """
    files = [volume for path in paths for volume in volumes.find(path)]
    if len(channels) == 1:
        return [Case(volumes.stem_of(file), (file,), ()) for file in files]
    parts: dict[tuple[Path, str], dict[int, Path]] = {}
    others = []
    for file in files:
        case, number = _place(file, channels)
        if number is None:
            others.append(file)
            continue
        of_case = parts.setdefault((file.parent, case), {})
        if number in of_case:
            raise UserError(f"{file} and {of_case[number]} are both the {channels[number]} of {case}: keep one.")
        of_case[number] = file
    are_channels = len(others) == len(channels) and not parts and all(map(_may_be_a_channel, others))
    together = [tuple(others)] if are_channels else [(file,) for file in others]
    alone = [Case(volumes.stem_of(images[0]), images, ()) for images in together]
    return alone + [
        Case(case, tuple(images[number] for number in sorted(images)), ()) for (_, case), images in parts.items()
    ]


def _may_be_a_channel(file: Path) -> bool:
    """Whether a file does not hold several; what is wrong with its header is told when the case is read."""
    try:
        return volumes.count_channels(file) == 1
    except UserError:
        return True


def _place(file: Path, channels: Sequence[str]) -> tuple[str, int | None]:
    """The case that a file is of, and the number of its channel where its name tells."""
    stem = volumes.stem_of(file)
    numbered = CHANNEL.match(stem)
    case = numbered[1] if numbered else stem
    named = [number for number, name in enumerate(channels) if _pattern(name).search(case)]
    if numbered and int(numbered[2]) < len(channels):
        number = int(numbered[2])
        if len(named) == 1 and named[0] != number:
            raise UserError(
                f"{file} is the file of {channels[number]} by its number and of {channels[named[0]]} by its name: "
                f"the networks take {', '.join(channels)}, in this order."
            )
        return case, number
    if len(named) != 1:
        return case, None
    rest = _pattern(channels[named[0]]).sub("", case).strip("_-. ")
    return rest or file.parent.name or stem, named[0]


def _pattern(name: str) -> re.Pattern[str]:
    """A channel's name as a word of a file's; a number alone is none."""
    words = [re.escape(word) for word in re.split(r"[\W_]+", name) if word]
    text = r"[\W_]*".join(words) if re.search("[A-Za-z]", name) else "(?!)"
    return re.compile(rf"(?<![A-Za-z0-9]){text}(?![A-Za-z0-9])", re.IGNORECASE)
