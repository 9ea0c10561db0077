"""Preprocessed cases and data reports on disk, so that a second run reads no original."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from spineloss.data.cases import Layout, Problem
from spineloss.data.check import Report, Row, check
from spineloss.files import cache_folder, read_json, write_json

VERSION = 1  # raise it when preprocessing or checking changes


def key_of(value: Any) -> str:
    """A file name for plain data: the same data, the same name."""
    return hashlib.sha256(json.dumps([VERSION, value], sort_keys=True).encode()).hexdigest()[:32]


class Cache:
    """A folder of tensors by content and of reports by the stamps (path, size, time) of the files reported on."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def report(self, source: Path, layout: Layout) -> Report:
        """The check of `source`, done again only if one of its files changed."""
        stamps = [[case.id, [_stamp(path) for path in case.paths()]] for case in layout.cases]
        unpaired = [problem.sentence for problem in layout.problems]
        path = self.folder / "reports" / f"{key_of([str(source.resolve()), stamps, unpaired])}.json"
        if path.exists():
            return _report_from(read_json(path))
        report = check(source)
        write_json(path, dataclasses.asdict(report))
        return report

    def tensors(self, key: str) -> Path:
        """Where the tensors of a key are, or will be."""
        return self.folder / "cases" / f"{key}.safetensors"


def _stamp(path: Path) -> list[Any]:
    if path.is_dir():
        return [_stamp(inner) for inner in sorted(path.iterdir())]
    if not path.exists():
        return [str(path)]
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _report_from(plain: dict[str, Any]) -> Report:
    rows = [
        Row(**{**row, "voxels": {int(label): count for label, count in row["voxels"].items()}})
        for row in plain["rows"]
    ]
    return Report(**{**plain, "rows": rows, "problems": [Problem(**problem) for problem in plain["problems"]]})
