"""What networks reach on the cases that they were not trained on, in other masks than they were trained with.

spineloss study test build/acdc-scribbles ../shared/data/acdc -o build/acdc-scribbles-on-masks
.venv/bin/python studies/held_out.py build/acdc-scribbles build/acdc-scribbles-on-masks
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from spineloss.results.records import read_records
from spineloss.results.study_folder import read_folds


def main() -> None:
    """Print each label's mean Dice, by fold: a test scores every case, also those that a network has seen."""
    trained, tested = map(Path, sys.argv[1:])
    held_out = [set(cases) for cases in read_folds(trained)["folds"]]
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in read_records(tested):
        for (case, label), scores in record.scores[max(record.scores)].items():
            if case in held_out[record.fold]:
                found[record.method, label][record.fold].append(100 * scores["dice"])
    for (method, label), folds in found.items():
        means = [mean(values) for values in folds.values()]
        each = ", ".join(f"{value:.1f}" for value in means)
        print(f"{method}, {label}: {mean(means):.1f} ± {stdev(means):.1f} ({each})")


if __name__ == "__main__":
    main()
