"""Trains one small study with every engine, kills machines and workers at random, and compares the tables.

.venv/bin/python studies/engines_agree.py STUDY_FILE FOLDER [SEED]

`here` is one process; `workers` eight on one folder, each killed with -9 and started again; `ray` a cluster of two
machines, of which one is killed; `slurm` two jobs of submitit's local executor. Each trains with one thread: other
numbers of threads can give other last digits.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["SLURM_NTASKS"] = "2"  # as in a job of two tasks
os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - Ray's own spelling

from spineloss.study.engine import Engine, prepare_folder, run_study
from spineloss.study.settings import load
from spineloss.study.slurm import submit

WORKERS = 8


def here(file: str, folder: Path) -> None:
    for _ in run_study(load(file), folder, print):
        pass


def on_ray(file: str, folder: Path, runs: int) -> None:
    """Two machines of one CPU each; the second is killed once so many runs are begun."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)

    def kill() -> None:
        while len(list(folder.glob("runs/**/epochs.csv"))) < runs:
            time.sleep(0.1)
        print(f"killing a machine after {runs} runs were begun", flush=True)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    for event in run_study(load(file), folder, print, engine=Engine("ray")):
        print(event.place, "failed" if event.epoch is None else "done")
    killer.join()
    ray.shutdown()
    cluster.shutdown()


def on_slurm(file: str, folder: Path) -> None:
    """Workers as SLURM would have them, as processes of this machine."""
    jobs = submit(prepare_folder(load(file), folder, print), None, workers=2, hours=1, cluster="local")
    print("epochs trained by each worker:", [job.result() for job in jobs])


def with_workers(file: str, folder: Path, draws: random.Random) -> None:
    """Workers that know nothing of each other, each killed at a random moment and started again."""
    prepare_folder(load(file), folder, print)
    command = [sys.executable, "-m", "spineloss.cli", "study", "run", file, "-o", str(folder)]

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    workers = [start() for _ in range(WORKERS)]
    killed = 0
    for number in draws.sample(range(WORKERS), WORKERS):
        time.sleep(draws.uniform(2, 12))
        if workers[number].poll() is None:
            os.killpg(workers[number].pid, signal.SIGKILL)
            workers[number].wait()
            workers[number] = start()
            killed += 1
    print(f"{killed} of {WORKERS} workers killed as they trained", flush=True)
    if any(worker.wait() for worker in workers):
        sys.exit("a worker failed")


def main() -> None:
    file, folder = sys.argv[1], Path(sys.argv[2])
    draws = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 21)
    engines = {
        "here": lambda to: here(file, to),
        "workers": lambda to: with_workers(file, to, draws),
        "ray": lambda to: on_ray(file, to, draws.randint(2, 8)),
        "slurm": lambda to: on_slurm(file, to),
    }
    for name, train in engines.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        start = time.perf_counter()
        train(folder / name)
        same = (folder / name / "table.csv").read_bytes() == (folder / "here" / "table.csv").read_bytes()
        print(
            f"{name}: {time.perf_counter() - start:.0f} s, table {'identical' if same else 'DIFFERENT'}",
            flush=True,
        )
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
