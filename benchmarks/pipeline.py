"""What making batches ahead brings: python benchmarks/pipeline.py ../shared/data/lumbar

Batches of four volumes of 32 x 224 x 224 with the thesis's augmentation, with and without distance maps, and with
nnU-Net's, beside a step that only waits 120 ms, as for a GPU; by threads, and by PyTorch's DataLoader. Then a run
on the CPU: its seconds per epoch, and the share of them outside the step.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from torch.utils.data import DataLoader

from machine import describe, write
from spineloss.data.augmentation import NNUNET, Augment
from spineloss.data.batches import Batch, training_batches
from spineloss.data.labelling import Labelling, Structure
from spineloss.data.prefetch import VARIABLE, Prefetched
from spineloss.study.engine import prepare_folder
from spineloss.study.jobs import jobs
from spineloss.study.settings import Study

GRID, BATCH, STEPS, STEP = (32, 224, 224), 4, 12, 0.120  # seconds
THESIS = Augment(affine=0.3, noise=0.2, mixup=1.0, mixup_alpha=0.2)
KINDS = {
    "the thesis's": (THESIS, frozenset()),
    "the thesis's, with distance maps": (THESIS, frozenset({"mm"})),
    "nnU-Net's": (NNUNET, frozenset()),
}
MERGED = Labelling("merged", (Structure("all", (), 1),))


def samples() -> list[SimpleNamespace]:
    """Eight volumes with a box each, in memory."""
    target = torch.zeros(1, *GRID, dtype=torch.uint8)
    target[0, 6:26, 60:160, 80:140] = 1
    return [
        SimpleNamespace(case=str(number), image=torch.randn(1, *GRID), target=target, spacing=(4.0, 0.9, 0.9))
        for number in range(8)
    ]


def stepped(batches: Iterable[Batch]) -> float:
    """Seconds per step, the first batch not counted, when each step waits `STEP` seconds."""
    start, steps = 0.0, -1
    for _ in batches:
        start, steps = start or time.perf_counter(), steps + 1
        time.sleep(STEP)
    return (time.perf_counter() - start - STEP) / steps


class Calls:
    """Batches as PyTorch's DataLoader wants them."""

    def __init__(self, calls: list[Callable[[], Batch]]) -> None:
        self.calls = calls

    def __len__(self) -> int:
        return len(self.calls)

    def __getitem__(self, number: int) -> Batch:
        return self.calls[number]()


def by_loader(calls: list[Callable[[], Batch]], workers: int) -> Iterator[Batch]:
    """Processes forked off this one, which send batches through shared memory."""
    return iter(DataLoader(Calls(calls), batch_size=None, num_workers=workers, multiprocessing_context="fork"))


def beside_a_step() -> Iterator[str]:
    """Rows of the first table."""
    cases = samples()
    torch.set_num_threads(1)  # as the threads that make batches
    for name, (augment, needs) in KINDS.items():
        calls = training_batches(
            cases, size=BATCH, augment=augment, needs=needs, labelling=MERGED, key=(21, 0, 1), steps=STEPS
        )
        before = time.process_time()
        for call in calls:
            call()
        alone = (time.process_time() - before) / STEPS
        threads = [
            stepped(Prefetched(lambda _, calls=calls: calls, last=1, threads=number)(1)) for number in (0, 1, 2)
        ]
        loader = stepped(by_loader(calls, 2))
        yield f"| {name} | " + " | ".join(f"{1000 * seconds:.0f}" for seconds in (alone, *threads, loader)) + " |"


def on_the_cpu(data: Path) -> Iterator[str]:
    """Rows of the second table: the same run again and again, with and without a thread in turn."""
    torch.set_num_threads(os.cpu_count() or 1)
    study = Study(
        data=data, methods=("dice + boundary",), grid=(16, 64, 64), width=8, batch=2, epochs=5, validate_every=5
    )
    for threads in (0, 1) * 3:
        os.environ[VARIABLE] = str(threads)
        with TemporaryDirectory() as folder:
            workshop = prepare_folder(study, Path(folder), lambda line: None)
            epochs = [event.epoch for event in workshop.train(next(iter(jobs(study))))]
        seconds = sum(epoch.seconds for epoch in epochs)
        outside = 1 - sum(epoch.compute_seconds for epoch in epochs) / seconds
        yield f"| {threads} | {seconds / len(epochs):.2f} | {100 * outside:.1f} |"


def main() -> None:
    data = Path(sys.argv[1])
    before = os.getloadavg()[0]
    tables = [
        f"Milliseconds per batch of {BATCH} volumes of {' x '.join(map(str, GRID))}: of processor time, and per",
        f"step where a step waits {1000 * STEP:.0f} ms as for a GPU (less is not to be had), with so many threads",
        "ahead; the last column is PyTorch's DataLoader with two processes.",
        "",
        "| augmentation | processor | no thread | 1 thread | 2 threads | DataLoader |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *beside_a_step(),
        "",
        "One run of `dice + boundary` on the CPU, [16, 64, 64], width 8, batches of 2, five epochs, three times:",
        "",
        "| threads ahead | seconds per epoch | % outside the step |",
        "| ---: | ---: | ---: |",
        *on_the_cpu(data),
    ]
    after = os.getloadavg()[0]
    machine = f"{os.cpu_count()} processors, shared with others: a load of {before:.0f} before, {after:.0f} after."
    head = ["# Batches made ahead", "", "`python benchmarks/pipeline.py ../shared/data/lumbar`."]
    write("pipeline.md", [*head, describe("spineloss", "torch", "simpleitk"), machine, "", *tables])


if __name__ == "__main__":
    main()
