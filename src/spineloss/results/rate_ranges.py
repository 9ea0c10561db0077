"""How wide each loss's safe range of learning rates is, by the inner scores that chose the rates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from spineloss.results.averages import average
from spineloss.results.learning_rates import Choice

SAFE = 0.01  # of Dice below the best


@dataclass(frozen=True)
class RateRange:
    """The inner Dice of a method by learning rate, and the rates around the best that are within a point of it.

    `dice` is the mean over folds, of the rates that all of them trained to the end; `folds` each fold's own.
    `tried` are the lowest and the highest rate that any of them tried, failed ones too.
    """

    method: str
    dice: dict[float, float]
    folds: list[dict[float, float]]
    best: float
    low: float
    high: float
    tried: tuple[float, float]

    @property
    def open_end(self) -> str:
        """`lower` or `higher` where the best rate is the last that was tried in that direction, else nothing."""
        lowest, highest = self.tried
        if lowest == highest or lowest < self.best < highest:
            return ""
        return "lower" if self.best == lowest else "higher"


def rate_ranges(choices: Sequence[Choice]) -> list[RateRange]:
    """The ranges of the methods that chose a learning rate, in their order.

    Args:
        choices: of `read_choices`.
    """
    methods: dict[str, list[dict[float, float]]] = defaultdict(list)
    rates: dict[str, set[float]] = defaultdict(set)
    for choice in choices:
        rates[choice.method] |= {each.rate for each in choice.candidates}
        trained = {each.rate: each.dice for each in choice.candidates if each.dice is not None}
        if trained:
            methods[choice.method].append(trained)
    return [
        _range(method, folds, (min(rates[method]), max(rates[method])))
        for method, folds in methods.items()
        if set.intersection(*map(set, folds))
    ]


def _range(method: str, folds: list[dict[float, float]], tried: tuple[float, float]) -> RateRange:
    rates = sorted(set.intersection(*map(set, folds)))
    dice = {rate: average([fold[rate] for fold in folds]) for rate in rates}
    best = max(rates, key=lambda rate: dice[rate])
    low = high = rates.index(best)
    while low > 0 and dice[rates[low - 1]] >= dice[best] - SAFE:
        low -= 1
    while high < len(rates) - 1 and dice[rates[high + 1]] >= dice[best] - SAFE:
        high += 1
    return RateRange(method, dice, folds, best, rates[low], rates[high], tried)


def open_ends_in_words(ranges: Sequence[RateRange]) -> list[str]:
    """A line per direction in which some best rate was the last tried: better ones may lie beyond."""
    lines = []
    for direction, end in (("lower", "lowest"), ("higher", "highest")):
        found = [each.method for each in ranges if each.open_end == direction]
        if found:
            lines.append(f"best at the {end} rate tried, so a {direction} one may be better: {', '.join(found)}")
    return lines
