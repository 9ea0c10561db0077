"""Races over studies simulated with a known truth: how often the best is dropped, and what a race costs.

.venv/bin/python benchmarks/race.py
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from machine import describe, write
from spineloss.results.racing import RaceRound, Rules, look

RACES = 100
# Points of Dice, as in studies/results: what makes a case hard for all, what is a case's and a method's, the rest.
HARD, OWN, REST = 4.0, 1.5, 0.7


@dataclass(frozen=True)
class Design:
    """Patients, folds, repeats, and the luck of a training in points."""

    patients: int = 160
    folds: int = 3
    repeats: int = 3
    luck: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """What a race ended in: points that the winner is truly below the best, what it dropped, and its share."""

    regret: float
    best_dropped: bool
    best_worse: bool
    any_worse: bool
    cost: float


def simulate(generator: np.random.Generator, truth: np.ndarray, design: Design) -> list[RaceRound]:
    """The rounds of a full study."""
    count, patients = len(truth), design.patients
    hard = HARD * generator.normal(size=(patients, 1))
    own = OWN * generator.normal(size=(patients, count))
    fold = generator.permutation(patients) % design.folds
    names = tuple(map(str, range(count)))
    rounds = []
    for number in range(design.folds * design.repeats):
        cases = np.flatnonzero(fold == number % design.folds)
        luck = design.luck * generator.normal(size=count)
        rest = REST * generator.normal(size=(len(cases), count))
        values = np.maximum(85 + truth + hard[cases] + own[cases] + luck + rest, 0)
        rounds.append(RaceRound(names, tuple(map(str, cases)), values / 100))
    return rounds


def race(full: list[RaceRound], truth: np.ndarray, rules: Rules) -> Outcome:
    """Race over the rounds of a full study."""
    left, rounds, reasons, runs = full[0].methods, [], {}, 0
    for each in full:
        runs += len(left)
        rounds.append(RaceRound(left, each.cases, each.only(left)))
        seen = look(rounds, rules)
        reasons |= {drop.method: drop.reason for drop in seen.drops}
        left = tuple(method for method in left if method not in reasons)
        if len(left) == 1:
            break
    best = str(int(truth.argmax()))
    return Outcome(
        regret=float(truth.max() - truth[int(seen.leader)]),
        best_dropped=best in reasons,
        best_worse=reasons.get(best) == "worse",
        any_worse="worse" in reasons.values(),
        cost=runs / len(full) / len(truth),
    )


def equal(generator: np.random.Generator, count: int) -> np.ndarray:
    """All methods are the same."""
    return np.zeros(count)


def ahead(generator: np.random.Generator, count: int) -> np.ndarray:
    """One is 1 point better than all others, which are the same: the hardest case for a margin of 1 point."""
    return np.array([0.0, *[-1.0] * (count - 1)])


def ladder(generator: np.random.Generator, count: int) -> np.ndarray:
    """Evenly spread over 4 points."""
    return -np.linspace(0, 4, count)


def mixed(generator: np.random.Generator, count: int) -> np.ndarray:
    """As studies look: half within a point of the best, a third 1 to 4 points behind, the others 4 to 20."""
    near, behind = count // 2, count // 3
    far = count - near - behind
    draws = [generator.uniform(0, 1, near), generator.uniform(1, 4, behind), generator.uniform(4, 20, far)]
    truth = -np.concatenate(draws)
    truth[0] = 0
    return truth


def collapsed(generator: np.random.Generator, count: int) -> np.ndarray:
    """As one ahead, but two of three find nothing at all."""
    truth = ahead(generator, count)
    truth[count - 2 * count // 3 :] = -200
    return truth


TRUTHS = {"one ahead": ahead, "all equal": equal, "mixed": mixed, "evenly spread": ladder, "collapsed": collapsed}


def outcomes(truth_of, count: int, design: Design, rules: Rules) -> list[Outcome]:
    """Many races of one kind."""
    generator = np.random.default_rng(count)
    found = []
    for _ in range(RACES):
        truth = truth_of(generator, count)
        found.append(race(simulate(generator, truth, design), truth, rules))
    return found


def rate(hits: list[bool]) -> str:
    """A share in percent with its standard error."""
    share = float(np.mean(hits))
    return f"{100 * share:.1f} ± {100 * (share * (1 - share) / len(hits)) ** 0.5:.1f}"


def row(found: list[Outcome], margin: float) -> list[str]:
    """What many races ended in."""
    return [
        rate([each.best_dropped and each.regret > 0 and each.regret >= margin - 1e-9 for each in found]),
        rate([each.best_dropped for each in found]),
        rate([each.best_worse for each in found]),
        rate([each.any_worse for each in found]),
        f"{np.mean([each.regret for each in found]):.2f}",
        f"{100 * np.mean([each.cost for each in found]):.0f}",
    ]


OUTCOME = [
    "best dropped, and the winner behind it by the margin or more (%)",
    "best dropped (%)",
    "best called worse (%)",
    "any called worse (%)",
    "winner behind the best (points)",
    "cost (% of the full study)",
]


def table(title: str, text: str, head: list[str], rows: Iterator[list[str]]) -> str:
    """A section with a table."""
    lines = [f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows]]
    return "\n\n".join([f"## {title}", text, "\n".join(lines)])


def with_a_margin() -> str:
    """A margin of a point, many candidates, every kind of truth."""
    design, margin = Design(), 1.0

    def rows() -> Iterator[list[str]]:
        for name, truth in TRUTHS.items():
            for count in (10, 20, 50):
                yield [name, str(count), *row(outcomes(truth, count, design, Rules(margin=margin / 100)), margin)]

    return table(
        "With a margin of 1 point",
        f"{design.patients} patients, {design.folds} folds, {design.repeats} repeats, a luck of {design.luck} "
        "points. Promised: the first column is 5 % at most. Where methods are within the margin of the best, the "
        "best may be dropped: that is what the margin is for. Where several are left, the winner is the best "
        "mean.",
        ["truth", "methods", *OUTCOME],
        rows(),
    )


def other_studies() -> str:
    """Other designs, and other luck, with the methods of a mixed study."""
    designs = [
        Design(luck=0.3),
        Design(luck=0.8),
        Design(folds=3, repeats=2),
        Design(folds=5, repeats=1),
        Design(folds=5, repeats=2),
        Design(patients=30, folds=3, repeats=3),
        Design(patients=30, folds=5, repeats=2),
    ]

    def rows() -> Iterator[list[str]]:
        for design in designs:
            for name in ("one ahead", "mixed"):
                found = row(outcomes(TRUTHS[name], 20, design, Rules(margin=0.01)), 1.0)
                place = [str(design.patients), str(design.folds), str(design.repeats), f"{design.luck:g}", name]
                yield [*place, found[0], *found[4:]]

    return table(
        "Other studies",
        "20 methods, a margin of 1 point.",
        ["patients", "folds", "repeats", "luck (points)", "truth", OUTCOME[0], *OUTCOME[4:]],
        rows(),
    )


def main() -> None:
    """Run every simulation and write the page."""
    start = time.process_time()
    parts = [with_a_margin(), other_studies()]
    head = [
        "# Races",
        "Studies simulated with a known truth, by `benchmarks/race.py`, and raced by the rules of "
        "`study race` ([how](../../docs/howto/race.md)). A case is hard for all by a normal draw of "
        f"{HARD:g} points, for a method alone by {OWN:g}, in a training by {REST:g}; each training has a luck "
        f"that all of its cases share. {RACES} races a row; ± is the standard error.",
    ]
    made = f"{time.process_time() - start:.0f} s of processor time; {describe('numpy', 'scipy')}"
    write("race.md", ["\n\n".join([*head, *parts, made])])


if __name__ == "__main__":
    main()
