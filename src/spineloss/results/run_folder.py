"""The folder of a run: the one place that writes and reads its files, and says when one of them is damaged."""

import csv
import hashlib
import io
import json
import math
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic's, before Python 3.12
    TypeVar,
)

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from typing_extensions import TypedDict

from spineloss.errors import UserError, first_line
from spineloss.files import csv_text, read_json, sealed, unsealed, write_atomically, write_csv, write_json
from spineloss.metrics import METRICS
from spineloss.results.surface import Surface, surface_of
from spineloss.results.trajectories import Trajectory, trajectory_of

OWN_DIGEST = "digest"  # of everything else in run.json
FILES = ["epochs.csv", "validation.csv", "cases.csv", "steps.csv", "series.safetensors", "model.safetensors"]
EPOCH_COLUMNS = ["epoch", "train_loss", "learning_rate", "seconds", "compute_seconds"]
CASE_COLUMNS = ["epoch", "case", "label", *METRICS]
Scores = dict[int, dict[tuple[str, str], dict[str, float]]]  # epoch -> (case, label) -> metric -> value
Read = TypeVar("Read")


class Timing(TypedDict):
    """Seconds of a run, and those in forward, backward and optimiser."""

    seconds: float
    compute_seconds: float


class BegunRecord(TypedDict):
    """What `run.json` holds from the start; a run that waits for another holds no more."""

    status: Literal["pending", "waiting", "running", "done", "failed"]
    method: NotRequired[str]
    order: NotRequired[int]
    fold: NotRequired[int]
    repeat: NotRequired[int]
    reason: NotRequired[str | None]
    signature: NotRequired[str]
    started: NotRequired[float]


class DoneRecord(TypedDict):
    """What `run.json` of a finished run holds; `files` has the SHA-256 of each of its files."""

    status: Literal["done"]
    method: str
    order: int
    fold: int
    repeat: int
    loss: str
    learning_rate: float
    candidates: list[dict[str, float | str | None]]
    signature: str
    specification: dict[str, Any]
    channels: list[str]
    labelling: NotRequired[dict[str, Any]]
    images: NotRequired[list[str]]
    orientation: str
    started: float
    timing: Timing
    hardware: NotRequired[list[dict[str, Any]]]
    files: dict[str, str]


# What reading a table of other columns or other content raises.
UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, csv.Error)
BEGUN, DONE = TypeAdapter(BegunRecord), TypeAdapter(DoneRecord)


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
    return f"{plain}-{hashlib.sha256(method.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".lstrip("-")


@dataclass(frozen=True)
class Run:
    """The folder of one method on one fold, in one of its repeats.

    What a finished run's files hold is what was measured: each is read with its SHA-256 checked against the one in
    `run.json`. Every reader raises `UserError` where its file is absent, damaged or changed.
    """

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
    def study(self) -> Path:
        """The folder of its study."""
        return next((each.parent for each in self.folder.resolve().parents if each.name == "runs"), self.folder)

    def record(self) -> dict[str, Any]:
        """What `run.json` holds, or a pending record.

        Raises:
            UserError: the file is no record of a run.
        """
        path = self.folder / "run.json"
        if not path.exists():
            return {"status": "pending"}
        found = read_json(path)
        try:
            BEGUN.validate_python(found)
            if found["status"] == "done":
                DONE.validate_python(found)
        except ValidationError as error:
            raise self._damaged("run.json") from error
        # A flipped bit may leave valid JSON behind, with another number in it.
        if found.pop(OWN_DIGEST, None) not in (None, signature(found)):
            raise self._damaged("run.json")
        return found

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write `run.json`, with a digest of its own content."""
        plain = json.loads(json.dumps(record))
        write_json(self.folder / "run.json", {**plain, OWN_DIGEST: signature(plain)})

    def write_progress(self, signature: str, state: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> None:
        """Write what is measured so far, then the checkpoint that goes on from there.

        In this order a kill between the two repeats an epoch, with the same numbers, and loses none.
        """
        self._write_epochs(epochs)
        buffer = io.BytesIO()
        torch.save({"signature": signature, "state": state, "epochs": list(epochs)}, buffer)
        self._write("checkpoint.pt", sealed(buffer.getvalue()))

    def read_progress(self, signature: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """State and epochs of the checkpoint, or none where it is absent or of other settings.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            saved = torch.load(io.BytesIO(unsealed(path.read_bytes())), map_location="cpu", weights_only=True)
            return (saved["state"], saved["epochs"]) if saved["signature"] == signature else None
        except Exception as error:
            reason = first_line(error)
            raise UserError(f"{path} cannot be read ({reason}): delete it, and the run starts anew.") from error

    def remove_progress(self) -> None:
        """Delete the checkpoint."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)

    def begin_anew(self) -> None:
        """Delete the checkpoint, and what a training with other settings measured."""
        self.remove_progress()
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)

    def finish(self, record: Mapping[str, Any], network: Mapping[str, torch.Tensor]) -> None:
        """Write the trained network, then `run.json` with the digest of every file, and drop the checkpoint.

        A landscape that lies here is deleted: it was drawn around the network that this one replaces.
        """
        for kind in (".csv", ".svg", ".png"):
            self.landscape_file.with_suffix(kind).unlink(missing_ok=True)
        # Copies, as a network may have one tensor under two names (MONAI's DynUNet has), which the format refuses.
        weights = {key: each.clone(memory_format=torch.contiguous_format) for key, each in network.items()}
        self._write("model.safetensors", save_tensors(weights))
        files = {name: _digest(self.folder / name) for name in FILES if (self.folder / name).exists()}
        self.write_record({**record, "status": "done", "files": files})
        self.remove_progress()

    def damage(self) -> str | None:
        """Which file of a finished run is absent, damaged or changed, or none."""
        for name in self.record().get("files", {}):
            try:
                self._content(name)
            except UserError as error:
                return str(error)
        return None

    def epochs(self) -> list[dict[str, float]]:
        """What `epochs.csv` has of each epoch on record; what was not measured is left out."""
        if not (self.folder / "epochs.csv").exists() and self.record()["status"] != "done":
            return []

        def read(rows: list[dict[str, str]]) -> list[dict[str, float]]:
            found = [{key: float(value) for key, value in row.items() if value} for row in rows]
            if not all(epoch.keys() >= set(EPOCH_COLUMNS) for epoch in found):
                raise ValueError("columns are missing")
            return found

        return self._table("epochs.csv", read)

    def scores(self) -> Scores:
        """What `validation.csv` has: epoch -> (case, label) -> metric -> value, NaN where undefined."""

        def read(rows: list[dict[str, str]]) -> Scores:
            scores: Scores = defaultdict(dict)
            for row in rows:
                values = {metric: float(row.get(metric) or math.nan) for metric in METRICS}
                scores[int(row["epoch"])][row["case"], row["label"]] = values
            if not scores:
                raise ValueError("it has no rows")
            return dict(scores)

        return self._table("validation.csv", read)

    @property
    def is_set_aside(self) -> bool:
        """Whether it was finished with other settings, and waits to be trained again."""
        record = self.record()
        return record["status"] != "done" and "files" in record

    @property
    def records_steps(self) -> bool:
        """Whether its training steps recorded anything: weights of terms, or parameters."""
        return (self.folder / "steps.csv").exists()

    def trajectory(self) -> Trajectory:
        """What each training step recorded; of a method that adapts its loss."""
        if not self.records_steps and "steps.csv" not in self.record().get("files", {}):
            path = self.folder / "steps.csv"
            raise UserError(f"{path} is missing: only a method with a weighting or a tuning records its steps.")
        return self._table("steps.csv", trajectory_of)

    def series(self) -> dict[int, torch.Tensor]:
        """The first case's widest slice: validated epoch -> its predicted channels, (C, Y, X) booleans."""
        if not (self.folder / "series.safetensors").exists() and self.record()["status"] != "done":
            return {}
        pictures = self._tensors("series.safetensors")
        return {int(epoch): pictures[epoch] for epoch in sorted(pictures, key=int)}

    def network(self) -> dict[str, torch.Tensor]:
        """The trained network's tensors by name."""
        return self._tensors("model.safetensors")

    @property
    def landscape_file(self) -> Path:
        """Where its loss landscape is, once it is drawn; the pictures are beside it."""
        return self.folder / "landscape.csv"

    def write_landscape(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the points of its loss landscape."""
        write_csv(self.landscape_file, rows, list(rows[0]))

    def landscape(self) -> Surface | None:
        """Its loss landscape, or none where it is not drawn."""
        if not self.landscape_file.exists():
            return None
        try:
            return surface_of(_rows(self.landscape_file.read_bytes()))
        except (OSError, *UNREADABLE) as error:
            command = f"spineloss landscape {shlex.quote(str(self.folder))}"
            raise UserError(f"{self.landscape_file} is damaged: draw it again with `{command}`.") from error

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.folder / name, lambda path: path.write_bytes(content))

    def _write_epochs(self, epochs: Sequence[dict[str, Any]]) -> None:
        self._write_steps(epochs)
        write_csv(self.folder / "epochs.csv", [epoch_row(epoch) for epoch in epochs], [*EPOCH_COLUMNS, *METRICS])
        rows = [{"epoch": epoch["epoch"], **row} for epoch in epochs for row in epoch["validation"]]
        write_csv(self.folder / "validation.csv", rows, CASE_COLUMNS)
        last = rows[-1]["epoch"] if rows else None
        write_csv(self.folder / "cases.csv", [row for row in rows if row["epoch"] == last], CASE_COLUMNS)
        pictures = {str(epoch["epoch"]): epoch["picture"] for epoch in epochs if epoch["picture"] is not None}
        self._write("series.safetensors", save_tensors(pictures))

    def _write_steps(self, epochs: Sequence[dict[str, Any]]) -> None:
        records = [(epoch["epoch"], record) for epoch in epochs for record in epoch["steps"]]
        rows = [{"epoch": epoch, "step": step, **record} for step, (epoch, record) in enumerate(records, 1)]
        path = self.folder / "steps.csv"
        if rows:
            self._write("steps.csv", csv_text(rows, list(rows[0])).encode())
        else:
            path.unlink(missing_ok=True)

    def _content(self, name: str) -> bytes:
        """The bytes of a file; of a finished run only those that were written."""
        path = self.folder / name
        record = self.record()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._damaged(name, f"cannot be read ({error.strerror})") from error
        if "files" in record and record["files"].get(name) != hashlib.sha256(content).hexdigest():
            raise self._damaged(name)
        return content

    def _table(self, name: str, read: Callable[[list[dict[str, str]]], Read]) -> Read:
        content = self._content(name)
        try:
            return read(_rows(content))
        except UNREADABLE as error:
            raise self._damaged(name) from error

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        content = self._content(name)
        try:
            return load_tensors(content)
        except (SafetensorError, KeyError, ValueError) as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str, how: str = "is damaged or was changed") -> UserError:
        command = f"spineloss study run {shlex.quote(str(self.study))}"
        return UserError(f"{self.folder / name} {how}: `{command}` trains this run again.")


def epoch_row(epoch: Mapping[str, Any]) -> dict[str, float]:
    """An epoch's numbers as a row of `epochs.csv`: metrics are means over cases, whose labels are averaged first.

    What is undefined is left out.
    """
    row = {column: epoch[column] for column in EPOCH_COLUMNS}
    for metric in METRICS:
        cases: dict[str, list[float]] = defaultdict(list)
        for scores in epoch["validation"]:
            if not math.isnan(scores[metric]):
                cases[scores["case"]].append(scores[metric])
        if cases:
            row[metric] = sum(sum(values) / len(values) for values in cases.values()) / len(cases)
    return row


def signature(*parts: Any) -> str:
    """A digest of everything that can change a run's result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
