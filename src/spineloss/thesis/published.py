"""The results that the thesis (Hun 2021) published, as text to show beside others."""

import csv
from importlib.resources import files

from spineloss.metrics import METRICS

EPOCHS = {"cervical": 150, "lumbar": 100}  # of each anatomy's trainings, Table A.6


def published(anatomy: str) -> dict[str, dict[str, str]]:
    """Table 8.1: loss -> metric -> mean and standard deviation, in percent or mm.

    Args:
        anatomy: `lumbar` or `cervical`.

    >>> published("lumbar")["dice"]["dice"]
    '88.63 ± 1.08'
    """
    text = (files("spineloss") / "thesis" / "published.csv").read_text(encoding="utf-8")
    return {
        row["loss"]: {
            metric: f"{float(row[metric]):.2f} ± {float(row[f'{metric}_std']):.2f}"
            for metric in METRICS
            if row.get(metric)
        }
        for row in csv.DictReader(text.splitlines())
        if row["dataset"] == anatomy
    }
