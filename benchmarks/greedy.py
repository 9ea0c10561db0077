"""Greedy search beside the obvious way and a plain step, on real volumes, in one process.

Run it on a quiet machine: .venv/bin/python benchmarks/greedy.py ../shared/data/lumbar
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path

import torch

from machine import describe, write
from obvious import obvious_trials
from spineloss import networks
from spineloss.data import dataset
from spineloss.data.augmentation import Augment
from spineloss.data.batches import BatchPair, pairs, training_batches
from spineloss.data.cache import Cache
from spineloss.text import parse
from spineloss.training.greedy import Greedy, GreedySearch, first_best
from spineloss.training.precision import Precision
from spineloss.training.steps import Plain

GRID, WIDTH, BATCH, SEED = (16, 64, 64), 8, 2, 21
AUGMENT = Augment(affine=0.3, noise=0.2, mixup=1.0, mixup_alpha=0.2)  # of the lumbar preset


@dataclass(frozen=True)
class Contest:
    """A loss and a search, and on how many steps; the obvious way beside it, or not."""

    loss: str
    search: GreedySearch
    steps: int
    beside_obvious: bool = True


CONTESTS = [
    Contest("tversky", GreedySearch(), 200),
    Contest("effectiveness", GreedySearch(), 12),
    Contest("tversky", GreedySearch(moves="single"), 24, beside_obvious=False),
    Contest("tversky", GreedySearch(every=4, moves="single"), 28, beside_obvious=False),
    Contest("tversky", GreedySearch(every=8, moves="single"), 28, beside_obvious=False),
    Contest("effectiveness", GreedySearch(every=8, moves="single"), 28, beside_obvious=False),
]


@dataclass
class Times:
    """Seconds of each step, and how the two ways agree."""

    plain: list[float] = field(default_factory=list)
    greedy: list[float] = field(default_factory=list)
    obvious: list[float] = field(default_factory=list)
    same: int = 0
    difference: float = 0.0


def steps_of(loss: str, search: GreedySearch) -> tuple[Greedy, Plain]:
    """A greedy step, and a plain one of a network of its own with the same initial weights."""

    def plain() -> Plain:
        unet = networks.build("unet", WIDTH, 1, GRID, SEED).to(memory_format=torch.channels_last_3d)
        optimiser = torch.optim.Adam(unet.parameters(), lr=0.001)
        return Plain(unet, parse(loss), optimiser, Precision(torch.device("cpu")), None)

    return Greedy(plain(), search, (SEED,)), plain()


def real_pairs(data: Path) -> Iterator[BatchPair]:
    """Augmented batches of the study's first fold of training cases, epoch after epoch."""
    prepared = dataset.prepare(
        data, grid=GRID, labels="all", target="merged", leave_out=(), cache=Cache(), progress=print
    )
    samples = list(prepared.samples.values())[:20]
    for epoch in count(1):
        made = training_batches(
            samples,
            size=BATCH,
            augment=AUGMENT,
            needs=frozenset(),
            labelling=prepared.labelling,
            key=(SEED, 0, epoch),
        )
        yield from pairs(make() for make in made)


def measure(contest: Contest, data: Path) -> Times:
    """Both ways from the same state at every step, which the greedy one then takes."""
    greedy, plain = steps_of(contest.loss, contest.search)
    times = Times()
    for pair in islice(real_pairs(data), contest.steps):
        times.plain.append(seconds(partial(plain, pair.batch)))
        if not contest.beside_obvious:
            times.greedy.append(seconds(partial(greedy, pair)))
            continue
        candidates = greedy.candidates()
        start = time.perf_counter()
        obvious = obvious_trials(greedy, pair, candidates)
        # It takes the winner's step once more.
        times.obvious.append(time.perf_counter() - start + times.plain[-1])
        start = time.perf_counter()
        trials = greedy.trials(pair, candidates)
        greedy.take(trials)
        times.greedy.append(time.perf_counter() - start)
        times.same += trials.best == first_best(obvious)
        apart = (abs(one - other) / other for one, other in zip(trials.scores, obvious, strict=True))
        times.difference = max(times.difference, *apart)
    return times


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def row(contest: Contest, times: Times) -> str:
    # A search of every n-th step is a mean over steps of two kinds.
    plain, greedy = statistics.mean(times.plain[4:]), statistics.mean(times.greedy[4:])
    cells = [f"`{contest.loss}`", f"`{contest.search}`", f"{1000 * plain:.0f}"]
    cells.append(f"{1000 * greedy:.0f} ({greedy / plain:.1f}x)")
    if contest.beside_obvious:
        obvious = statistics.mean(times.obvious[4:])
        cells += [f"{1000 * obvious:.0f} ({obvious / plain:.1f}x)", f"{times.same} of {contest.steps}"]
        cells.append(f"{times.difference:.0e}")
    return "| " + " | ".join([*cells, "", "", ""][:7]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the lumbar volumes")
    data = parser.parse_args().data
    rows = []
    for contest in CONTESTS:
        rows.append(row(contest, measure(contest, data)))
        print(rows[-1], flush=True)
    write(
        "greedy.md",
        [
            "# Greedy search of a loss's parameters",
            "",
            "Mean time of consecutive training steps on real lumbar volumes, all in one process, each way in turn",
            f"from the same state: grid {list(GRID)}, width {WIDTH}, {BATCH} cases a batch, Adam.",
            describe("torch"),
            "*Obvious*: a step of the network for each candidate, restored each time, and the winner once more.",
            "*Same choice*: of both ways. *Difference*: the largest of a score, relative.",
            "`.venv/bin/python benchmarks/greedy.py ../shared/data/lumbar`",
            "",
            "| loss | search | plain ms | greedy ms | obvious ms | same choice | difference |",
            "|" + " --- |" * 7,
            *rows,
        ],
    )


if __name__ == "__main__":
    main()
