"""How a command ends when it is told to stop: in one line, and with the exit code of the signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Stopped(BaseException):
    """SIGINT (Ctrl-C) or SIGTERM came. No `except Exception` holds it up, and every `finally` runs."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.code = 128 + number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within it, `Stopped` is raised where Python would raise `KeyboardInterrupt`, or would end at once."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:  # a program that calls the command line keeps its own
        for number, handler in before.items():
            signal.signal(number, handler)
