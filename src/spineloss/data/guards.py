"""Checks of a file before a reader opens it: a printable name, a regular file, as long as its header says."""

import contextlib
import gzip
import os
import stat
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from spineloss.errors import UserError

DEFLATE_LIMIT = 1032  # zlib's largest ratio of compression: a header that claims more is false
CHUNK = 1 << 20
LONGEST_REASON = 300


def shown(path: Path | str) -> str:
    """A path, or a text with paths in it, as plain text; what no terminal could print is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def is_plain(path: Path | str) -> bool:
    """Whether a name is UTF-8 text without control characters."""
    return not any(unicodedata.category(char) in ("Cs", "Cc") for char in str(path))


def refuse(path: Path, reason: str, remedy: str) -> UserError:
    """The error for a file that cannot be used, with the reader's reason and what to do."""
    return UserError(f"{shown(path)} cannot be used: {shown(reason[:LONGEST_REASON])}; {shown(remedy)}.")


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file that is not as its writer left it."""
    return refuse(path, reason, "copy or export it again, or leave its case out")


def check_name(path: Path) -> None:
    """Refuse names that cannot be printed or passed to the readers: other encodings, control characters."""
    if not is_plain(path):
        raise refuse(path, "its name is not plain UTF-8 text", "rename it")


def check_file(path: Path) -> int:
    """The size in bytes of a file that can be read to its end: no folder, pipe, or device.

    Raises:
        UserError: it is none, or may not be read.
    """
    check_name(path)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: check its spelling.") from error
    except OSError as error:
        raise refuse(path, _reason(error), "name another file") from error
    if not stat.S_ISREG(status.st_mode):
        raise refuse(path, "it is a folder, a pipe or a device, not a file", "name a volume file")
    if not os.access(path, os.R_OK):
        raise refuse(path, "reading it is not permitted", "change its permissions")
    return status.st_size


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def memory() -> int:
    """The bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(path: Path, wanted: int) -> None:
    """Refuse a header that claims more bytes than this machine has memory."""
    if wanted > memory():
        raise refuse(
            path,
            f"its header claims {wanted / 2**30:.3g} GiB of voxels, more than this machine's memory",
            "crop it, or export it again if that is wrong",
        )


def check_length(path: Path, wanted: int, there: int) -> None:
    """Compare the bytes of voxels that a header claims with those that are there."""
    if wanted != there:
        kind = "cut short" if there < wanted else "longer than its header says"
        raise damaged(path, f"it is {kind}: {there} bytes, not {wanted}")


@contextlib.contextmanager
def open_gzip(path: Path) -> Iterator[BinaryIO]:
    """A gzip file to read from; damage found on the way is refused by its kind."""
    try:
        with gzip.open(path) as file:
            yield file
    except EOFError as error:
        raise damaged(path, "it is cut short: its gzip stream has no end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"its gzip stream is damaged ({error})") from error
    except OSError as error:
        raise refuse(path, _reason(error), "copy it again") from error


def read_gzip(path: Path, start: int, length_of: Callable[[bytes], int]) -> bytes:
    """Everything in a gzip file, whose end, checksum and length are verified.

    Args:
        path: of the file.
        start: bytes of the header.
        length_of: from that many bytes, or fewer where there are no more, to the length of the whole.
    """
    size = check_file(path)
    with open_gzip(path) as file:
        header = file.read(start)
        wanted = length_of(header)
        _check_claim(path, wanted, size)
        # One byte more than wanted: gzip verifies its checksum at the end alone.
        body = file.read(max(wanted - len(header), 0) + 1)
    check_length(path, wanted, len(header) + len(body))
    return header + body


def check_compressed(path: Path, file: BinaryIO, length: int, wanted: int, *, gzipped: bool) -> None:
    """Inflate the next `length` bytes of a file without keeping them, to verify their end, checksum and length."""
    _check_claim(path, wanted, length)
    inflater = zlib.decompressobj(zlib.MAX_WBITS + (16 if gzipped else 0))
    there, remaining = 0, length
    try:
        while remaining and not inflater.eof:
            piece = file.read(min(CHUNK, remaining))
            remaining -= len(piece)
            if not piece:
                break
            while piece and not inflater.eof and there <= wanted:
                there += len(inflater.decompress(piece, CHUNK * 8))
                piece = inflater.unconsumed_tail
    except zlib.error as error:
        raise damaged(path, f"its compressed voxels are damaged ({error})") from error
    if there <= wanted and not inflater.eof:
        raise damaged(path, "it is cut short: its compressed voxels have no end")
    check_length(path, wanted, there)


def _check_claim(path: Path, wanted: int, compressed: int) -> None:
    check_memory(path, wanted)
    if wanted > DEFLATE_LIMIT * (compressed + 64):
        raise damaged(path, f"its header claims {wanted} bytes of voxels, which {compressed} bytes cannot hold")
