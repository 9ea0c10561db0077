"""What a race costs beside its trainings as it grows to 1,000 methods, measured; and with 100 data sets, on paper.

.venv/bin/python benchmarks/race_growth.py
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import describe, write
from spineloss.data.cache import Cache
from spineloss.data.phantom import write_phantom
from spineloss.results.race_course import Course
from spineloss.results.racing import Rules
from spineloss.results.run_folder import Run
from spineloss.study.engine import prepare_folder, write_tables
from spineloss.study.settings import check
from spineloss.study.training_run import Workshop

SIZES = (10, 100, 1000)
FOLDS = 3
# On paper. The share of a full study that is trained is race.md's, of 50 methods of which one is ahead.
DATA_SETS, WORKERS, ROUNDS, SHARE, TRAINING = 100, 10, 9, 0.31, 30.0
SILENT: Callable[[str], None] = lambda line: None  # noqa: E731


@dataclass(frozen=True)
class Size:
    """Seconds: for a worker to see that a run is done, to decide a round, to write the tables of all runs."""

    methods: int
    look: float
    decide: float
    table: float


def names(count: int) -> tuple[str, ...]:
    """Those of the methods."""
    return tuple(f"m{number}" for number in range(count))


def opened(folder: Path, count: int) -> Workshop:
    """A study of so many methods, as small as trainings can be; its finished runs stay."""
    study = folder / "study"
    for file in ("study.yaml", "folds.json"):
        (study / file).unlink(missing_ok=True)
    methods = [{"name": name, "loss": "dice"} for name in names(count)]
    small = {"grid": [16, 16, 32], "width": 1, "folds": FOLDS, "epochs": 1, "batch": 2, "metrics_grid": "network"}
    settings = check({"data": folder / "phantom", "methods": methods} | small, "benchmark")
    return prepare_folder(settings, study, SILENT, Cache(folder / "cache"))


def copy_runs(study: Path, count: int) -> None:
    """Finished runs of every method, copied from the first's."""
    for fold in range(FOLDS):
        first = Run.of(study, "m0", fold)
        for order, name in enumerate(names(count)):
            run = Run.of(study, name, fold)
            if not run.folder.exists():
                shutil.copytree(first.folder, run.folder)
                run.write_record(first.record() | {"method": name, "order": order})


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def all_of(workshop: Workshop) -> None:
    """Train what is not done."""
    list(workshop.work())


def around_training(workshop: Workshop) -> float:
    """Seconds of a run that are not its epochs': to build its network, to write its files."""
    spent = seconds(partial(all_of, workshop))
    runs = [Run(path.parent).record() for path in workshop.folder.glob("runs/*/*/run.json")]
    return (spent - sum(run["timing"]["seconds"] for run in runs)) / len(runs)


def sizes(folder: Path) -> Iterator[Size]:
    """Each size in turn, of runs that are done."""
    study = folder / "study"
    for count in SIZES:
        workshop = opened(folder, count)
        copy_runs(study, count)
        course = Course(names(count), tuple((0, fold) for fold in range(FOLDS)), Rules())
        looked = seconds(partial(all_of, workshop))
        decided = seconds(partial(course.next, study))
        yield Size(count, looked / count / FOLDS, decided, seconds(partial(write_tables, study)))


def on_paper(around: float, largest: Size) -> str:
    """The largest race on many data sets, each with workers of its own: hours of training, and beside it."""
    runs = DATA_SETS * largest.methods * ROUNDS * SHARE
    training = runs * TRAINING / 3600
    # Every worker of a data set looks at each of its runs, and decides each round.
    bookkeeping = runs * (around + WORKERS * largest.look) / 3600
    bookkeeping += DATA_SETS * WORKERS * ROUNDS * largest.decide / 3600
    hours = (training + bookkeeping) / DATA_SETS / WORKERS
    return (
        f"{largest.methods:,} methods on {DATA_SETS} data sets in {ROUNDS} rounds, of which a race trains "
        f"{100 * SHARE:.0f} %: {runs:,.0f} trainings. At {TRAINING:.0f} s each that is {training:,.0f} hours of "
        f"one worker, and {bookkeeping:,.0f} beside them ({100 * bookkeeping / training:.1f} %): with {WORKERS} "
        f"workers a data set {hours:.1f} hours in all. As each of w workers looks at every run of its study, w "
        f"looks are paid for a training: {0.1 * TRAINING / largest.look:.0f} workers on one study of that size "
        f"spend a tenth of their time on it."
    )


def main() -> None:
    """Measure, and count up."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "phantom", cases=6)
        around = around_training(opened(folder, SIZES[0]))
        measured = list(sizes(folder))
    lines = [
        "# How a race grows",
        "",
        f"{describe('torch', 'numpy')} `.venv/bin/python benchmarks/race_growth.py`",
        "",
        f"Beside the seconds of its epochs a run takes {around:.2f} s: its network is built, its files are "
        f"written. Of {FOLDS} folds that are done, copied from one training:",
        "",
        "| methods | a worker sees that a run is done, ms | a round is decided, s | tables of all runs, s |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for size in measured:
        lines.append(f"| {size.methods:,} | {1000 * size.look:.0f} | {size.decide:.2f} | {size.table:.1f} |")
    write("race_growth.md", [*lines, "", "## On paper", "", on_paper(around, measured[-1])])


if __name__ == "__main__":
    main()
