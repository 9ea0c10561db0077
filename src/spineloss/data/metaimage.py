"""MetaImage files (.mha, .mhd with its .raw): the text header, verified before ITK reads them."""

from difflib import get_close_matches
from pathlib import Path

from spineloss.data.guards import (
    check_compressed,
    check_file,
    check_length,
    check_memory,
    damaged,
    refuse,
)

BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
# How many numbers the value of a key has, for n axes; a wrong number of them crashes ITK or shifts its reading.
NUMBERS = {
    "DimSize": lambda axes: axes,
    "ElementSpacing": lambda axes: axes,
    "ElementSize": lambda axes: axes,
    "Offset": lambda axes: axes,
    "Origin": lambda axes: axes,
    "Position": lambda axes: axes,
    "CenterOfRotation": lambda axes: axes,
    "TransformMatrix": lambda axes: axes * axes,
    "Rotation": lambda axes: axes * axes,
    "Orientation": lambda axes: axes * axes,
    "NDims": lambda axes: 1,
    "HeaderSize": lambda axes: 1,
    "CompressedDataSize": lambda axes: 1,
    "ElementNumberOfChannels": lambda axes: 1,
}
SWITCHES = ("BinaryData", "CompressedData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
KNOWN = (*NEEDED, *NUMBERS, *SWITCHES)
LONGEST = 1 << 20  # bytes of a header


def files_of(path: Path) -> list[Path]:
    """The header's file, and the one with the voxels where that is another."""
    _, fields = _read_header(path)
    data = fields["ElementDataFile"]
    return [path] if data.upper() == "LOCAL" else [path, path.parent / data]


def check(path: Path, *, voxels: bool = True) -> None:
    """Verify that ITK can read a header, and (if not told otherwise) that all voxels are there.

    Raises:
        UserError: it is damaged, or no volume.
    """
    start, fields = _read_header(path)
    sizes = _check_fields(path, fields)
    kind = fields["ElementType"].upper()
    if kind not in BYTES:
        raise refuse(path, f"its voxels are of the type {kind}", "export them as MET_SHORT or MET_FLOAT")
    wanted = BYTES[kind]
    for size in (*sizes, _components(path, fields)):
        wanted *= size
    if voxels:
        _check_voxels(path, fields, start, wanted)


def channels_of(path: Path) -> int:
    """How many channels a file holds: components of its voxels, or volumes of a 4D one."""
    _, fields = _read_header(path)
    sizes = _check_fields(path, fields)
    return _components(path, fields) * (sizes[3] if len(sizes) == 4 else 1)


def _components(path: Path, fields: dict[str, str]) -> int:
    components = _whole(path, fields, "ElementNumberOfChannels") if "ElementNumberOfChannels" in fields else 1
    if not 1 <= components < 1000:
        raise damaged(path, f"its header claims {components} components of a voxel")
    return components


def _read_header(path: Path) -> tuple[int, dict[str, str]]:
    check_file(path)
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields:
            line = file.readline(LONGEST)
            if not line or file.tell() > LONGEST:
                raise damaged(path, "its MetaImage header has no end (the line ElementDataFile)")
            key, equals, value = line.decode("latin-1").partition("=")
            if line.strip() and not equals:
                raise damaged(path, "its MetaImage header is damaged (a line is no `key = value`)")
            fields[key.strip()] = value.strip()
        start = file.tell()
    _check_keys(path, fields)
    return start, fields


def _check_keys(path: Path, fields: dict[str, str]) -> None:
    for key in fields:
        near = get_close_matches(key, KNOWN, n=1, cutoff=0.85)
        if key not in KNOWN and near and near[0] not in fields:
            raise damaged(path, f"its header has the unknown key {ascii(key[:40])}, probably {near[0]}")
    for key in NEEDED:
        if not fields.get(key):
            raise damaged(path, f"its header lacks {key}")
    data = fields["ElementDataFile"]
    if data.upper().startswith("LIST") or "%" in data:
        raise refuse(path, "its voxels are spread over many files", "write it as one .mha")


def _check_fields(path: Path, fields: dict[str, str]) -> list[int]:
    axes = _whole(path, fields, "NDims")
    if axes not in (1, 2, 3, 4):
        raise damaged(path, f"its header claims {axes} axes")
    for key, count in NUMBERS.items():
        if key in fields:
            _numbers(path, fields, key, count(axes))
    for key in SWITCHES:
        if key in fields and fields[key].lower() not in ("true", "false", "1", "0"):
            raise damaged(path, f"its header's {key} is neither True nor False")
    if fields.get("BinaryData", "True").lower() in ("false", "0"):
        raise refuse(path, "its voxels are written as text", "write it as binary data")
    sizes = [int(number) for number in _numbers(path, fields, "DimSize", axes)]
    if min(sizes) < 1:
        raise damaged(path, f"its header claims the size {sizes}")
    if axes < 3:
        raise refuse(path, f"it is {axes}D (its size is {sizes})", "stack its slices into a 3D volume")
    if "ElementSpacing" not in fields and "ElementSize" not in fields:
        raise damaged(path, "its header does not say its spacing (ElementSpacing)")
    return sizes


def _numbers(path: Path, fields: dict[str, str], key: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in fields[key].split()]
    except ValueError as error:
        raise damaged(path, f"its header's {key} is no list of numbers") from error
    if len(numbers) != count or not all(abs(number) < 1e9 or key == "CompressedDataSize" for number in numbers):
        raise damaged(path, f"its header's {key} is not {count} finite number{'s' * (count > 1)}")
    return numbers


def _whole(path: Path, fields: dict[str, str], key: str) -> int:
    (number,) = _numbers(path, fields, key, 1)
    if number != int(number):
        raise damaged(path, f"its header's {key} is no whole number")
    return int(number)


def _check_voxels(path: Path, fields: dict[str, str], start: int, wanted: int) -> None:
    check_memory(path, wanted)
    data = fields["ElementDataFile"]
    skipped = _whole(path, fields, "HeaderSize") if "HeaderSize" in fields else 0
    if data.upper() != "LOCAL":
        path, start = path.parent / data, 0
    size = check_file(path)
    if fields.get("CompressedData", "False").lower() in ("true", "1"):
        length = _whole(path, fields, "CompressedDataSize") if "CompressedDataSize" in fields else size - start
        if not 0 < length <= size - start:
            raise damaged(path, f"it is cut short: {size - start} bytes of compressed voxels, not {length}")
        with path.open("rb") as file:
            file.seek(start)
            gzipped = file.read(2) == b"\x1f\x8b"
            file.seek(start)
            check_compressed(path, file, length, wanted, gzipped=gzipped)
    elif skipped == -1:
        check_length(path, wanted, min(wanted, size - start))
    elif skipped < 0:
        raise damaged(path, f"its header claims that {skipped} bytes come before the voxels")
    else:
        check_length(path, wanted, size - start - skipped)
