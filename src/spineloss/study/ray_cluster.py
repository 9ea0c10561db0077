"""The runs of one study as tasks of a Ray cluster whose machines share the study's folder and the cache."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from spineloss.cluster import called_back, ray_cluster
from spineloss.data.cache import Cache
from spineloss.study.claims import claimed
from spineloss.study.jobs import Event, Job, jobs
from spineloss.study.training_run import PATIENCE, Workshop

LOOK = 0.5  # seconds from one look at the tasks to the next


def train_on_ray(
    workshop: Workshop,
    cache: Cache | None,
    progress: Callable[[str], None],
    *,
    address: str | None = None,
    cpus: int = 1,
    gpus: float = 0,
) -> Iterator[Event]:
    """Train what is not done, each run as a task after those that it needs; yields the events of all as they come.

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
    with ray_cluster(address) as ray:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        processors = ray.cluster_resources().get("CPU", 0)
        progress(f"Training on {len(ray.nodes())} machine(s) of Ray, {processors:.0f} CPUs")
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        told = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": beside})
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=-1)(_train)
        numbers = {job: number for number, job in enumerate(jobs(workshop.study))}
        folder = workshop.folder.resolve()
        for round_ in workshop.rounds(workshop.study, workshop.folder):
            tasks: dict[Job, Any] = {}
            for job in round_:
                needed = [task for other, task in tasks.items() if job.needs(other)]
                tasks[job] = remote.remote(folder, cache, workshop.session, numbers[job], cpus, told, *needed)
            left = list(tasks.values())
            while left:
                ready, left = ray.wait(left, num_returns=1, timeout=LOOK)
                yield from told.get_nowait_batch(told.qsize())
                ray.get(ready)
            yield from told.get_nowait_batch(told.qsize())


def _train(
    folder: Path, cache: Cache | None, session: str, number: int, threads: int, told: Any, *_: object
) -> None:
    """Train one job, once nobody else does, and tell of each of its epochs; of none where it was done before."""
    from ray.exceptions import RayError

    torch.set_num_threads(threads)
    with called_back(signal.SIGTERM):
        workshop = Workshop.opened(folder, lambda line: None, cache, session)
        job = list(jobs(workshop.study))[number]
        while True:
            with claimed(workshop.run_of(job).folder) as mine:
                if mine:
                    for event in workshop.train(job):
                        # What is told is for the view alone: a training does not end with who looks on.
                        with suppress(RayError):
                            told.put(event)
                    return
            time.sleep(PATIENCE)
