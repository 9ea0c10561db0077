"""Races replayed over real studies: is the winner the full study's, and for what share of its time?

.venv/bin/python benchmarks/race_replay.py STUDY...
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import describe, write
from spineloss.results.averages import average
from spineloss.results.race_course import Cost, Course, race_cost
from spineloss.results.racing import Rules
from spineloss.results.records import Record, case_values, read_records
from spineloss.results.study_folder import study_file
from spineloss.seeding import generator
from spineloss.study.settings import load

ORDERS = 5
MARGINS = (2.0, 1.0, 0.0)  # points


def main() -> None:
    """Race over the rounds of full studies in several orders, and write the page."""
    folders = [Path(name) for name in sys.argv[1:]]
    parts = [
        "# Races over real studies",
        "The runs of a full study are all that a race over it could ask for: its rounds are raced in "
        f"{ORDERS} orders, as other seeds would have drawn them. A round is named fold.repeat. *Behind*: how many "
        "points of Dice the winner is behind the best of the full study. *Time*: of the full study's, with what "
        "choosing learning rates took.",
        *(part for folder in folders for part in replayed(folder)),
        describe("numpy", "scipy"),
    ]
    write("race_replay.md", ["\n\n".join(parts)])


def replayed(folder: Path) -> Iterator[str]:
    """What is said of a study."""
    study, records = load(study_file(folder)), read_records(folder)
    methods = list(dict.fromkeys(record.method for record in records))
    places = sorted({(record.repeat, record.fold) for record in records})
    # Of a study that was stopped, the rounds that every method has finished.
    whole = [place for place in places if len(of_round(records, place)) == len(methods)]
    records = [record for place in whole for record in of_round(records, place)]
    rates = max(len(study.rates(method)) for method in study.methods)
    yield f"## {folder.name}"
    yield (
        f"`studies/{folder.name}.yaml`: {len(methods)} methods, {len(whole)} rounds of {study.epochs} epochs, "
        + ("each fold's rate chosen from {rates}." if rates > 1 else "one rate.").format(rates=rates)
    )
    yield table(["method", "Dice (%)", *map(named, whole)], scores(records, methods, whole))
    raced = races(folder, records, methods, whole)
    yield " ".join(told(raced, margin) for margin in MARGINS)
    head = ["margin", "order", "winner", "behind", "runs", "time", "dropped"]
    yield table(head, (each.line() for each in raced))


def of_round(records: list[Record], place: tuple[int, int]) -> list[Record]:
    """The runs of a round."""
    return [record for record in records if (record.repeat, record.fold) == place]


def named(place: tuple[int, int]) -> str:
    """A round as fold.repeat."""
    repeat, fold = place
    return f"{fold}.{repeat}"


def mean_dice(records: list[Record]) -> dict[str, float]:
    """Each method's mean over cases, in percent."""
    return {method: 100 * average(list(cases.values())) for method, cases in case_values(records, "dice").items()}


def scores(records: list[Record], methods: list[str], places: list[tuple[int, int]]) -> Iterator[list[str]]:
    """Every method, the best first: its mean, and that of each round."""
    means, rounds = mean_dice(records), [mean_dice(of_round(records, place)) for place in places]
    for method in sorted(methods, key=lambda method: -means[method]):
        yield [method, *(f"{found[method]:.2f}" for found in (means, *rounds))]


@dataclass(frozen=True)
class Raced:
    """A race: its rules and rounds, its winner, the points that it is behind the full study's, what it cost."""

    margin: float
    course: Course
    winner: str
    behind: float
    cost: Cost

    def line(self) -> list[str]:
        """Of the table."""
        return [
            f"{self.margin:g}",
            " ".join(map(named, self.course.places)),
            self.winner,
            f"{self.behind:.2f}",
            f"{self.cost.runs} of {self.cost.all_runs}",
            f"{100 * self.cost.share:.0f} %",
            ", ".join(f"{method} after {number}" for method, (number, _) in self.course.dropped.items()),
        ]


def races(folder: Path, records: list[Record], methods: list[str], places: list[tuple[int, int]]) -> list[Raced]:
    """Races over the rounds in several orders, by each margin."""
    means, found = mean_dice(records), []
    for margin in MARGINS:
        for order in range(ORDERS):
            drawn = generator("replay", order).permutation(len(places)) if order else range(len(places))
            # As in a race, every fold is met before any is met again: its rate is chosen, and paid for, then.
            met = sorted((places[index] for index in drawn), key=lambda place: place[0])
            course = Course(tuple(methods), tuple(met), Rules(margin=margin / 100))
            while not course.is_over and (after := course.next(folder)) is not None:
                course = after
            winner = course.looks[-1].leader
            behind = max(means.values()) - means[winner]
            found.append(Raced(margin, course, winner, behind, race_cost(course, folder)))
    return found


def told(raced: list[Raced], margin: float) -> str:
    """Those of a margin in a sentence."""
    of = [each for each in raced if each.margin == margin]
    shares = [100 * each.cost.share for each in of]
    behind = max(each.behind for each in of)
    return (
        f"By a margin of {margin:g} the winner is at most {behind:.2f} points behind the full study's, for "
        f"{min(shares):.0f} to {max(shares):.0f} % of its time, {average(shares):.0f} on average."
    )


def table(head: list[str], rows: Iterator[list[str]]) -> str:
    """Rows as Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    main()
