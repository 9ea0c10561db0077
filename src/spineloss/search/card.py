"""The card of a learned loss: what it is, what it was learned from and by how much work, and where it fails."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from spineloss import __version__
from spineloss.data.dataset import Dataset
from spineloss.files import write_text
from spineloss.lossbook.judging import Outcome
from spineloss.lossbook.linter import lint
from spineloss.search.fresh import Budget
from spineloss.search.split import Split

UNSTATED = "not stated in the data; it may bind what was learned from them"


@dataclass(frozen=True)
class Learned:
    """A loss that a search found.

    Args:
        kind: in a few words, such as "a formula, bred".
        text: as a study names it.
        formula: as one reads it, if it has one.
        module: the loss.
        trained: networks that were trained to find it.
        seconds: that the search took.
        worth: in the search, on cases that the search scored by, in a line.
    """

    kind: str
    text: str
    formula: str
    module: nn.Module
    trained: int
    seconds: float
    worth: str


def write_card(folder: Path, learned: Learned, source: Path, data: Dataset, cases: Split, budget: Budget) -> None:
    """Write `card.md`, after the model cards of Mitchell et al. (2019).

    Args:
        folder: of the search.
        learned: what was found.
        source: the data searched on.
        data: the same, prepared.
        cases: how it was divided.
        budget: of each network.
    """
    patients = len(set(data.groups.values()))
    failed = [finding for finding in lint(learned.module) if finding.outcome is Outcome.FAIL]
    facts = {
        "What it is": f"{learned.kind}. In a study: `{learned.text}`",
        "Formula": learned.formula,
        "Learned from": f"{source.resolve().name}, {len(data.samples)} cases of {patients} patients, content "
        f"`{data.digest[:16]}`; all labels as one",
        "Licence of the data": _licence(source),
        "Cases": f"{len(cases.training)} to train on, {len(cases.validation)} to score by, and "
        f"{len(cases.held_out)} that the search never saw (`split.json`)",
        "Budget": f"{learned.trained} networks of width {budget.width}, grid {list(budget.grid)}, {budget.epochs} "
        f"epochs in batches of {budget.batch}, learning rate {budget.learning_rate:g}: "
        f"{learned.seconds / 3600:.1f} h; spineloss {__version__}, seed {budget.seed}",
        "In the search": learned.worth,
        "Tested on": "nothing yet. A study with `held_out: split.json` tests it on the cases that the search "
        "never saw, beside any other loss; `spineloss study test` does on other data",
        "Fails at": "; ".join(f"{each.check.name} ({each.detail})" for each in failed)
        or "no check of `spineloss losses check`",
        "Not known": "other organs, exclusive classes, larger networks, longer trainings",
    }
    lines = ["# A learned loss", "", *(f"- **{title}**: {fact}" for title, fact in facts.items() if fact)]
    write_text(folder / "card.md", "\n".join(lines) + "\n")


def _licence(source: Path) -> str:
    """What `dataset.json` says, under either spelling."""
    try:
        said = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
        return str(said.get("licence") or said.get("license") or UNSTATED)
    except (OSError, ValueError, AttributeError):
        return UNSTATED
