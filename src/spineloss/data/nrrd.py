"""NRRD files: the text header, verified before ITK reads them."""

import re
from pathlib import Path

from spineloss.data.guards import check_compressed, check_file, check_length, check_memory, damaged, refuse

NAMES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t")
    + ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t")
    + ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}
BYTES = {name: size for size, names in NAMES.items() for name in names}
NEEDED = ("dimension", "type", "sizes", "encoding")
SPACES = ("left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las")
LONGEST = 1 << 20  # bytes of a header


def check(path: Path, *, voxels: bool = True) -> None:
    """Verify that ITK can read a header, and (if not told otherwise) that all voxels are there.

    Raises:
        UserError: it is damaged, or no 3D volume of one channel.
    """
    start, fields = _read_header(path)
    kind = fields["type"].lower()
    if kind not in BYTES:
        raise refuse(path, f"its voxels are of the type {ascii(kind[:40])}", "export them as short or float")
    sizes = _check_sizes(path, fields)
    _check_geometry(path, fields)
    wanted = BYTES[kind]
    for size in sizes:
        wanted *= size
    if voxels:
        _check_voxels(path, fields, start, wanted)


def files_of(path: Path) -> list[Path]:
    """The header's file, and the one with the voxels where that is another."""
    _, fields = _read_header(path)
    return [path, path.parent / fields["data file"]] if "data file" in fields else [path]


def _read_header(path: Path) -> tuple[int, dict[str, str]]:
    check_file(path)
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(16)):
            raise damaged(path, "it does not begin with a NRRD header")
        while line := file.readline(LONGEST):
            text = line.decode("latin-1").strip()
            if not text:
                break
            if file.tell() > LONGEST:
                raise damaged(path, "its NRRD header has no end (an empty line)")
            key, colon, value = text.partition(":")
            if text.startswith("#") or value.startswith("="):
                continue
            if not colon:
                raise damaged(path, "its NRRD header is damaged (a line is no `field: value`)")
            key = key.strip().lower()
            key = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(key, key)
            if key in fields:
                raise damaged(path, f"its header says {ascii(key[:40])} twice")
            fields[key] = value.strip()
        start = file.tell()
    for key in NEEDED:
        if not fields.get(key):
            raise damaged(path, f"its header lacks `{key}`")
    data = fields.get("data file", "")
    if data.upper().startswith("LIST") or "%" in data:
        raise refuse(path, "its voxels are spread over many files", "write it as one .nrrd")
    return start, fields


def _check_sizes(path: Path, fields: dict[str, str]) -> list[int]:
    axes = _whole(path, fields, "dimension")
    try:
        sizes = [int(part) for part in fields["sizes"].split()]
    except ValueError as error:
        raise damaged(path, "its header's `sizes` are no whole numbers") from error
    if len(sizes) != axes or not all(0 < size < 1e9 for size in sizes):
        raise damaged(path, f"its header claims {axes} axes of the sizes {sizes[:8]}")
    kinds = fields.get("kinds", "").lower().split()
    components = [kind for kind in kinds if kind not in ("domain", "space", "time", "none", "???")]
    if components or (axes == 4 and 1 not in (sizes[0], sizes[3])) or axes > 4:
        raise refuse(
            path, f"it holds several channels or volumes (its size is {sizes[:8]})", "export one of them alone"
        )
    if axes < 3:
        raise refuse(path, f"it is {axes}D (its size is {sizes})", "stack its slices into a 3D volume")
    return sizes


def _check_geometry(path: Path, fields: dict[str, str]) -> None:
    axes = int(fields["dimension"])
    if "space directions" in fields:
        length = _whole(path, fields, "space dimension") if "space dimension" in fields else 3
        vectors = re.findall(r"none|\([^)]*\)", fields["space directions"])
        if len(vectors) != axes:
            raise damaged(path, f"its header's `space directions` are not {axes} vectors")
        for vector in vectors:
            if vector != "none":
                _finite(path, "space directions", vector.strip("()").split(","), length)
        if "space origin" in fields:
            _finite(path, "space origin", fields["space origin"].strip("()").split(","), length)
        if fields.get("space", "").lower() not in (*SPACES, "") and "space dimension" not in fields:
            raise refuse(path, f"its space is {ascii(fields['space'][:60])}", f"write it in one of {SPACES[::2]}")
    elif "spacings" in fields:
        parts = fields["spacings"].split()
        _finite(path, "spacings", parts[:3] if axes == 4 else parts, 3)
    else:
        raise damaged(path, "its header does not say its spacing (space directions)")


def _finite(path: Path, key: str, parts: list[str], count: int) -> None:
    try:
        numbers = [float(part) for part in parts]
    except ValueError as error:
        raise damaged(path, f"its header's `{key}` are no numbers") from error
    if len(numbers) != count or not all(abs(number) < 1e9 for number in numbers):
        raise damaged(path, f"its header's `{key}` are not {count} finite numbers")


def _whole(path: Path, fields: dict[str, str], key: str) -> int:
    try:
        return int(fields[key])
    except ValueError as error:
        raise damaged(path, f"its header's `{key}` is no whole number") from error


def _check_voxels(path: Path, fields: dict[str, str], start: int, wanted: int) -> None:
    check_memory(path, wanted)
    if fields.get("line skip", "0") != "0":
        raise refuse(path, "its header skips lines before the voxels", "write it without `line skip`")
    skipped = _whole(path, fields, "byte skip") if "byte skip" in fields else 0
    if "data file" in fields:
        path, start = path.parent / fields["data file"], 0
    size = check_file(path)
    encoding = fields["encoding"].lower()
    if encoding in ("gzip", "gz") and skipped == 0:
        with path.open("rb") as file:
            file.seek(start)
            check_compressed(path, file, size - start, wanted, gzipped=True)
    elif encoding != "raw" or skipped < -1:
        raise refuse(
            path, f"its voxels are encoded as {ascii(encoding[:40])}", "write it with encoding raw or gzip"
        )
    elif skipped == -1:
        check_length(path, wanted, min(wanted, size - start))
    else:
        check_length(path, wanted, size - start - skipped)
