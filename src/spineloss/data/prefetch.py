"""Batches made ahead of the step by threads; neither their number nor who is faster changes a digit."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Lock, Thread
from typing import Generic, TypeVar

import torch

from spineloss.errors import UserError

VARIABLE = "SPINELOSS_PREFETCH"
MOST = 4  # threads by default: a batch with distance maps takes one 285 ms, a step on a fast GPU 120
ONE_AT_A_TIME = Lock()

T = TypeVar("T")


class Prefetched(Generic[T]):
    """The batches of every epoch, made by calls of their own while those before them are used.

    The threads go on into the next epoch while the network is validated. What makes a batch (SimpleITK, SciPy,
    PyTorch, the C of the distance maps) computes without the interpreter's lock, so that threads do, and nothing
    is copied between processes.

    Args:
        calls: from an epoch's number to one call per batch; each is a function of its own draws.
        last: number of the last epoch.
        threads: that make batches; with none each is made when it is asked for.

    >>> prefetched = Prefetched(lambda epoch: [lambda: 10 * epoch, lambda: 10 * epoch + 1], last=2, threads=2)
    >>> [*prefetched(1)], [*prefetched(2)]
    ([10, 11], [20, 21])
    """

    def __init__(self, calls: Callable[[int], Sequence[Callable[[], T]]], *, last: int, threads: int) -> None:
        self.calls = calls
        self.last = last
        self.threads = threads
        self._next = 0  # the epoch that the first of those waiting is of
        self._waiting: deque[Future[T]] = deque()
        self._coming: Iterator[Callable[[], T]] = iter(())
        if threads:
            self._pool = ThreadPoolExecutor(
                threads, "prefetch", initializer=_take_one_thread, initargs=(torch.get_num_threads(),)
            )

    def __call__(self, epoch: int) -> Iterator[T]:
        """The batches of an epoch, in their order."""
        calls = self.calls(epoch)
        if not self.threads:
            yield from (call() for call in calls)
            return
        if epoch != self._next:
            self._waiting.clear()
            self._coming = chain.from_iterable(map(self.calls, range(epoch, self.last + 1)))
            self._begin(self.threads + 1)
        self._next = 0
        for _ in calls:
            first = self._waiting.popleft()
            self._begin(1)
            yield first.result()
        self._next = epoch + 1

    def _begin(self, number: int) -> None:
        for call in islice(self._coming, number):
            self._waiting.append(self._pool.submit(call))


def _take_one_thread(usual: int) -> None:
    """Let PyTorch compute on one thread in this one, which runs beside others and the step.

    A thread gets, when it first asks, what was last set in any, and keeps it: so it asks here, and then another
    thread sets for later ones what was set before.
    """
    with ONE_AT_A_TIME:
        torch.set_num_threads(1)
        torch.get_num_threads()
        other = Thread(target=torch.set_num_threads, args=(usual,))
        other.start()
        other.join()


def threads_for(device: torch.device) -> int:
    """How many threads make batches ahead: `SPINELOSS_PREFETCH`, or what the processors of this process allow.

    Beside a network on a GPU it is one per processor, four at most. A network on the CPU takes every processor
    itself, and one thread fills what it leaves idle.

    Raises:
        UserError: the variable is no number of threads.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return 1 if device.type == "cpu" else min(MOST, torch.get_num_threads())
    if not wanted.isdecimal():
        raise UserError(f"{VARIABLE} is {wanted[:60]!r}: set it to a number of threads, or to 0 for none.")
    return int(wanted)
