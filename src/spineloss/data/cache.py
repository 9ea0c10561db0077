"""Preprocessed cases and data reports on disk, verified and mapped, so that a second run reads no original."""

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spineloss.data import volumes
from spineloss.data.cases import Layout, Problem
from spineloss.data.check import Report, Row, Use, check
from spineloss.errors import UserError
from spineloss.files import cache_folder, write_atomically, write_json

REMEDY = "free some space, or name another folder for the cache in SPINELOSS_CACHE"
VERSION = 3  # raise it when preprocessing or checking changes


def key_of(value: Any) -> str:
    """A file name for plain data: the same data, the same name."""
    return hashlib.sha256(json.dumps([VERSION, value], sort_keys=True).encode()).hexdigest()[:32]


class Cache:
    """A folder of tensors by content and of reports by the stamps (path, size, times) of the files reported on.

    What is read back is compared with its digest: a damaged file counts as absent, and is made again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def report(self, layout: Layout, use: Use | None = None) -> Report:
        """The check of a layout, done again only if one of its files changed; `use` is called if it is done."""
        path = self._report_path(layout)
        if (kept := _read_report(path)) is not None:
            return kept
        report = check(layout, use)
        plain = dataclasses.asdict(report)
        write_json(path, {"sha256": _digest_of_plain(path.stem, plain), "report": plain})
        return report

    def has_report(self, layout: Layout) -> bool:
        """Whether the check of a layout is kept."""
        return _read_report(self._report_path(layout)) is not None

    def _report_path(self, layout: Layout) -> Path:
        stamps = [[case.id, [_stamp(path) for path in case.paths()]] for case in layout.cases]
        unpaired = [problem.sentence for problem in layout.problems]
        # What else the check reads of the layout: dataset.json is no file of a case.
        said = [unpaired, layout.labels.ignore, len(layout.channels)]
        key = key_of([str(layout.source.resolve()), stamps, *said])
        return self.folder / "reports" / f"{key}.json"

    def path(self, key: str) -> Path:
        """Where the tensors of a key are, or will be."""
        return self.folder / "cases" / f"{key}.safetensors"

    def read(self, key: str, *names: str) -> dict[str, torch.Tensor] | None:
        """The named tensors of a key, mapped; none if one is absent or damaged."""
        try:
            return _map_verified(self.path(key), *names)
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def write(self, key: str, tensors: dict[str, torch.Tensor]) -> None:
        """Keep tensors with their digests."""
        digests = {name: _digest(key, name, tensor) for name, tensor in tensors.items()}
        content = save(tensors, metadata=digests)
        write_atomically(self.path(key), lambda temporary: temporary.write_bytes(content), REMEDY)


def map_tensor(path: Path, name: str) -> torch.Tensor:
    """One tensor of a kept file, mapped: what is looked at is read, and memory is free again with the tensor.

    Its digest is compared the first time that this process looks at the file.

    Raises:
        UserError: the file is absent or damaged.
    """
    try:
        return _map_verified(path, name)[name]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: delete it; the same command makes it again.") from error


def _map_verified(path: Path, *names: str) -> dict[str, torch.Tensor]:
    for name in names:
        _verify(path, name, tuple(_stamp_of_file(path)))
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in names}


@cache
def _verify(path: Path, name: str, stamp: tuple[Any, ...]) -> None:
    """Compare a tensor with its digest, once for each state (stamp) of its file."""
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {})[name] != _digest(path.stem, name, file.get_tensor(name)):
            raise ValueError(f"{name} is damaged")


def _digest(key: str, name: str, tensor: torch.Tensor) -> str:
    # With the key, so that one file in another's place is noticed.
    digest = hashlib.sha256(f"{key} {name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _digest_of_plain(key: str, plain: Any) -> str:
    return hashlib.sha256(json.dumps([key, plain], sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> list[Any]:
    """What changes when a volume does: size and times of each of its files."""
    try:
        files = volumes.files_of(path)
    except UserError:
        files = [path]
    return [_stamp_of_file(file) for file in files]


def _stamp_of_file(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [str(path)]
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read_report(path: Path) -> Report | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        plain = kept["report"]
        return _report_from(plain) if kept["sha256"] == _digest_of_plain(path.stem, plain) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _report_from(plain: dict[str, Any]) -> Report:
    rows = [
        Row(**{**row, "voxels": {int(label): count for label, count in row["voxels"].items()}})
        for row in plain["rows"]
    ]
    problems, remarks = ([Problem(**one) for one in plain[key]] for key in ("problems", "remarks"))
    return Report(**{**plain, "rows": rows, "problems": problems, "remarks": remarks})
