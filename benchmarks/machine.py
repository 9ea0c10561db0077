"""What every benchmark needs: interleaved timing, memory peaks, and the name of the machine."""

import ctypes
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
BUSY = "busy" in sys.argv[1:]  # others work on the machine, and waiting for them is not to be counted


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, called in turn so that a slow moment of the machine strikes all alike."""
    return {name: statistics.median(values) for name, values in interleaved(contestants, rounds).items()}


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round; on a busy machine, those that this process had a processor for."""
    clock = time.process_time if BUSY else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for call in contestants.values():
        call()
    for _ in range(rounds):
        for name, call in contestants.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over the rounds of one's seconds by another's: a busy machine slows both of a round."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, as a training's does: else whoever comes next pays for fresh pages."""
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_threshold = -1, -3
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, 2**31 - 1)


def extra_memory(call: Callable[[], object]) -> int:
    """Bytes by which a call raises the process's resident memory at its highest (Linux, glibc)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed but kept would hide what is needed
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    call()
    return max(0, status("VmHWM") - before)


def status(key: str) -> int:
    """Bytes that Linux has of this process under a name, such as `VmHWM`, its peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def timing(rounds: int) -> str:
    """How `interleaved` and `ratio` measured, in a line."""
    how = f"Medians of {rounds} interleaved rounds, ratios taken within a round."
    own = " The machine was busy: time is this process's own on the processors, all threads added."
    return how + own if BUSY else how


def command(name: str) -> str:
    """What runs a benchmark as it was run."""
    run = f".venv/bin/python benchmarks/{name}.py"
    return f"OMP_NUM_THREADS={torch.get_num_threads()} {run} busy" if BUSY else run


def describe(*packages: str) -> str:
    """The machine and the versions, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{torch.get_num_threads()} threads of {processor} ({platform.machine()}); {names}."


def write(name: str, lines: list[str]) -> None:
    """Print a result and keep it."""
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text, encoding="utf-8")
