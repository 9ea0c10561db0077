"""The learning rates of a study's runs: what was tried on inner splits, what was chosen, and what that cost."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spineloss.files import write_csv
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import finished_runs
from spineloss.training.schedule import scaled_rate

FAR = 3  # times more or less than the rate that scales with the width
COLUMNS = ["method", "fold", "rate", "dice", "chosen", "seconds", "reason"]


@dataclass(frozen=True)
class Candidate:
    """A learning rate that was tried: mean Dice of the inner validation cases at the last epoch, and its cost.

    Without a Dice it was not trained to the end; `reason` says why, where it failed.
    """

    rate: float
    dice: float | None
    seconds: float
    reason: str | None


@dataclass(frozen=True)
class Choice:
    """The learning rate of one finished run, the seconds of its own training, and what was tried before.

    `scaled` is the rate that scales with the width of its network; none where nothing is known of that.
    """

    method: str
    fold: int
    rate: float
    seconds: float
    candidates: list[Candidate]
    scaled: float | None = None


def read_candidate(run: Run, rate: float) -> Candidate:
    """What came out of a run that tries a learning rate."""
    record, epochs = run.record(), run.epochs()
    done = record["status"] == "done"
    seconds = math.fsum(epoch["seconds"] for epoch in epochs)
    return Candidate(rate, epochs[-1].get("dice") if done else None, seconds, record.get("reason"))


def chosen(candidates: Sequence[Candidate]) -> Candidate | None:
    """The one with the highest Dice, the first of equals; none if no one has any."""
    scored = [candidate for candidate in candidates if candidate.dice is not None]
    return max(scored, key=lambda candidate: candidate.dice, default=None)


def read_choices(study: Path) -> list[Choice]:
    """The learning rate of each finished run of a study, in the order of its methods, one per method and fold."""
    return [_choice(record) for _, record in finished_runs(study) if not record["repeat"]]


def _choice(run: dict[str, Any]) -> Choice:
    candidates = [Candidate(**candidate) for candidate in run["candidates"]]
    seconds, settings = run["timing"]["seconds"], run["specification"]
    ruled = settings["network"] == "unet" and settings.get("optimiser", "adam") == "adam"
    scaled = scaled_rate(settings["width"]) if ruled else None
    return Choice(run["method"], run["fold"], run["learning_rate"], seconds, candidates, scaled)


def write_rates(study: Path) -> None:
    """Write `rates.csv` where rates were tried: one line per method, fold and rate, inner Dice in [0, 1]."""
    rows = [
        {
            "method": choice.method,
            "fold": choice.fold,
            **vars(candidate),
            "dice": math.nan if candidate.dice is None else candidate.dice,
            "chosen": int(candidate.rate == choice.rate),
        }
        for choice in read_choices(study)
        for candidate in choice.candidates
    ]
    path = study / "rates.csv"
    if rows:
        write_csv(path, rows, COLUMNS)
    else:
        path.unlink(missing_ok=True)


def rates_in_words(choices: Sequence[Choice]) -> list[str]:
    """The learning rates of a study's methods: one line if all have the same, else one line per method."""
    methods: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        methods[choice.method].append(choice)
    rates = {choice.rate for choice in choices}
    if len(rates) == 1 and not any(choice.candidates for choice in choices):
        told = [f"learning rate {rates.pop():g}"]
    else:
        told = [f"{method}: {_in_words(found)}" for method, found in methods.items()]
    return [*told, *_doubts(choices)]


def _doubts(choices: Sequence[Choice]) -> list[str]:
    """A rate that was set, not chosen, far from the one that scales with the width."""
    far = {
        (choice.rate, choice.scaled): None
        for choice in choices
        if choice.scaled and not choice.candidates and not 1 / FAR < choice.rate / choice.scaled < FAR
    }
    return [
        f"The learning rate {rate:g} was set, and {scaled:g} is what scales with the width: at a rate that does "
        "not suit it, a good loss looks bad; set `learning_rate: auto`, or a list to choose from"
        for rate, scaled in far
    ]


def _in_words(choices: Sequence[Choice]) -> str:
    rates = [f"{choice.rate:g}" for choice in choices]
    told = f"learning rate {rates[0] if len(set(rates)) == 1 else ', '.join(rates)}"
    candidates = [candidate for choice in choices for candidate in choice.candidates]
    if not candidates:
        return told
    tried = ", ".join(dict.fromkeys(f"{candidate.rate:g}" for candidate in candidates))
    times = math.fsum(candidate.seconds for candidate in candidates) / math.fsum(each.seconds for each in choices)
    if len(set(rates)) > 1:
        told += f" (folds {', '.join(str(choice.fold) for choice in choices)})"
    return f"{told}, chosen from {tried} on an inner split of each fold; choosing took {times:.1f} x the training"
