"""Study files of anyone: read as the study that they say, or refused in one sentence."""

from pathlib import Path
from typing import Any

import numpy as np

from spineloss.study.settings import load

GOOD = """\
preset: lumbar
data: volumes
groups: '([a-z]+)-\\d+'
labels: [1, 2]
target: per-label
grid: [16, 64, 64]
width: 8
folds: 3
repeats: 2
seed: 21
epochs: 20
batch: 4
learning_rate: [0.001, 3e-3]
clip_gradient: 1.0
augment: {affine: 0.3, noise: 0.2, mixup: 0.0}
methods:
  - dice
  - {name: boundary, loss: 0.8*dice + 0.2*boundary, learning_rate: 0.01}
  - {loss: dice + focal, weighting: "cov", controls: true}
  - {loss: tversky, tuning: "greedy(moves=single, every=8)"}
"""
# What a value may be by mistake, or by malice.
VALUES = [
    *(
        "~",
        "true",
        "0",
        "-1",
        "1.5",
        ".nan",
        ".inf",
        "1e999",
        "010",
        "1:30",
        "2021-01-01",
        "on",
        "[]",
        "{}",
        "[[]]",
    ),
    *(
        '""',
        '" "',
        '"\\0"',
        '"\\ud800"',
        "&a [*a]",
        "*a",
        '!!binary "////"',
        "!!set {a}",
        "<<: {a: 1}",
        "? [a] : b",
    ),
    *("!!python/object/apply:os.system ['exit 3']", "[1, 2, 3, 4]", "{loss: dice}", "dice", "'dice + '"),
    *("meta(/dev/zero)", 'meta("")', "evolved(p)", "os.system", "%s", "{a: {b: c}}"),
]
PARTS = [
    "\t",
    "\x00",
    "\x1b[2J",
    "\ufeff",
    "\u202e",
    ": ",
    "- ",
    "#",
    "'",
    '"',
    "{",
    "]",
    "\r",
    "%",
    "|",
    ">",
    "---",
    "...",
]


def prepare(folder: Path) -> None:
    """Nothing: the good file is text."""


def attempt(prepared: Any, random: np.random.Generator, folder: Path) -> None:
    """Load a study file with a few things wrong."""
    lines = GOOD.splitlines()
    for _ in range(random.integers(1, 4)):
        _change(lines, random)
    file = folder / "study.yaml"
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        content = bytes(
            random.choice([content[: len(content) // 2], content + b"\xff", content.decode().encode("utf-16")])
        )
    file.write_bytes(content)
    study = load(file)
    study.training(), study.trials


def _change(lines: list[str], random: np.random.Generator) -> None:
    place = int(random.integers(len(lines)))
    line = lines[place]
    kind = random.integers(7)
    if kind == 0:
        key, mark, _ = line.partition(": ")
        lines[place] = f"{key}{mark}{random.choice(VALUES)}"
    elif kind == 1:
        at = int(random.integers(len(line) + 1))
        lines[place] = line[:at] + str(random.choice(PARTS)) + line[at:]
    elif kind == 2:
        del lines[place]
    elif kind == 3:
        lines.insert(int(random.integers(len(lines) + 1)), line)
    elif kind == 4:
        lines[place] = line + "9" * int(random.integers(1, 6000))
    elif kind == 5:
        lines[place] = line.partition(": ")[0] + ": " + "[" * int(random.integers(1, 5000))
    else:
        at = int(random.integers(len(line) + 1))
        lines[place] = line[:at] + line[at + 1 :]
