"""Races replayed over a real study: is the winner the full study's, and for what share of its time?

.venv/bin/python benchmarks/race_replay.py STUDY [REMARK]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from machine import describe, write
from spineloss.results.averages import average
from spineloss.results.race_course import Course, race_cost
from spineloss.results.racing import Rules
from spineloss.results.records import Record, case_values, read_records
from spineloss.seeding import generator

ORDERS = 5
MARGINS = (1.0, 0.0)  # points


def main() -> None:
    """Race over the rounds of a full study in several orders, and write the page."""
    folder = Path(sys.argv[1])
    records = read_records(folder)
    methods = list(dict.fromkeys(record.method for record in records))
    places = sorted({(record.repeat, record.fold) for record in records})
    # Of a study that was stopped, the rounds that every method has finished.
    whole = [place for place in places if len(of_round(records, place)) == len(methods)]
    records = [record for place in whole for record in of_round(records, place)]
    studied = table(["method", "Dice (%)", *map(named, whole)], scores(records, methods, whole))
    head = ["margin", "order", "winner", "behind", "runs", "time", "dropped"]
    raced = table(head, races(folder, records, methods, whole))
    parts = [
        "# Races over a real study",
        f"{len(methods)} methods, {len(whole)} rounds. The runs of a full study are all that a race over it could "
        f"ask for: its rounds are raced in {ORDERS} orders, as other seeds would have drawn them.",
        *sys.argv[2:],
        f"## The full study\n\n{studied}",
        f"## The races\n\n{raced}",
        describe("numpy", "scipy"),
    ]
    write("race_replay.md", ["\n\n".join(parts)])


def of_round(records: list[Record], place: tuple[int, int]) -> list[Record]:
    """The runs of a round."""
    return [record for record in records if (record.repeat, record.fold) == place]


def named(place: tuple[int, int]) -> str:
    """A round in words."""
    repeat, fold = place
    return f"fold {fold}" + (f", repeat {repeat}" if repeat else "")


def mean_dice(records: list[Record]) -> dict[str, float]:
    """Each method's mean over cases, in percent."""
    return {method: 100 * average(list(cases.values())) for method, cases in case_values(records, "dice").items()}


def scores(records: list[Record], methods: list[str], places: list[tuple[int, int]]) -> Iterator[list[str]]:
    """Every method, the best first: its mean, and that of each round."""
    means, rounds = mean_dice(records), [mean_dice(of_round(records, place)) for place in places]
    for method in sorted(methods, key=lambda method: -means[method]):
        yield [method, *(f"{found[method]:.2f}" for found in (means, *rounds))]


def races(
    folder: Path, records: list[Record], methods: list[str], places: list[tuple[int, int]]
) -> Iterator[list[str]]:
    """A race a line."""
    means = mean_dice(records)
    for margin in MARGINS:
        for order in range(ORDERS):
            drawn = generator("replay", order).permutation(len(places)) if order else range(len(places))
            # As in a race, every fold is met before any is met again: its rate is chosen, and paid for, then.
            met = sorted((places[index] for index in drawn), key=lambda place: place[0])
            course = Course(tuple(methods), tuple(met), Rules(margin=margin / 100))
            while not course.is_over:
                course = course.next(folder)
            cost, winner = race_cost(course, folder), course.looks[-1].leader
            yield [
                f"{margin:g}",
                "; ".join(map(named, course.places)),
                winner,
                f"{max(means.values()) - means[winner]:.2f}",
                f"{cost.runs} of {cost.all_runs}",
                f"{100 * cost.share:.0f} %",
                ", ".join(f"{method} after {number}" for method, (number, _) in course.dropped.items()),
            ]


def table(head: list[str], rows: Iterator[list[str]]) -> str:
    """Rows as Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    main()
