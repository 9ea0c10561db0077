"""The answer of a comparison in words."""

import math
from collections.abc import Mapping, Sequence

from spineloss.metrics import METRICS
from spineloss.results.ranking import Ranking
from spineloss.results.statistics import Comparison, Pair, Verdict

# Beyond this, "about n more cases" would be a number nobody can believe.
MANY_CASES = 1000

Findings = Mapping[str, tuple[Comparison, Ranking | None]]


def answer(findings: Findings) -> str:
    """The answer in two sentences: which method is best and against which that holds, then how sure it is.

    Args:
        findings: metric -> its comparison and ranking, the deciding metric first.
    """
    metric, (comparison, ranking) = next(iter(findings.items()))
    first = _picked(metric, comparison) if comparison.picked else _against(metric, comparison)
    clauses = [_next_metrics(findings), _stability(metric, comparison, ranking), _needed(metric, comparison)]
    second = "; ".join(clause for clause in clauses if clause)
    return f"{first}. {second[0].upper()}{second[1:]}." if second else f"{first}."


def verdict_words(pair: Pair) -> str:
    """A pair's verdict, and what an undecided one needs."""
    if pair.verdict != "undecided":
        return pair.verdict
    return f"undecided: needs {_about(pair.more_cases)}{_count(pair.more_cases)} more cases"


def margin_words(metric: str, comparison: Comparison) -> str:
    """The margin of equivalence in its unit."""
    margin = METRICS[metric].scale * (comparison.margin or 0)
    points = "percentage point" if margin == 1 else "percentage points"
    return f"{margin:g} {points if METRICS[metric].unit == '%' else METRICS[metric].unit}"


def caution(pair: Pair) -> str | None:
    """What a verdict of better or worse does not say by itself, if anything."""
    if pair.verdict not in ("better", "worse"):
        return None
    if pair.mean * pair.effect < 0:
        return "so in most cases, but not on average: a few cases differ much the other way"
    if pair.training_may_explain:
        return (
            "the folds differ more than their cases explain, and by more than the difference itself: "
            "training again may change the verdict"
        )
    return None


def _picked(metric: str, comparison: Comparison) -> str:
    level = comparison.levels[comparison.reference]
    first = (
        f"By {METRICS[metric].title}, {comparison.reference} has the best mean over {level.cases} cases "
        f"({_value(metric, level.mean)})"
    )
    worse, better = _with(comparison, "worse"), _with(comparison, "better")
    parts = [f"it is better than {_names(worse, comparison)}" if worse else "it is shown to be better than none"]
    if better:
        parts.append(f"most cases are better with {_names(better, comparison)}")
    return f"{first}: {'; '.join([*parts, *_open(metric, comparison), *_luck(comparison)])}"


def _against(metric: str, comparison: Comparison) -> str:
    level = comparison.levels[comparison.reference]
    first = (
        f"By {METRICS[metric].title}, against {comparison.reference} "
        f"({_value(metric, level.mean)}, {level.cases} cases)"
    )
    decided = [
        f"{_names(found, comparison)} {'is' if len(found) == 1 else 'are'} {verdict}"
        for verdict in ("better", "worse")
        if (found := _with(comparison, verdict))
    ]
    rest = [*_open(metric, comparison), *_luck(comparison)]
    return f"{first}: {'; '.join([*(decided or ['none is better or worse']), *rest])}"


def _luck(comparison: Comparison) -> list[str]:
    decided = _with(comparison, "better") + _with(comparison, "worse")
    found = [method for method in decided if comparison.pairs[method].training_may_explain]
    return [f"with {_names(found, comparison)} the luck of training may be the reason"] if found else []


def _open(metric: str, comparison: Comparison) -> list[str]:
    parts = []
    if equivalent := _with(comparison, "equivalent"):
        be = "is" if len(equivalent) == 1 else "are"
        margin = margin_words(metric, comparison)
        parts.append(f"{_names(equivalent, comparison)} {be} equivalent to it within {margin}")
    if undecided := _with(comparison, "undecided"):
        be = "is" if len(undecided) == 1 else "are"
        parts.append(f"{_names(undecided, comparison)} {be} undecided")
    return parts


def _next_metrics(findings: Findings) -> str:
    """What the later metrics, in their order, say of the methods that the earlier ones left open."""
    (first, (comparison, _)), *later = findings.items()
    left = _with(comparison, "undecided") + _with(comparison, "equivalent")
    parts = []
    for metric, (comparison, _) in later:
        found = [
            f"{_join(named)} {verdict}"
            for verdict in ("better", "worse")
            if (named := [method for method in left if comparison.pairs[method].verdict == verdict])
        ]
        left = [method for method in left if comparison.pairs[method].verdict in ("undecided", "equivalent")]
        if found:
            parts.append(f"{METRICS[metric].title} finds {' and '.join(found)}")
    if not parts:
        return ""
    return f"where {METRICS[first].title} leaves it open, {', then '.join(parts)}"


def _stability(metric: str, comparison: Comparison, ranking: Ranking | None) -> str:
    if ranking is None:
        return ""
    if comparison.picked:
        first = name = comparison.reference
    else:
        first = max(ranking.chances, key=lambda method: ranking.chances[method][0])
        name = f"{first} ({_value(metric, comparison.levels[first].mean)})"
    share = 100 * ranking.chances[first][0]
    return f"with these networks and the cases drawn again, {name} comes first in {share:.0f} % of draws"


def _needed(metric: str, comparison: Comparison) -> str:
    needs = [comparison.pairs[method].more_cases for method in _with(comparison, "undecided")]
    if not needs:
        return ""
    low, high = _count(min(needs)), _count(max(needs))
    span = low if low == high else f"{low} to {high}"
    return f"what is undecided by {METRICS[metric].title} needs {_about(min(needs))}{span} more cases"


def _with(comparison: Comparison, verdict: Verdict) -> list[str]:
    return [method for method, pair in comparison.pairs.items() if pair.verdict == verdict]


def _names(methods: Sequence[str], comparison: Comparison) -> str:
    others = len(comparison.pairs)
    if len(methods) == others > 1:
        return "both others" if others == 2 else f"all {others} others"
    return _join(methods) if len(methods) <= 4 else f"{len(methods)} of the {others} others"


def _join(methods: Sequence[str]) -> str:
    *head, last = methods
    return f"{', '.join(head)} and {last}" if head else last


def _value(metric: str, value: float) -> str:
    return f"{METRICS[metric].scale * value:.2f} {METRICS[metric].unit}"


def _about(cases: float) -> str:
    return "" if cases > MANY_CASES else "about "


def _count(cases: float) -> str:
    """Two digits at most: more would pretend to know."""
    if cases > MANY_CASES:
        return f"more than {MANY_CASES}"
    return f"{round(cases, 1 - math.floor(math.log10(cases))):.0f}"
