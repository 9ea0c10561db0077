"""How a command ends when it is told to stop: in one line, and with the exit code of the signal."""

import signal
from types import FrameType
from typing import NoReturn


class Stopped(BaseException):
    """SIGINT (Ctrl-C) or SIGTERM came. No `except Exception` holds it up, and every `finally` runs."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.code = 128 + number


def stop_on_signals() -> None:
    """Raise `Stopped` where Python would raise `KeyboardInterrupt`, or would end at once."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
