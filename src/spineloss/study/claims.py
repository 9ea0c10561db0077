"""Who trains a run: any number of workers, on any number of machines, share a study's folder by claims.

A claim is a folder `claim` in the run's, and in it a folder `0`, `1`, ... for each holder so far: to make one is
atomic on every file system, so that just one worker becomes its holder. The holder touches a file in it every few
seconds. One that has not for long, by the file system's own clock, or whose process this machine no longer has, is
followed by the next. No lock of the file system is asked for: on NFS they are not to be trusted.
"""

import json
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spineloss.files import is_running

BEAT = 10.0  # seconds between two signs of life
STALE = 12 * BEAT  # seconds without one after which a holder is taken for dead


@contextmanager
def claimed(run: Path) -> Iterator[bool]:
    """Hold the claim of a run's folder inside; false where another living worker holds it."""
    place = run / "claim"
    place.mkdir(parents=True, exist_ok=True)
    mine = _take(place)
    if mine is None:
        yield False
        return
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(mine, ended), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        ended.set()
        beating.join()
        # Who has followed a holder taken for dead holds on; both write the same bytes.
        if _holders(place)[-1:] == [int(mine.name)]:
            shutil.rmtree(place, ignore_errors=True)


def _take(place: Path) -> Path | None:
    holders = _holders(place)
    if holders and _lives(place / str(holders[-1])):
        return None
    mine = place / str(holders[-1] + 1 if holders else 0)
    try:
        mine.mkdir()
        (mine / "holder.json").write_text(json.dumps({"machine": platform.node(), "process": os.getpid()}))
    except (FileExistsError, FileNotFoundError):
        return None  # another one was quicker, or has just released it
    return mine


def _holders(place: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(path.name) for path in place.iterdir() if path.name.isdigit())
    return []


def _lives(holder: Path) -> bool:
    """Whether a holder has shown a sign of life lately; the clock is that of a file touched beside it now."""
    sign = holder / "holder.json"
    probe = holder.parent / f"now-{platform.node()}-{os.getpid()}"
    try:
        probe.touch()
        now = probe.stat().st_mtime
        seen = (sign if sign.exists() else holder).stat().st_mtime
        if now - seen > STALE:
            return False
        found = json.loads(sign.read_text())
        return found["machine"] != platform.node() or is_running(found["process"])
    except FileNotFoundError:
        return holder.exists()  # it has not signed yet, or has just released it
    except (OSError, ValueError, KeyError, TypeError):
        return True
    finally:
        with suppress(OSError):
            probe.unlink()


def _beat(mine: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(mine / "holder.json")
