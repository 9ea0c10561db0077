"""Workers of one study as an array job of SLURM; they share the study's folder, and come again where preempted."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spineloss.cluster import called_back, slurm_executor
from spineloss.data.cache import Cache
from spineloss.study.engine import write_tables
from spineloss.study.jobs import Rounds
from spineloss.study.training_run import Workshop


@dataclass(frozen=True)
class Worker:
    """Trains whatever run nobody else trains, until all are done; submitit sends it to a machine."""

    folder: Path
    cache: Cache | None
    session: str
    rounds: Rounds
    threads: int

    def __call__(self) -> int:
        """Work; the number of epochs trained."""
        torch.set_num_threads(self.threads)
        with called_back(signal.SIGUSR1, signal.SIGUSR2):  # one of them submitit's, by its version
            workshop = Workshop.opened(self.folder, print, self.cache, self.session, self.rounds)
            epochs = sum(event.epoch is not None for event in workshop.work())
            write_tables(self.folder)
        return epochs

    def checkpoint(self, *arguments: Any, **named: Any) -> Any:
        """What SLURM queues again when it preempts the job: the same worker; runs go on from their checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments, **named)


def submit(
    workshop: Workshop,
    cache: Cache | None,
    *,
    workers: int,
    hours: float,
    cpus: int = 1,
    gpus: int = 0,
    partition: str | None = None,
    cluster: str | None = None,
) -> list[Any]:
    """Submit workers of a study as one array job.

    Args:
        workshop: the study, whose data and folder are prepared.
        cache: of prepared cases, on a file system that all machines see; the user's by default.
        workers: of the array.
        hours: that one may take; SLURM queues it again when they are over.
        cpus: of a worker, and the threads that it trains with.
        gpus: of a worker, 0 or 1.
        partition: of SLURM.
        cluster: `slurm`, or `local` for processes of this machine; what is there if none is given.

    Returns:
        submitit's jobs, one per worker.
    """
    folder = workshop.folder.resolve()
    executor = slurm_executor(
        folder / "slurm", at_once=workers, hours=hours, cpus=cpus, gpus=gpus, partition=partition, cluster=cluster
    )
    worker = Worker(folder, cache, workshop.session, workshop.rounds, cpus)
    with executor.batch():
        submitted = [executor.submit(worker) for _ in range(workers)]
    return submitted
