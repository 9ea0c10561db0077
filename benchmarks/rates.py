"""Validation Dice by learning rate and width: python benchmarks/rates.py ../shared/data/lumbar FOLDER

Measures the rule `learning_rate: auto` (0.001 * 64 / width). Each network trains on two thirds of twenty cases and
is scored on the others. A killed command goes on where it was.
"""

import sys
from itertools import product
from pathlib import Path

from machine import describe
from machine import write as keep
from spineloss.results.records import read_records
from spineloss.results.table import summarise
from spineloss.study.engine import run_study
from spineloss.study.settings import Study

WIDTHS = (4, 8, 16)
RATES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
METHODS = ("cross_entropy", "dice")
EPOCHS = 30
CASES = 20


def main() -> None:
    data, folder = Path(sys.argv[1]), Path(sys.argv[2])
    left_out = [path.stem for path in sorted((data / "images").iterdir())][CASES:]
    measured = {}
    for width, rate in product(WIDTHS, RATES):
        study = Study(
            data=data,
            leave_out=left_out,
            methods=METHODS,
            grid=(16, 64, 64),
            width=width,
            epochs=EPOCHS,
            validate_every=EPOCHS,
            batch=2,
            learning_rate=rate,
        )
        place = folder / f"width-{width}-rate-{rate}"
        for event in run_study(study, place, print):
            if event.fold > 0:
                break
        rows = summarise([record for record in read_records(place) if record.fold == 0], "last")
        measured |= {(width, rate, row.method): row.mean for row in rows if row.metric == "dice"}
        write(measured)


def write(measured: dict[tuple[int, float, str], float]) -> None:
    """The table so far: a row per width and loss, a column per rate, the best rate of each row in bold."""
    head = ["width", "loss", *map(str, RATES)]
    lines = [
        "# Validation Dice (%) by learning rate",
        "",
        f"`python benchmarks/rates.py ../shared/data/lumbar build/rates`, {EPOCHS} epochs, one split.",
        describe("spineloss", "torch"),
        "",
        "| " + " | ".join(head) + " |",
        "| --- " * len(head) + "|",
    ]
    for width, method in product(WIDTHS, METHODS):
        row = {rate: measured[width, rate, method] for rate in RATES if (width, rate, method) in measured}
        cells = [f"{100 * row[rate]:.1f}" if rate in row else "" for rate in RATES]
        cells = [
            f"**{cell}**" if row and row.get(rate) == max(row.values()) else cell
            for rate, cell in zip(RATES, cells, strict=True)
        ]
        lines.append("| " + " | ".join([str(width), method, *cells]) + " |")
    keep("rates.md", lines)


if __name__ == "__main__":
    main()
