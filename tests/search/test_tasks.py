import os
import time

import pytest

from spineloss.search.tasks import Machines

SUBJECT = 10


def added(subject, number):
    return subject + number


def begun_twice(subject, folder, number):
    """The first time, it kills the process that it is computed in."""
    mark = folder / f"{number}-began"
    if not mark.exists():
        mark.touch()
        time.sleep(0.1)
        os._exit(1)
    return subject + number


@pytest.mark.parametrize(
    "machines",
    [
        Machines(),
        Machines(processes=2),
        pytest.param(Machines("ray", cpus=1), id="ray"),
        pytest.param(Machines("slurm", cluster="local"), id="slurm"),
    ],
)
def test_results_come_in_the_order_of_the_tasks_wherever_they_are_computed(machines, tmp_path):
    if machines.kind != "here":
        pytest.importorskip(
            {"ray": "ray", "slurm": "submitit"}[machines.kind], reason="spineloss[cluster] is absent"
        )
    with machines.opened(SUBJECT, tmp_path) as (quick, long):
        tasks = [(number,) for number in range(9)]
        assert list(quick(added, tasks)) == list(long(added, tasks)) == [SUBJECT + number for number in range(9)]


def test_a_task_lost_with_its_worker_is_tried_again_on_ray(tmp_path):
    pytest.importorskip("ray", reason="spineloss[cluster] is absent")
    with Machines("ray").opened(SUBJECT, tmp_path) as (_, long):
        assert list(long(begun_twice, [(tmp_path, 1), (tmp_path, 2)])) == [SUBJECT + 1, SUBJECT + 2]
