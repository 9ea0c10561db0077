"""Files that are whole or absent: everything is written beside its place and then renamed."""

import csv
import hashlib
import io
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from spineloss.errors import UserError

DIGEST = hashlib.sha256().digest_size  # bytes
DAY = 24 * 3600  # seconds


ELSEWHERE = "free some space or choose another folder"


def sealed(content: bytes) -> bytes:
    """Content with its SHA-256 behind it: PyTorch takes a flipped bit for another number."""
    return content + hashlib.sha256(content).digest()


def unsealed(content: bytes) -> bytes:
    """What `sealed` was given.

    Raises:
        ValueError: the content or its digest was changed.
    """
    inner, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(inner).digest() != digest:
        raise ValueError("its digest is another one")
    return inner


def write_atomically(path: Path, write: Callable[[Path], None], remedy: str = ELSEWHERE) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; `remedy` goes into the error.

    A kill or a full disk leaves the old file, or none: never half of one.

    Raises:
        UserError: the file cannot be written (a full disk, no permission).
    """
    # Machine, process and thread keep two writers on one shared folder apart.
    writer = f"{platform.node()}+{os.getpid()}+{threading.get_ident()}"
    temporary = path.with_name(f".{writer}+{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # where nothing can be written Python tells it: ITK would print lines of its own
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written ({reason}): {remedy}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed writers left in a folder and below it.

    They are those of processes that this machine no longer has, and those of other machines that are a day old.
    """
    for path in folder.rglob(".*+*+*+*"):
        machine, process, thread, _ = path.name[1:].split("+", 3)
        if not (process.isdecimal() and thread.isdecimal()):
            continue  # a file of the user's own
        try:
            ended = machine == platform.node() and not is_running(int(process))
            if ended or time.time() - path.stat().st_mtime > DAY:
                path.unlink()
        except OSError:
            continue  # its writer renamed or deleted it meanwhile


def is_running(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_json(path: Path, value: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read plain data from JSON.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: is this the right folder?") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): restore or delete it.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore or delete it.") from error


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    """Write rows as `csv_text`, atomically."""
    write_text(path, csv_text(rows, columns))


def csv_text(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> str:
    """Rows as CSV under the columns' names; floats in full, an undefined number (NaN) as an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value != value else value for key, value in row.items()})
    return buffer.getvalue()


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(save(tensors)))


def cache_folder() -> Path:
    """Where prepared cases are kept: `$SPINELOSS_CACHE`, or `spineloss` in the user's cache folder."""
    chosen = os.environ.get("SPINELOSS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spineloss"
