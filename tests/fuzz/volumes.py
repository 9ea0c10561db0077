"""Volume files of six formats, damaged, through `data check` and `predict`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from data.series import write_enhanced, write_series
from fuzz.harness import Silent
from spineloss.data import volumes
from spineloss.data.check import check
from spineloss.data.labelling import labelling_of
from spineloss.data.layouts import find_cases
from spineloss.data.resolution import Resolution
from spineloss.errors import UserError
from spineloss.study.prediction import Predictor, predict

SHAPE = (6, 10, 8)
NUMBERS = (b"-3", b"0", b"nan", b"inf", b"1e9", b"999999999999", b"2147483648", b"1.5", b"", b"x", b"\xff", b"-0")
# Verified by a checksum: whatever was changed, the voxels are the saved ones or the file is refused.
CHECKED = ("c.nii.gz", "zipped.nrrd")


@dataclass(frozen=True)
class Prepared:
    """A folder with good files, the voxels in them, their mask, and a predictor."""

    folder: Path
    names: tuple[str, ...]
    array: np.ndarray
    predictor: Predictor


def prepare(folder: Path) -> Prepared:
    array = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 0.8, 4.0))
    image.SetOrigin((5.0, -3.0, 0.0))
    names = ("c.mha", "zipped.mha", "c.mhd", "c.nii", "c.nii.gz", "c.nrrd", "zipped.nrrd", "c.dcm", "series")
    for name in names[:-2]:
        sitk.WriteImage(image, folder / name, useCompression=name.startswith("zipped"))
    write_enhanced(folder / "c.dcm", array, 4.0 * np.arange(SHAPE[0]))
    write_series(folder / "series", array)
    sitk.WriteImage(sitk.Cast(image > 450, sitk.sitkUInt8), folder / "mask.mha")
    return Prepared(folder, names, array, _predictor())


def _predictor() -> Predictor:
    """One whose network is the identity: the reader is tried here."""
    predictor = Predictor.__new__(Predictor)
    predictor.method, predictor.orientation = "identity", "LPS"
    predictor.resolution, predictor.patch = Resolution((16, 16, 16)), None
    predictor.channels, predictor.device = ["image"], torch.device("cpu")
    predictor.labelling = labelling_of("merged", [1])
    predictor.networks = [torch.nn.Identity()]
    return predictor


def attempt(prepared: Prepared, random: np.random.Generator, folder: Path) -> None:
    name = str(random.choice(prepared.names))
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    shutil.copy(prepared.folder / "mask.mha", folder / "masks" / "c.mha")
    target = folder / "images" / name.replace("zipped", "c").replace("series", "c")
    spoiled = _copy(prepared, name, target, random)
    before = spoiled.read_bytes()
    after = mutate(before, random)
    spoiled.write_bytes(after)
    report = check(find_cases(folder))
    done = list(predict(prepared.predictor, [target], folder / "out"))
    if not report.problems and not done:
        raise Silent(f"{name}: neither refused nor read")
    _compare(prepared, name, target, len(after) < len(before))


def _copy(prepared: Prepared, name: str, target: Path, random: np.random.Generator) -> Path:
    """Put a good volume in place; the file of it that will be changed."""
    source = prepared.folder / name
    if source.is_dir():
        shutil.copytree(source, target)
        return sorted(target.iterdir())[random.integers(SHAPE[0])]
    shutil.copy(source, target)
    if name == "c.mhd":
        shutil.copy(source.with_suffix(".raw"), target.with_suffix(".raw"))
        return target if random.random() < 0.7 else target.with_suffix(".raw")
    return target


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """A file's content with one to three changes of a random kind."""
    for _ in range(int(random.integers(1, 4))):
        content = KINDS[random.integers(len(KINDS))](content, random)
    return content


def _place(content: bytes, random: np.random.Generator) -> int:
    # Most headers lie in the first bytes.
    end = min(len(content), 700) if random.random() < 0.6 else len(content)
    return int(random.integers(max(end, 1)))


def _flip(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random)
    return (
        content[:place] + bytes([content[place] ^ (1 << random.integers(8))]) + content[place + 1 :]
        if content
        else b""
    )


def _cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: random.integers(len(content) + 1)]


def _insert(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random)
    return content[:place] + random.bytes(int(random.integers(1, 40))) + content[place:]


def _remove(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random)
    return content[:place] + content[place + int(random.integers(1, 40)) :]


def _overwrite(content: bytes, random: np.random.Generator) -> bytes:
    place, fill = _place(content, random), random.choice([b"\0", b"\xff", b"\x7f", b"9"])
    length = int(random.choice([1, 2, 4, 8, 16]))
    return content[:place] + fill * length + content[place + length :]


def _number(content: bytes, random: np.random.Generator) -> bytes:
    """Another number in a text header."""
    words = content[:700].split(b" ")
    if len(words) < 2:
        return content
    words[random.integers(len(words))] = NUMBERS[random.integers(len(NUMBERS))]
    return b" ".join(words) + content[700:]


def _lines(content: bytes, random: np.random.Generator) -> bytes:
    """A line of a text header left out or doubled."""
    lines = content[:700].split(b"\n")
    place = int(random.integers(len(lines)))
    return (
        b"\n".join(lines[:place] + lines[place : place + 1] * int(random.choice([0, 2])) + lines[place + 1 :])
        + content[700:]
    )


KINDS = (_flip, _flip, _cut, _insert, _remove, _overwrite, _number, _lines)


def _compare(prepared: Prepared, name: str, path: Path, shorter: bool) -> None:
    """What is read without a word must have the saved size and, where a checksum tells, the saved voxels."""
    try:
        image = volumes.read(path)
    except UserError:
        return
    read = volumes.array_of(image)
    if read.size != prepared.array.size:
        raise Silent(f"{name}: {read.size} voxels in place of {prepared.array.size}")
    if name in CHECKED and shorter and not np.array_equal(read, prepared.array):
        raise Silent(f"{name}: other voxels although the file has a checksum")
