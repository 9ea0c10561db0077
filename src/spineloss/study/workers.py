"""Several processes of this machine that train the runs of one study, each with its share of threads and GPUs."""

import contextlib
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.study.jobs import Event, Rounds
from spineloss.study.training_run import Workshop


def train_with_workers(
    workshop: Workshop, workers: int, cache: Cache | None, progress: Callable[[str], None]
) -> Iterator[Event]:
    """Train what is not done in so many processes, yielding their events as they come.

    A worker that dies (out of memory, killed) is not replaced; the others take over its run.

    Raises:
        UserError: a worker met bad input, or none is left and runs are.
    """
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")
    started: dict[Connection, BaseProcess] = {}
    died: list[int | None] = []
    try:
        for number in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            with _environment(number, threads):
                arguments = (workshop.folder, cache, workshop.session, workshop.rounds, threads, theirs)
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
            theirs.close()
            started[ours] = process
        while started:
            for ready in wait(list(started)):
                try:
                    # Bytes of a process that this one started: nothing that came from a file is unpickled.
                    kind, what = pickle.loads(ready.recv_bytes())
                except EOFError:
                    process = started.pop(ready)
                    process.join()
                    if process.exitcode:
                        died.append(process.exitcode)
                        progress(f"A worker ended with exit code {process.exitcode}.")
                    continue
                if kind == "event":
                    yield what
                elif kind == "line":
                    progress(what)
                else:
                    raise UserError(what)
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.join()
    if len(died) == workers:
        raise UserError(f"Every worker ended ({died[0]}): the same command goes on with what is not done.")


@contextlib.contextmanager
def _environment(number: int, threads: int) -> Iterator[None]:
    """What a process reads as it starts: its threads, and one of the GPUs where there are several."""
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    count = torch.cuda.device_count()
    if count > 1:
        # Numbers or UUIDs, of the GPUs that this process was given: it may share the machine.
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else [str(each) for each in range(count)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % count].strip()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _work(folder: Path, cache: Cache | None, session: str, rounds: Rounds, threads: int, out: Connection) -> None:
    def send(kind: str, what: Event | str) -> None:
        # By value: PyTorch's own way shares a file handle per tensor, and those are few.
        out.send_bytes(pickle.dumps((kind, what)))

    torch.set_num_threads(threads)
    try:
        for event in Workshop.opened(folder, lambda line: send("line", line), cache, session, rounds).work():
            send("event", event)
    except UserError as error:
        send("mistake", str(error))
