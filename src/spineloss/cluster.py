"""Machines of a cluster: Ray's, joined or started here, and those that SLURM gives to an array job."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OFTEN = 10_000  # times that a job whose hours are over is queued again; submitit's default is three


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was connected before stays so.

    Args:
        address: of a running cluster, or `auto`; without one a cluster of this machine alone is started, and none
            that someone else runs here is joined.
    """
    # Ray's memory monitor kills tasks while there is memory left; a run that lacks memory says so itself.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    import ray

    began = not ray.is_initialized()
    if began:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False)
    try:
        yield ray
    finally:
        if began:
            ray.shutdown()


class _Called(BaseException):
    """A cluster has called its machine back; what the signal's handler raised is the cause."""


@contextmanager
def called_back(*numbers: int) -> Iterator[None]:
    """Within it, what the handlers of these signals raise passes every `except` of a training, and comes out.

    A foreign loss that exits fails its own run; submitit and Ray exit, too, for a worker to be queued again.

    Args:
        numbers: of the signals.
    """

    def past_all(handler: Callable[..., Any]) -> Callable[..., None]:
        def handle(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except BaseException as end:
                raise _Called from end

        return handle

    before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number, handler in before.items():
        signal.signal(number, past_all(handler))
    try:
        yield
    except _Called as called:
        raise called.__cause__ or called from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def slurm_executor(
    folder: Path,
    *,
    at_once: int,
    hours: float,
    cpus: int = 1,
    gpus: int = 0,
    partition: str | None = None,
    cluster: str | None = None,
) -> Any:
    """submitit's executor of array jobs.

    Args:
        folder: for scripts and logs, on a file system that all machines see.
        at_once: jobs of an array that may run at the same time.
        hours: that a job may take.
        cpus: of a job.
        gpus: of a job.
        partition: of SLURM.
        cluster: `slurm`, or `local` for processes of this machine; what is there if none is given.
    """
    from submitit import AutoExecutor

    executor = AutoExecutor(folder=folder.resolve(), cluster=cluster, slurm_max_num_timeout=OFTEN)
    settings: dict[str, Any] = {"name": "spineloss", "timeout_min": round(60 * hours), "cpus_per_task": cpus}
    settings |= {"slurm_partition": partition} if partition else {}
    executor.update_parameters(**settings, gpus_per_node=gpus, slurm_array_parallelism=at_once)
    return executor
