"""A race to read: who is left, who was dropped when and why, and what it cost beside the full study."""

import math
from pathlib import Path

from spineloss.metrics import METRICS
from spineloss.results.race_course import DECISIVE, Cost, Course, race_cost, read_course
from spineloss.results.racing import Drop
from spineloss.results.score_text import number, probability
from spineloss.results.text_table import Cell, Format, TextTable, bullets, escape, lay_out

SCALE = METRICS[DECISIVE].scale
HOUR, MINUTE = 3600, 60  # seconds


def race_text(folder: Path, format: Format = "text") -> str:
    """The race in a study's folder as sentences and a table; nothing where no race was run there."""
    course = read_course(folder)
    if course is None or format == "csv":
        return ""
    words = " ".join(race_words(course, race_cost(course, folder)))
    table = lay_out(race_table(course), format)
    return "\n\n".join([escape(words, format), table, bullets(how_races_decide(course), format)])


def race_words(course: Course, cost: Cost) -> list[str]:
    """Where the race stands, and what it cost, in two sentences."""
    done, planned = len(course.looks), len(course.places)
    if not done:
        return [f"The race has not finished the first of its {planned} rounds."]
    leader = course.looks[-1].leader
    others = [method for method in course.left if method != leader]
    be = "is" if len(others) == 1 else "are"
    if not others:
        state = f"The race is over after {done} of {planned} rounds: {leader} is left"
    elif course.is_over:
        state = f"After all {planned} rounds {leader} leads, and {_count(others)} could not be dropped"
    else:
        state = f"After {done} of {planned} rounds {leader} leads, and {_count(others)} {be} still in the race"
    told = f"{state}; {len(course.dropped)} of {len(course.methods)} methods were dropped."
    taken = f"It took {cost.runs} of {cost.all_runs} trainings, {_duration(cost.seconds)}"
    share = (
        ""
        if math.isnan(cost.share)
        else f": {100 * cost.share:.0f} % of the full study's {_duration(cost.all_seconds)}"
    )
    return [told, f"{taken}{share}."]


def _count(methods: list[str]) -> str:
    return methods[0] if len(methods) == 1 else f"{len(methods)} others"


def race_table(course: Course) -> TextTable:
    """A line per method: those left first, then who was dropped, the last first."""
    head = ["Method", "Dropped after", "Why", "Behind the leader (points)", "Error", "p", "Trainings"]
    dropped = course.dropped
    order = sorted(dropped, key=lambda method: -dropped[method][0])
    lines = [_line(course, method) for method in [*course.left, *order]]
    lucks = ", ".join(number(seen.luck, SCALE) for seen in course.looks)
    notes = [f"Luck of a training, estimated after each round: {lucks} points"] if lucks else []
    return TextTable(f"The race by {METRICS[DECISIVE].title}", head, lines, notes)


def _line(course: Course, method: str) -> list[Cell]:
    if method not in course.dropped:
        leads = bool(course.looks) and method == course.looks[-1].leader
        text = [method, "", "leads" if leads else "left", "", "", "", _trainings(course, len(course.looks))]
        return [Cell(each, leads and not column) for column, each in enumerate(text)]
    after, drop = course.dropped[method]
    repeat, fold = course.places[after - 1]
    where = f"round {after}: fold {fold}" + (f", repeat {repeat}" if repeat else "")
    return [Cell(each) for each in (method, where, drop.reason, *_numbers(drop), _trainings(course, after))]


def _numbers(drop: Drop) -> list[str]:
    if drop.reason == "failed":
        return ["", "", ""]
    return [number(drop.difference, SCALE, signed=True), number(drop.error, SCALE), probability(drop.p)]


def _trainings(course: Course, rounds: int) -> str:
    return f"{rounds} of {len(course.places)}"


def _duration(seconds: float) -> str:
    """A length of time, as long as what it measures.

    >>> _duration(40), _duration(600), _duration(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def how_races_decide(course: Course) -> list[str]:
    """A line on each number of the table."""
    points = SCALE * course.rules.margin
    margin = f"{points:g} {'point' if points == 1 else 'points'}"
    level = f"{100 * course.rules.level:g} %"
    return [
        f"Dropped: a paired t-test over the cases, whose error counts the luck of training, too, is sure that the "
        f"method is not better than the leader by {margin}. Worse: as sure that it is below the leader.",
        f"The probability that a method better than the winner by {margin} or more was dropped is at most "
        f"{level}, over all methods and rounds.",
        "p: because the leader is picked, times the number of the other methods that started; where the reason is "
        "worse, times that of all ordered pairs. Round n may spend 1 / (n (n + 1)) of the level.",
        "A dropped method has fewer trainings: elsewhere it is compared on those that it has, and is never best.",
    ]
