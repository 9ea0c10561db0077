"""Mutated inputs, one after the other in watched child processes, counted by what came of them.

A subject is a module of this folder with two functions:

    prepare(folder) -> Any             once per process: good inputs to mutate, made in `folder`
    attempt(prepared, random, folder)  one mutated input in an empty `folder`, used as a user would

`attempt` returns where the product did its work, and raises UserError where the input was refused, `Silent` where
a wrong result passed. Input `number` of a subject is the same on every machine: it draws from `random` alone.
"""

import contextlib
import importlib
import math
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from spineloss.errors import UserError
from spineloss.seeding import generator

OUTCOMES = ("ok", "one sentence", "traceback", "crash", "hang", "silent")
GOOD = OUTCOMES[:2]
PATIENCE = 20.0  # seconds that an input may take
START = 600.0  # seconds that a process may take to import and to prepare: many, on a busy machine
LONGEST = 600  # characters of a sentence


class Silent(AssertionError):
    """A wrong result that nothing was said of."""


@dataclass(frozen=True)
class Outcome:
    """What came of an input, and why, in a line or in a traceback."""

    subject: str
    number: int
    kind: str
    detail: str = ""


@dataclass
class Tally:
    """Outcomes by kind, and those that must not happen."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.counts[outcome.kind] += 1
        if outcome.kind not in GOOD:
            self.bad.append(outcome)


def outcomes(
    subject: str, seed: int, *, first: int = 0, most: int | None = None, seconds: float | None = None
) -> Iterator[Outcome]:
    """Inputs `first`, `first` + 1, ... of a subject, until so many or so many seconds are over.

    A process that dies or hangs costs its input alone: the next one goes on in another.
    """
    end = math.inf
    last = math.inf if most is None else first + most
    number = first
    while number < last and time.monotonic() < end:
        with _started(subject, seed) as child:
            if number == first and seconds is not None:
                end = time.monotonic() + seconds
            while number < last and time.monotonic() < end:
                outcome = _next(child, subject, number)
                yield outcome
                number += 1
                if outcome.kind in ("crash", "hang"):
                    break


def _next(child: "_Child", subject: str, number: int) -> Outcome:
    try:
        child.pipe.send(number)
        if not child.pipe.poll(PATIENCE):
            return Outcome(subject, number, "hang", f"no answer within {PATIENCE:g} s")
        return Outcome(subject, number, *child.pipe.recv())
    except (EOFError, ConnectionError):
        child.process.join(PATIENCE)
        said = child.output.read_text(encoding="utf-8", errors="replace")[-2000:]
        return Outcome(subject, number, "crash", f"the process ended with {child.process.exitcode}\n{said}")


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    pipe: Connection
    output: Path


@contextlib.contextmanager
def _started(subject: str, seed: int) -> Iterator[_Child]:
    # Each process is a fork of one that has imported what takes seconds, and has run nothing yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["spineloss.study.engine", "spineloss.study.prediction"])
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        ours, theirs = context.Pipe()
        output = Path(folder) / "output"
        process = context.Process(target=_work, args=(subject, seed, Path(folder), theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(START) or ours.recv() != "ready":
                raise TimeoutError(f"{subject} was not prepared within {START:g} s")
            yield _Child(process, ours, output)
        except EOFError:
            raise RuntimeError(f"{subject} cannot be prepared: {output.read_text(errors='replace')}") from None
        finally:
            ours.close()
            process.kill()
            process.join()
            _empty(Path(folder))


def _work(subject: str, seed: int, home: Path, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What an input prints is nobody's to read, but for the last words of a process that dies.
    with (home / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ["SPINELOSS_CACHE"] = str(home / "cache")
    module = importlib.import_module(f"fuzz.{subject}")
    prepared = module.prepare(_empty(home / "prepared"))
    pipe.send("ready")
    while True:
        number = pipe.recv()
        pipe.send(_attempt(module, prepared, generator(subject, seed, number), _empty(home / "attempt")))


def _empty(folder: Path) -> Path:
    if folder.exists():
        # A mutation may have taken permissions away.
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                if not (inside := Path(parent, name)).is_symlink():
                    inside.chmod(0o700)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _attempt(module: ModuleType, prepared: object, random: object, folder: Path) -> tuple[str, str]:
    try:
        module.attempt(prepared, random, folder)
    except UserError as error:
        sentence = str(error)
        if not sentence.isprintable() or len(sentence) > LONGEST:
            return "traceback", f"no sentence of at most {LONGEST} printable characters: {sentence[:1000]!r}"
        return "one sentence", sentence
    except Silent as error:
        return "silent", str(error)
    except BaseException:
        return "traceback", traceback.format_exc()
    return "ok", ""
