"""The answer of a comparison in words."""

import math
from collections.abc import Sequence

from spineloss.metrics import METRICS
from spineloss.results.comparison import Result
from spineloss.results.convergence import Convergence
from spineloss.results.score_text import interval, number, points, probability, score_with_unit
from spineloss.results.statistics import Comparison, Contrast, Pick, Verdict

# Beyond this, "about n more cases" would be a number nobody can believe.
MANY_CASES = 1000


def answer(results: Sequence[Result]) -> str:
    """The answer in two sentences, as `answer_sentences` has them."""
    return " ".join(answer_sentences(results))


def answer_sentences(results: Sequence[Result]) -> list[str]:
    """The answer in two sentences: which method is best and against which that holds, then how sure it is.

    Where training had not converged, a sentence before them says so, and that there is no winner yet.

    Args:
        results: of `compare_study`, the deciding metric first.
    """
    result, metric, comparison = results[0], results[0].metric, results[0].comparison
    first = _picked(metric, comparison, result.pick) if result.pick else _against(metric, comparison)
    clauses = [_next_metrics(results), _stability(result), _order(result), _needed(metric, comparison)]
    doubt = convergence_words(result.convergence)
    if result.convergence is not None and not result.convergence.settled:
        sentences = [f"no winner yet: {doubt}", f"so far, {first[0].lower()}{first[1:]}"]
    else:
        sentences, clauses = [first], [*clauses, doubt]
    second = "; ".join(clause for clause in clauses if clause)
    return [_sentence(words) for words in [*sentences, second] if words]


def curves_in_words(convergence: Convergence) -> list[str]:
    """The line below a table: there is no winner yet, or which curves may still rise; none where all are flat."""
    doubt = convergence_words(convergence)
    early = len(convergence.trends) > 1 and not convergence.settled
    return [_sentence(f"no winner yet: {doubt}" if early else doubt)] if doubt else []


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def convergence_words(convergence: Convergence | None) -> str:
    """Which curves still rose, crossed, or cannot be judged; nothing where all were flat."""
    if convergence is None:
        return ""
    metric, trends = convergence.metric, convergence.trends
    if len(convergence.methods("unknown")) == len(trends):
        return "whether training had converged is unknown, with too few validations in its last third"
    parts = []
    if rising := convergence.methods("rising"):
        gains = [trends[method].gain for method in rising]
        parts.append(
            f"{_some(rising, len(trends))} {_was(rising)} still getting better when training ended "
            f"({_span(gains, METRICS[metric].scale)} {points(metric)} of {METRICS[metric].title} over its last "
            "third)"
        )
    if convergence.crossing:
        leader, others = convergence.crossing[0][0], [other for _, other in convergence.crossing]
        parts.append(f"the order of {leader} and {_some(others, len(trends))} may still change")
    if unclear := convergence.methods("unclear", "unknown"):
        parts.append(f"whether {_some(unclear, len(trends))} had converged is unclear")
    return "; ".join(parts)


def _was(methods: Sequence[str]) -> str:
    return "was" if len(methods) == 1 else "were"


def _be(methods: Sequence[str]) -> str:
    return "is" if len(methods) == 1 else "are"


def _some(methods: Sequence[str], all_methods: int) -> str:
    if len(methods) == all_methods > 1:
        return "both methods" if all_methods == 2 else f"all {all_methods} methods"
    return _join(methods) if len(methods) <= 4 else f"{len(methods)} of {all_methods} methods"


def _span(gains: Sequence[float], scale: float) -> str:
    if len(gains) > 4:
        return interval(min(gains), max(gains), scale, signed=True)
    return _join([number(gain, scale, signed=True) for gain in gains])


def verdict_words(contrast: Contrast, unit: str = "cases") -> str:
    """A contrast's verdict, and what an undecided one needs."""
    if contrast.verdict != "undecided":
        return contrast.verdict
    return f"undecided: needs {_about(contrast.more_cases)}{_count(contrast.more_cases)} more {unit}"


def margin_words(metric: str, comparison: Comparison) -> str:
    """The margin of equivalence in its unit."""
    margin = METRICS[metric].scale * (comparison.margin or 0)
    points = "percentage point" if margin == 1 else "percentage points"
    return f"{margin:g} {points if METRICS[metric].unit == '%' else METRICS[metric].unit}"


def margins_words(results: Sequence[Result]) -> str:
    """Each metric's margin of equivalence; nothing where there is none."""
    margins = [
        f"±{margin_words(result.metric, result.comparison)} of {METRICS[result.metric].title}"
        for result in results
        if result.comparison.margin
    ]
    return _join(margins) if margins else ""


def caution(contrast: Contrast) -> str | None:
    """What a verdict of better or worse does not say by itself, if anything."""
    if contrast.verdict not in ("better", "worse"):
        return None
    if contrast.mean * contrast.effect < 0 and contrast.missed:
        return "because of missed structures: over the cases where both found them, the mean has the other sign"
    if contrast.mean * contrast.effect < 0:
        return "by rank, but not on average: some cases differ strongly in the other direction"
    if contrast.training_may_explain:
        return (
            "the folds differ more than their cases explain, and by more than the difference itself: "
            "training again may change the verdict"
        )
    return None


def _picked(metric: str, comparison: Comparison, pick: Pick) -> str:
    level = comparison.levels[comparison.reference]
    cases = f"{pick.cases} {comparison.unit}"
    if (level.mean, level.cases) != (pick.mean, pick.cases):
        cases = f"the {cases} that every ranked method has"
    first = (
        f"By {METRICS[metric].title}, {comparison.reference} has the best mean over {cases} "
        f"({score_with_unit(metric, pick.mean)})"
    )
    worse, better = _with(comparison, "worse"), _with(comparison, "better")
    parts = [
        f"it is better than {_names(worse, comparison)}" if worse else "no other method is significantly worse"
    ]
    if better:
        parts.append(f"by rank, {_names(better, comparison)} {_be(better)} better")
    return f"{first}: {'; '.join([*parts, *_open(metric, comparison), *_missed(comparison), *_luck(comparison)])}"


def _against(metric: str, comparison: Comparison) -> str:
    level = comparison.levels[comparison.reference]
    first = (
        f"By {METRICS[metric].title}, against {comparison.reference} "
        f"({score_with_unit(metric, level.mean)}, {level.cases} {comparison.unit})"
    )
    decided = [
        f"{_names(found, comparison)} {_be(found)} {verdict}"
        for verdict in ("better", "worse")
        if (found := _with(comparison, verdict))
    ]
    rest = [*_open(metric, comparison), *_missed(comparison), *_luck(comparison)]
    return f"{first}: {'; '.join([*(decided or ['none is better or worse']), *rest])}"


def _missed(comparison: Comparison) -> list[str]:
    """Who missed structures, which counts as worst."""
    missed = {method: level.missed for method, level in comparison.levels.items() if level.missed}
    if not missed:
        return []
    if len(missed) > 4:
        return [f"{len(missed)} methods missed structures, which counts as worst"]
    told = ", ".join(f"{method} in {count}" for method, count in missed.items())
    return [f"structures were missed, which counts as worst: {told} of the {comparison.unit}"]


def _luck(comparison: Comparison) -> list[str]:
    decided = _with(comparison, "better") + _with(comparison, "worse")
    found = [method for method in decided if comparison.contrasts[method].training_may_explain]
    return [f"with {_names(found, comparison)} the luck of training may be the reason"] if found else []


def _open(metric: str, comparison: Comparison) -> list[str]:
    parts = []
    if equivalent := _with(comparison, "equivalent"):
        margin = margin_words(metric, comparison)
        parts.append(f"{_names(equivalent, comparison)} {_be(equivalent)} equivalent to it within {margin}")
    if undecided := _with(comparison, "undecided"):
        parts.append(f"{_names(undecided, comparison)} {_be(undecided)} undecided")
    return parts


def _next_metrics(results: Sequence[Result]) -> str:
    """What the later metrics, in their order, say of the methods that the earlier ones left open."""
    first, *later = results
    left = _with(first.comparison, "undecided") + _with(first.comparison, "equivalent")
    parts = []
    for result in later:
        comparison = result.comparison
        found = [
            f"{_join(named)} {verdict}"
            for verdict in ("better", "worse")
            if (named := [method for method in left if comparison.contrasts[method].verdict == verdict])
        ]
        left = [method for method in left if comparison.contrasts[method].verdict in ("undecided", "equivalent")]
        if found:
            parts.append(f"{METRICS[result.metric].title} finds {' and '.join(found)}")
    if not parts:
        return ""
    return f"where {METRICS[first.metric].title} leaves it open, {', then '.join(parts)}"


def _stability(result: Result) -> str:
    """How often the best method comes first when cases are drawn again, and what it is worth on the others."""
    metric, comparison, ranking = result.metric, result.comparison, result.ranking
    if ranking is None:
        return ""
    if comparison.picked:
        first = name = comparison.reference
    else:
        first = max(ranking.chances, key=lambda method: ranking.chances[method][0])
        name = f"{first} ({score_with_unit(metric, comparison.levels[first].mean)})"
    share = f"{100 * ranking.chances[first][0]:.0f} %"
    text = f"with these networks and the {comparison.unit} drawn again, {name} comes first in {share} of draws"
    if not comparison.picked or result.selection is None:
        return text
    return f"{text}, and the first scores {score_with_unit(metric, result.selection.expected)} on those not drawn"


def _order(result: Result) -> str:
    """How likely the order of the best method and the next is false."""
    rows = [result.summaries[method] for method in result.spreads]
    means = {row.method: row.mean for row in rows if row.whole}
    if not result.comparison.picked or not means:
        return ""
    sign = 1 if METRICS[result.metric].higher_is_better else -1
    following = max(means, key=lambda method: sign * means[method])
    spread = result.spreads[following]
    # On the cases that both have, it may be ahead.
    chance = probability(spread.p_false if sign * spread.mean < 0 else 1 - spread.p_false)
    return f"counting the luck of training, {following} is truly better with a probability of {chance}"


def _needed(metric: str, comparison: Comparison) -> str:
    needs = [comparison.contrasts[method].more_cases for method in _with(comparison, "undecided")]
    if not needs:
        return ""
    low, high = _count(min(needs)), _count(max(needs))
    span = low if low == high else f"{low} to {high}"
    return f"what is undecided by {METRICS[metric].title} needs {_about(min(needs))}{span} more {comparison.unit}"


def _with(comparison: Comparison, verdict: Verdict) -> list[str]:
    return [method for method, pair in comparison.contrasts.items() if pair.verdict == verdict]


def _names(methods: Sequence[str], comparison: Comparison) -> str:
    others = len(comparison.contrasts)
    if len(methods) == others > 1:
        return "both others" if others == 2 else f"all {others} others"
    return _join(methods) if len(methods) <= 4 else f"{len(methods)} of the {others} others"


def _join(methods: Sequence[str]) -> str:
    *head, last = methods
    return f"{', '.join(head)} and {last}" if head else last


def _about(cases: float) -> str:
    return "" if cases > MANY_CASES else "about "


def _count(cases: float) -> str:
    """Two digits at most: more would pretend to know."""
    if cases > MANY_CASES:
        return f"more than {MANY_CASES}"
    return f"{round(cases, 1 - math.floor(math.log10(cases))):.0f}"
