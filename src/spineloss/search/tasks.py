"""What computes the tasks of a search: processes of this machine, a Ray cluster, or array jobs of SLURM."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from spineloss.cluster import ray_cluster, slurm_executor

CHUNK = 8  # quick tasks that are sent together

# From a function of subject and arguments, and the arguments of each task, to the results in their order.
Compute = Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]


@dataclass(frozen=True)
class Machines:
    """Where tasks are computed; the results do not depend on it, but for what rounds by the number of threads.

    A task is a function of a subject, which is sent once, and of a few arguments. One lost with a machine of
    a cluster is tried again.

    Args:
        kind: `here` is this machine.
        processes: of this machine; with one, everything is computed in the caller's.
        address: of a Ray cluster, as in `ray_cluster`.
        cpus: of a task of Ray or SLURM.
        gpus: of such a task.
        hours: that a task of SLURM may take.
        partition: of SLURM.
        cluster: `slurm`, or `local` for processes of this machine in its place.
    """

    kind: Literal["here", "ray", "slurm"] = "here"
    processes: int = 1
    address: str | None = None
    cpus: int = 1
    gpus: float = 0
    hours: float = 2
    partition: str | None = None
    cluster: str | None = None

    @property
    def threads(self) -> int:
        """That a task computes with: its share of this machine's, or one for each CPU."""
        return max(1, torch.get_num_threads() // self.processes) if self.kind == "here" else self.cpus

    @contextmanager
    def opened(self, subject: Any, folder: Path) -> Iterator[tuple[Compute, Compute]]:
        """Two ways to compute tasks on a subject: for many quick ones, which stay here, and for long ones.

        Args:
            subject: what every task's function is called with, before its arguments.
            folder: of the search; SLURM's scripts and logs go there.
        """
        with here(self.processes, subject) as near:
            if self.kind == "here":
                yield partial(near, chunk=CHUNK), near
            elif self.kind == "ray":
                with ray_cluster(self.address) as ray:
                    yield partial(near, chunk=CHUNK), self._on_ray(ray, subject)
            else:
                yield partial(near, chunk=CHUNK), self._on_slurm(subject, folder)

    def _on_ray(self, ray: Any, subject: Any) -> Compute:
        remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=-1)(_call)
        sent = ray.put(subject)

        def compute(function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
            yield from map(ray.get, [remote.remote(function, sent, task) for task in tasks])

        return compute

    def _on_slurm(self, subject: Any, folder: Path) -> Compute:
        def compute(function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
            asked = list(tasks)
            executor = slurm_executor(
                folder / "slurm",
                at_once=max(1, len(asked)),
                hours=self.hours,
                cpus=self.cpus,
                gpus=round(self.gpus),
                partition=self.partition,
                cluster=self.cluster,
            )
            with executor.batch():
                submitted = [executor.submit(_Task(function, subject, task)) for task in asked]
            yield from (each.result() for each in submitted)

        return compute


@dataclass(frozen=True)
class _Task:
    """A task that submitit sends to a machine."""

    function: Callable[..., Any]
    subject: Any
    arguments: tuple

    def __call__(self) -> Any:
        return self.function(self.subject, *self.arguments)

    def checkpoint(self) -> Any:
        """What SLURM queues again when it preempts the job: the same task."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


HERE = Machines()


def _call(function: Callable[..., Any], subject: Any, arguments: tuple) -> Any:
    return function(subject, *arguments)


@contextmanager
def here(processes: int, subject: Any) -> Iterator[Callable[..., Iterator[Any]]]:
    """Compute tasks in processes of this machine; one is the caller's own."""
    if processes == 1:
        yield lambda function, tasks, chunk=1: (function(subject, *task) for task in tasks)
        return
    # Forked, a process would inherit locks of PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(subject,))

    try:
        yield lambda function, tasks, chunk=1: pool.map(partial(_here, function), tasks, chunksize=chunk)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_subject: list[Any] = []  # of a process: sent once, not with every task


def _begin(subject: Any) -> None:
    # Ctrl-C is the parent's to answer; should it be killed, nobody would end its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _subject[:] = [subject]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _here(function: Callable[..., Any], arguments: tuple) -> Any:
    return function(_subject[0], *arguments)
