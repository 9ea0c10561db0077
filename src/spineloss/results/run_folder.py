"""A run is a folder: what it was asked, how far it is, what it measured. A study is a folder of runs."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spineloss.errors import UserError
from spineloss.files import read_json, write_atomically, write_csv, write_json, write_tensors
from spineloss.metrics import METRICS

EPOCH_COLUMNS = ["epoch", "train_loss", "learning_rate", "seconds", "compute_seconds"]


def folder_name(method: str) -> str:
    """A name that every file system takes, one for each method name.

    >>> folder_name("dice")
    'dice'
    >>> folder_name("0.8*dice + 0.2*boundary")
    '0.8-dice-0.2-boundary-51bff6f4'
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", method).strip("-.")[:80]
    if plain == method:
        return plain
    return f"{plain}-{hashlib.sha256(method.encode()).hexdigest()[:8]}".lstrip("-")


@dataclass(frozen=True)
class Run:
    """The folder of one method on one fold, in one of its repeats."""

    folder: Path

    @classmethod
    def of(cls, study: Path, method: str, fold: int, repeat: int = 0) -> "Run":
        """The run of a method, fold and repeat in a study's folder."""
        name = f"fold-{fold}-repeat-{repeat}" if repeat else f"fold-{fold}"
        return cls(study / "runs" / folder_name(method) / name)

    def candidate(self, rate: float) -> "Run":
        """The run that tries a learning rate for this one, on an inner split of its training cases."""
        return Run(self.folder / f"rate-{rate:g}")

    @property
    def weights(self) -> Path:
        """The trained network's tensors."""
        return self.folder / "model.safetensors"

    @property
    def steps(self) -> Path:
        """What each training step recorded; absent where the steps are plain."""
        return self.folder / "steps.csv"

    def record(self) -> dict[str, Any]:
        """What `run.json` says, or a pending record."""
        path = self.folder / "run.json"
        return read_json(path) if path.exists() else {"status": "pending"}

    def write_record(self, record: dict[str, Any]) -> None:
        """Write `run.json`."""
        write_json(self.folder / "run.json", record)

    def write_progress(self, state: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> None:
        """Write what is measured so far, then the checkpoint that goes on from there.

        In this order a kill between the two repeats an epoch, with the same numbers, and loses none.
        """
        self._write_epochs(epochs)
        buffer = io.BytesIO()
        torch.save({"state": state, "epochs": list(epochs)}, buffer)
        write_atomically(self.folder / "checkpoint.pt", lambda path: path.write_bytes(buffer.getvalue()))

    def read_progress(self) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """State and epochs of the checkpoint, or none.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UserError(f"{path} cannot be read ({error}): delete it, and the run starts anew.") from error
        return saved["state"], saved["epochs"]

    def remove_progress(self) -> None:
        """Delete the checkpoint."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)

    def epochs(self) -> list[dict[str, float]]:
        """What `epochs.csv` says of each epoch on record; what was not measured is left out."""
        path = self.folder / "epochs.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]

    def _write_epochs(self, epochs: Sequence[dict[str, Any]]) -> None:
        self._write_steps(epochs)
        write_csv(self.folder / "epochs.csv", [epoch_row(epoch) for epoch in epochs], [*EPOCH_COLUMNS, *METRICS])
        rows = [{"epoch": epoch["epoch"], **row} for epoch in epochs for row in epoch["validation"]]
        columns = ["epoch", "case", "label", *METRICS]
        write_csv(self.folder / "validation.csv", rows, columns)
        last = rows[-1]["epoch"] if rows else None
        write_csv(self.folder / "cases.csv", [row for row in rows if row["epoch"] == last], columns)
        pictures = {str(epoch["epoch"]): epoch["picture"] for epoch in epochs if epoch["picture"] is not None}
        write_tensors(self.folder / "series.safetensors", pictures)

    def _write_steps(self, epochs: Sequence[dict[str, Any]]) -> None:
        records = [(epoch["epoch"], record) for epoch in epochs for record in epoch["steps"]]
        rows = [{"epoch": epoch, "step": step, **record} for step, (epoch, record) in enumerate(records, 1)]
        if rows:
            write_csv(self.steps, rows, list(rows[0]))
        else:
            self.steps.unlink(missing_ok=True)


def epoch_row(epoch: dict[str, Any]) -> dict[str, float]:
    """An epoch's numbers as a row of `epochs.csv`: metrics are means over cases and labels where defined."""
    row = {column: epoch[column] for column in EPOCH_COLUMNS}
    for metric in METRICS:
        values = [case[metric] for case in epoch["validation"] if case[metric] == case[metric]]
        if values:
            row[metric] = sum(values) / len(values)
    return row


def signature(*parts: Any) -> str:
    """A digest of everything that can change a run's result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
