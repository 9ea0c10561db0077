"""Keeps a finished study as a page: .venv/bin/python studies/results.py STUDY_FILE STUDY_FOLDER [REFERENCE]

The reference is the method that the study is about, or the one with the best mean. The page has what it took,
its table, the published rows of the thesis where the study asks for them, whether adapting was what helped, how
soon a method gets far and how long it takes, and the comparison of the methods.
"""

import math
import platform
import sys
from pathlib import Path
from statistics import median

from spineloss.results import comparison_table
from spineloss.results.comparison import compare_study
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import finished_runs, read_folds
from spineloss.results.table import summarise, table_text
from spineloss.study.controls import verdicts
from spineloss.study.courses import courses_in_words, read_trajectories
from spineloss.study.settings import Study, load
from spineloss.thesis.published import published as thesis_rows

RESULTS = Path(__file__).parent / "results"
FAR = 0.75
SHOWN = {"dice": "Dice", "f2": "F2", "iou": "IoU", "precision": "Precision", "recall": "Recall"}


def main() -> None:
    file, folder, reference = Path(sys.argv[1]), Path(sys.argv[2]), next(iter(sys.argv[3:]), None)
    runs = [record for _, record in finished_runs(folder)]
    folds = len(read_folds(folder)["folds"])
    records = read_records(folder)
    rows = summarise(records, "last")
    lines = [
        f"# {file.stem}",
        "",
        f"`spineloss study run studies/{file.name} -o build/{file.stem}`",
        "",
        took(runs),
        "",
        table_text(rows, "markdown", epoch="last", folds=folds),
        "",
        *beside_the_thesis(rows, load(folder / "study.yaml")),
        *adapting(load(folder / "study.yaml"), folder, records),
        *soon(folder, runs),
        *times(runs),
        *how_sure(records, reference),
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{file.stem}.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def how_sure(records: list, reference: str | None) -> list[str]:
    """The comparison of the methods, where there are two."""
    if len({record.method for record in records}) < 2:
        return []
    table = comparison_table.comparison_text(compare_study(records, reference=reference), "markdown")
    return ["", "## How sure is that?", "", table]


def adapting(study: Study, folder: Path, records: list) -> list[str]:
    """How the losses changed while training, and whether that was what helped."""
    found = [*verdicts(study, records, "last"), *courses_in_words(read_trajectories(study, folder))]
    return ["", "## Was it the adapting?", "", *(f"- {line}" for line in found)] if found else []


def soon(folder: Path, runs: list[dict]) -> list[str]:
    """The first epoch of each run whose mean Dice is `FAR`, where every epoch was validated."""
    found: dict[str, list[str]] = {}
    for run in runs:
        trained = Run.of(folder, run["method"], run["fold"], run["repeat"])
        dice = [epoch.get("dice", math.nan) for epoch in trained.epochs()]
        if any(math.isnan(each) for each in dice):
            return []
        first = next((str(number) for number, each in enumerate(dice, 1) if each >= FAR), "never")
        found.setdefault(run["method"], []).append(first)
    listed = "; ".join(f"{method}: {', '.join(each)}" for method, each in found.items())
    return ["", f"## How soon is a Dice of {100 * FAR:.0f} % reached?", "", f"The epoch, run by run. {listed}."]


def times(runs: list[dict]) -> list[str]:
    """Median seconds of a run of each method, and relative to the quickest one."""
    seconds: dict[str, list[float]] = {}
    for run in runs:
        seconds.setdefault(run["method"], []).append(run["timing"]["seconds"])
    medians = {method: median(each) for method, each in seconds.items()}
    least = min(medians.values())
    listed = ", ".join(f"{method} {each:.0f} s ({each / least:.1f}x)" for method, each in medians.items())
    note = "Of a run, as median over folds, on a machine that did other work too"
    return ["", "## How long does it take?", "", f"{note}: {listed}."]


def took(runs: list[dict]) -> str:
    """Wall time, the share of it outside forward, backward and optimiser, machine and versions."""
    first = min(run["started"] for run in runs)
    last = max(run["started"] + run["timing"]["seconds"] for run in runs)
    seconds = sum(run["timing"]["seconds"] for run in runs)
    outside = 1 - sum(run["timing"]["compute_seconds"] for run in runs) / seconds
    versions = ", ".join(f"{name} {version}" for name, version in runs[0]["versions"].items())
    return (
        f"{len(runs)} runs in {(last - first) / 60:.0f} min ({platform.machine()}), "
        f"{100 * outside:.1f} % of it outside forward, backward and optimiser. {versions}."
    )


def beside_the_thesis(rows: list, study: Study) -> list[str]:
    """Ours and the published rows that the study asks for, for the methods that both have."""
    published = thesis_rows(study.beside.removeprefix("thesis-")) if study.beside else {}
    methods = [method for method in dict.fromkeys(row.method for row in rows) if method in published]
    if not methods:
        return []
    header = "| method | " + " | ".join(f"{title}: here | thesis" for title in SHOWN.values()) + " |"
    lines = ["## Beside the thesis's Table 8.1", "", header, "|" + " --- |" * (1 + 2 * len(SHOWN))]
    for method in methods:
        # The first of a method's summaries is the average over its labels.
        ours = {row.metric: row for row in reversed(rows) if row.method == method}
        cells = [
            f"{100 * ours[metric].mean:.2f} ± {100 * ours[metric].std:.2f} | {published[method][metric]}"
            for metric in SHOWN
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "The thesis: 100 epochs at [32, 224, 224], 64 channels, 54 volumes, each metric at its own best epoch.",
        f"Here: {study.epochs} epochs at {list(study.grid)}, {study.width} channels, the last epoch.",
    ]


if __name__ == "__main__":
    main()
