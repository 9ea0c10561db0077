"""The runs of one study as tasks of a Ray cluster whose machines share the study's folder and the cache."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from spineloss.data.cache import Cache
from spineloss.study.claims import claimed
from spineloss.study.jobs import Event, Job, jobs
from spineloss.study.training_run import PATIENCE, Workshop


def train_on_ray(
    workshop: Workshop,
    cache: Cache | None,
    progress: Callable[[str], None],
    *,
    address: str | None = None,
    cpus: int = 1,
    gpus: float = 0,
) -> Iterator[Event]:
    """Train what is not done, each run as a task after those that it needs; yields the last event of each.

    Nothing is kept in Ray: a task that is lost with its machine is tried again, and goes on from the checkpoint in
    the run's folder.

    Args:
        workshop: the study, whose data and folder are prepared.
        cache: of prepared cases, on a file system that all machines see; the user's by default.
        progress: receives a line about what is being done.
        address: of a running cluster, or `auto`; without one a cluster of this machine alone is started, and none
            that someone else runs here is joined.
        cpus: of a task, and the threads that it trains with.
        gpus: of a task.
    """
    # Ray's memory monitor kills tasks while there is memory left; a run that lacks memory says so itself.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    import ray

    began = not ray.is_initialized()
    if began:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False)
    progress(f"Training on {len(ray.nodes())} machine(s) of Ray, {ray.cluster_resources().get('CPU', 0):.0f} CPUs")
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=-1)(_train)
    numbers = {job: number for number, job in enumerate(jobs(workshop.study))}
    folder = workshop.folder.resolve()
    try:
        for round_ in workshop.rounds(workshop.study, workshop.folder):
            tasks: dict[Job, Any] = {}
            for job in round_:
                needed = [task for other, task in tasks.items() if job.needs(other)]
                tasks[job] = remote.remote(folder, cache, workshop.session, numbers[job], cpus, *needed)
            left = list(tasks.values())
            while left:
                (ready,), left = ray.wait(left, num_returns=1)
                yield from ray.get(ready)
    finally:
        if began:
            ray.shutdown()


def _train(folder: Path, cache: Cache | None, session: str, number: int, threads: int, *_: object) -> list[Event]:
    """Train one job, once nobody else does; its last event, and none where it was done before."""
    torch.set_num_threads(threads)
    workshop = Workshop.opened(folder, lambda line: None, cache, session)
    job = list(jobs(workshop.study))[number]
    while True:
        with claimed(workshop.run_of(job).folder) as mine:
            if mine:
                return list(workshop.train(job))[-1:]
        time.sleep(PATIENCE)
