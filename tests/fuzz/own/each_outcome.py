"""The harness's own subject: an input ends in each way that one can."""

import os
import time
from pathlib import Path

import numpy as np

from fuzz.harness import Silent
from spineloss.errors import UserError

KINDS = ("ok", "one sentence", "two lines", "traceback", "crash", "hang", "silent", "locked")


def prepare(folder: Path) -> tuple[str, ...]:
    """What inputs may be."""
    return KINDS


def attempt(kinds: tuple[str, ...], random: np.random.Generator, folder: Path) -> None:
    """Ends in a drawn way."""
    assert not list(folder.iterdir()), "the folder is not empty"
    kind = kinds[random.integers(len(kinds))]
    (folder / "inside").mkdir(mode=0o500 if kind == "locked" else 0o700)
    if kind == "one sentence":
        raise UserError("The input is wrong: write another.")
    if kind == "two lines":
        raise UserError("The input\nis wrong.")
    if kind == "traceback":
        raise KeyError(kind)
    if kind == "crash":
        os.write(2, b"last words")
        os.abort()
    if kind == "hang":
        time.sleep(60)
    if kind == "silent":
        raise Silent("3 for 4")
