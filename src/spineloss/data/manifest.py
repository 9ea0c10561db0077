"""A CSV manifest: the columns case, image, mask (and group), as Python, R, or a spreadsheet writes them."""

import csv
from collections import Counter
from pathlib import Path

from spineloss.data.cases import Case, Layout, Problem
from spineloss.data.guards import check_file, is_plain, shown
from spineloss.errors import UserError

IMAGE = "image_"  # before a channel's name; a lone column may be `image`
ENCODINGS = ("utf-8-sig", "cp1252")
LARGEST = 1 << 24  # bytes


def read_manifest(path: Path) -> Layout:
    """The cases that a manifest lists; paths are relative to it.

    Each channel has a column, `image_T1`, `image_T2`, in their order.

    Raises:
        UserError: it is no manifest; the message names the line.
    """
    columns, rows = _rows(path)
    cases, problems, seen = [], [], set()
    for line, row in rows:
        case, files = row["case"], [*(row[column] for column in columns), row["mask"]]
        if not case or case in seen or "/" in case or not is_plain(case) or not all(files):
            raise UserError(
                f"{path}, line {line}: each line needs a case of its own, without '/', an image "
                f"({', '.join(columns)}) and a mask."
            )
        seen.add(case)
        *images, mask = (_place(path.parent, file) for file in files)
        missing = next((file for file in (*images, mask) if not file.exists()), None)
        if missing:
            sentence = f"{shown(missing)} does not exist: correct line {line} of {path}."
            problems.append(Problem(case, "missing file", sentence))
        else:
            cases.append(Case(case, tuple(images), ((mask, None),), row.get("group") or None))
    return Layout("manifest", path, cases, problems, tuple(column.removeprefix(IMAGE) for column in columns))


def _place(folder: Path, name: str) -> Path:
    """A file beside the manifest; a path from Windows is read as it was meant."""
    written = folder / name
    return written if written.exists() or "\\" not in name else folder / name.replace("\\", "/")


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of images, and the lines with their numbers."""
    text = _text(path)
    header = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if _named(header, mark)), None)
    if delimiter is None:
        raise UserError(f"{path} is not a manifest: its first line must name the columns case,image,mask.")
    written = [name.strip() for name in next(csv.reader([header.strip("\r")], delimiter=delimiter))]
    # A channel's name is kept as it is written.
    names = [IMAGE + name[len(IMAGE) :] if name.lower().startswith(IMAGE) else name.lower() for name in written]
    for name, times in Counter(names).items():
        if times > 1 and (name in ("case", "mask", "group") or _is_image(name)):
            raise UserError(
                f"{path} names the column {name!r} twice: keep one, or give each channel a name of its own, "
                f"such as {IMAGE}T1."
            )
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = []
    try:
        next(reader)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                padded = [cell.strip() for cell in cells] + [""] * len(names)
                rows.append((reader.line_num, dict(zip(names, padded, strict=False))))
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV manifest ({error}): save it again as CSV (UTF-8).") from error
    if not rows:
        raise UserError(f"{path} lists no case: add a line per case below case,image,mask.")
    return [name for name in names if _is_image(name)], rows


def _is_image(name: str) -> bool:
    return name.lower() == "image" or name.lower().startswith(IMAGE)


def _named(header: str, delimiter: str) -> bool:
    names = {name.strip().strip('"').lower() for name in header.split(delimiter)}
    return {"case", "mask"} <= names and any(map(_is_image, names))


def _text(path: Path) -> str:
    if check_file(path) > LARGEST:
        raise UserError(f"{path} is too large for a manifest: name a folder or a .csv file.")
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise UserError(f"{path} is not a CSV manifest (it is binary): save it as CSV (UTF-8).")
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(f"{path} is neither UTF-8 nor Windows-1252 text: save it as CSV (UTF-8).")
