"""What the gate of the genetic search rejects, what it keeps, and what a formula costs.

.venv/bin/python benchmarks/gate.py
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch

from machine import describe, write
from spineloss.grammar import Formula, Text
from spineloss.learned.formula import Evolved
from spineloss.search.gate import MOST_NODES, Gate, GateVerdict, phantom_masks
from spineloss.search.variation import random_formula
from spineloss.text import parse

TREES = 3000
CALLS = 3  # of a formula; the least disturbed counts
ENDS = ("evidence", "size", "balance", "finite", "sign", "monotone", "optimisation", "passed")
KNOWN = {
    "cross_entropy": "negate(mean(add(multiply(y, log(p)), multiply(complement(y), log(complement(p))))))",
    "dice": "complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y))))",
    "tversky": "complement(divide(mean(multiply(p, y)), add(multiply(0.7, mean(p)), multiply(0.3, mean(y)))))",
    "focal": "negate(multiply(0.25, mean(multiply(power(absolute(subtract(p, y)), 1.45), "
    "log(complement(absolute(subtract(p, y))))))))",
}
# Tversky's false positives and false negatives apart; as their weights add up to 1, the shorter tree is the same.
APART = (
    "complement(divide(mean(multiply(p, y)), add(mean(multiply(p, y)), "
    "add(multiply(0.7, mean(multiply(p, complement(y)))), multiply(0.3, mean(multiply(y, complement(p))))))))"
)


@dataclass(frozen=True)
class Trial:
    """A formula, its verdict, and the milliseconds of processor time that it takes."""

    formula: Formula
    verdict: GateVerdict
    milliseconds: float

    @property
    def end(self) -> str:
        """The test that ended the cascade."""
        return self.verdict.failed or "passed"


def tried(gate: Gate, formula: Formula) -> Trial:
    costs = []
    for _ in range(CALLS):
        start = time.process_time()
        verdict = gate(formula)
        costs.append(1000 * (time.process_time() - start))
    return Trial(formula, verdict, min(costs))


def known_losses() -> dict[str, Formula]:
    """The four, and the sums of any two."""
    sums = {" + ".join(pair): f"add({KNOWN[pair[0]]}, {KNOWN[pair[1]]})" for pair in combinations(KNOWN, 2)}
    return {name: read(text) for name, text in (KNOWN | sums).items()}


def read(text: str) -> Formula:
    return Text("formula", text).formula()


def random_rows(trials: list[Trial]) -> Iterator[str]:
    yield row("ended by", "trees", "share", "mean ms", "most ms")
    yield row(*["---"] * 5)
    for end in ENDS:
        yield summary(end, [trial for trial in trials if trial.end == end], len(trials))
    yield summary("all", trials, len(trials))


def summary(name: str, trials: list[Trial], all_trees: int) -> str:
    costs = [trial.milliseconds for trial in trials]
    share = f"{100 * len(trials) / all_trees:.2f} %"
    return row(name, len(trials), share, f"{sum(costs) / len(costs):.1f}", f"{max(costs):.1f}")


def known_rows(gate: Gate) -> Iterator[str]:
    yield row("loss, written as a tree", "nodes", "verdict", "Dice reached", "ms", "differs from the library's by")
    yield row(*["---"] * 6)
    for name, formula in known_losses().items():
        trial = tried(gate, formula)
        reached = f"{gate.optimised_dice(Evolved(formula)):.3f}"
        cost = f"{trial.milliseconds:.1f}"
        yield row(f"`{name}`", nodes(formula), trial.end, reached, cost, difference(name, formula))


def longest(gate: Gate) -> str:
    """What becomes of the known losses where they are written long."""
    alone, summed = read(APART), read(f"add({APART}, {KNOWN['focal']})")
    return (
        f"Tversky with its false positives and negatives apart: {nodes(alone)} nodes, {tried(gate, alone).end}. "
        f"Its sum with focal: {nodes(summed)} nodes, {tried(gate, summed).end}; the gate takes {MOST_NODES}."
    )


def nodes(formula: Formula) -> int:
    return len(list(formula.nodes()))


def difference(name: str, formula: Formula) -> str:
    """Relative, of the values on noise: the tree is the loss."""
    logits = torch.randn(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    target = (logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)) > 1.5).float()
    expected = parse(name)(logits, target)
    return f"{(Evolved(formula)(logits, target) / expected - 1).abs().item():.0e}"


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    torch.set_num_threads(1)
    gate = Gate(phantom_masks())
    formulas = [random_formula("benchmark", number) for number in range(TREES)]
    trials = [tried(gate, formula) for formula in formulas]
    passed = sum(trial.verdict.passed for trial in trials)
    both = sum(trial.end != "evidence" for trial in trials)
    write(
        "gate.md",
        [
            "# The gate of the genetic search",
            "",
            f"Masks {tuple(gate.masks.shape)} of generated spines. Processor time, the least of {CALLS} calls.",
            f"{describe('spineloss', 'torch')}",
            "`.venv/bin/python benchmarks/gate.py`",
            "",
            f"## {TREES} random trees",
            f"{100 * (1 - passed / TREES):.1f} % are rejected; of the {both} that use both prediction and target, "
            f"{100 * (1 - passed / both):.1f} %.",
            "",
            *random_rows(trials),
            "",
            "## Known losses",
            "",
            *known_rows(gate),
            "",
            longest(gate),
        ],
    )


if __name__ == "__main__":
    main()
