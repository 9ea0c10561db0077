"""The comparison of a study as text, Markdown, CSV or LaTeX: the answer, the tables, how to read them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from string import ascii_letters
from typing import Any, NamedTuple

from spineloss.files import csv_text
from spineloss.metrics import METRICS
from spineloss.results.comparison import FairEpoch, Result
from spineloss.results.ranking import Ranking
from spineloss.results.sentences import answer, caution, margin_words, verdict_words
from spineloss.results.statistics import Comparison, Interval, Pair
from spineloss.results.table import TITLES
from spineloss.results.text_table import Cell, Format, bullets, escape, lay_out, refuse_unknown

COLUMNS = [
    *("metric", "epoch", "method", "reference", "mean", "std", "folds"),
    *("mean_low", "mean_high", "cases", "undefined"),
    *("difference", "difference_low", "difference_high", "median_difference", "rank_biserial"),
    *("pairs", "left_out", "p", "p_holm", "p_equivalent", "folds_agreeing", "folds_p", "verdict", "more_cases"),
    *("mean_rank", "group", "first"),
]  # fmt: skip


def render(results: Sequence[Result], format: Format = "text", *, epoch: FairEpoch = "last") -> str:
    """The answer in two sentences, then for each metric the comparison and the ranking, then how to read them.

    Args:
        results: of `compare_study`.
        format: `text`, `markdown`, `latex`, or `csv` (a line a metric and method, all numbers, no sentences).
        epoch: what was compared, for the titles.

    Raises:
        UserError: an unknown format.
    """
    refuse_unknown(format)
    if format == "csv":
        return csv_text([row for result in results for row in _plain(result, epoch)], COLUMNS).rstrip("\n")
    parts = [escape(answer({result.metric: (result.comparison, result.ranking) for result in results}), format)]
    for result in results:
        parts += [lay_out(*table, format) for table in tables(result, epoch)]
    return "\n\n".join([*parts, "How to read it:", bullets(how_to_read(results), format)])


class Table(NamedTuple):
    """A title, the columns' names, lines of cells, and notes below."""

    title: str
    head: list[str]
    lines: list[list[Cell]]
    notes: list[str]


def tables(result: Result, epoch: FairEpoch = "last") -> list[Table]:
    """The comparison of a metric, and the ranking where there is one."""
    ranking = [] if result.ranking is None else [_ranking_table(result, result.ranking)]
    return [_comparison_table(result, epoch), *ranking]


def _comparison_table(result: Result, epoch: FairEpoch) -> Table:
    metric, comparison = METRICS[result.metric], result.comparison
    points = "points" if metric.unit == "%" else metric.unit
    head = ["Method", f"{metric.title} ({metric.unit})", "95 % CI", f"Difference ({points})", "95 % CI", "Median"]
    head += ["Effect", "p", *(["p equiv."] if comparison.margin else []), "Folds", "Verdict"]
    means = [row.mean for row in result.rows.values() if not math.isnan(row.mean)]
    top = (max if metric.higher_is_better else min)(means, default=None)
    lines = []
    for method, level in comparison.levels.items():
        row = result.rows[method]
        mean = f"{_number(row.mean, metric.scale)} ± {_number(row.std, metric.scale)}"
        alone = [
            Cell(method + ("†" if level.undefined else "")),
            Cell(mean, row.mean == top),
            Cell(_interval(level.interval, metric.scale)),
        ]
        if method == comparison.reference:
            paired = [""] * (len(head) - len(alone) - 1) + ["reference"]
        else:
            paired = _pair_cells(comparison.pairs[method], metric.scale)
        lines.append([*alone, *map(Cell, paired)])
    title = f"{metric.title}, {TITLES[epoch]}: each method against {comparison.reference}, case by case"
    return Table(title, head, lines, _notes(comparison))


def _pair_cells(pair: Pair, scale: float) -> list[str]:
    return [
        _number(pair.mean, scale, sign="+"),
        _interval(pair.interval, scale, sign="+"),
        _number(pair.median, scale, sign="+"),
        _number(pair.effect, sign="+"),
        _p(pair.p_holm),
        *([] if pair.p_equivalent is None else [_p(pair.p_equivalent)]),
        f"{pair.agreeing_folds}/{len(pair.fold_means)}",
        verdict_words(pair) + ("‡" if caution(pair) else ""),
    ]


def _notes(comparison: Comparison) -> list[str]:
    """What is particular to some methods: cases left out, and verdicts that need a caution."""
    notes = [
        f"† {method}: {level.undefined} case(s) undefined and left out, which flatters it"
        for method, level in comparison.levels.items()
        if level.undefined
    ]
    partial = defaultdict(list)
    for method, pair in comparison.pairs.items():
        if pair.left_out:
            partial[pair.cases, pair.cases + pair.left_out].append(method)
    for (cases, all_cases), methods in partial.items():
        notes.append(f"Compared on the {cases} of {all_cases} cases with both values: {', '.join(methods)}")
    cautions = defaultdict(list)
    for method, pair in comparison.pairs.items():
        if words := caution(pair):
            cautions[words].append(method)
    return notes + [f"‡ {', '.join(methods)}: {words}" for words, methods in cautions.items()]


def _ranking_table(result: Result, ranking: Ranking) -> Table:
    head = ["Method", "Mean rank", "Group", *(f"Rank {place}" for place in range(1, len(ranking.mean_ranks) + 1))]
    letters = _letters(ranking)
    lines = [
        [
            Cell(method),
            Cell(f"{mean:.2f}"),
            Cell(letters[method]),
            *map(Cell, map(_share, ranking.chances[method])),
        ]
        for method, mean in ranking.mean_ranks.items()
    ]
    note = (
        f"Over {ranking.cases} cases; the critical difference of mean ranks is {ranking.critical_difference:.2f}"
    )
    if not math.isnan(ranking.friedman_p):
        note += f", p of the Friedman test {_p(ranking.friedman_p)}"
    if ranking.left_out:
        note += f"; {ranking.left_out} cases without a value of every method are left out"
    return Table(f"{METRICS[result.metric].title}: ranking", head, lines, [note])


def how_to_read(results: Sequence[Result]) -> list[str]:
    """A line on each number of the tables."""
    decisive = results[0]
    comparison, others = decisive.comparison, len(decisive.comparison.pairs)
    family = f"the {others} comparisons with the reference"
    if comparison.picked:
        family = (
            f"all {others * (others + 1) // 2} pairs of methods, because the reference was picked as the best by "
            f"{METRICS[decisive.metric].title} on these cases"
        )
    lines = [
        "Mean ± standard deviation over folds. 95 % CI: of the mean over cases, bootstrap (BCa), each for itself.",
        "Difference: mean over cases of method − reference. Median: of the same differences.",
        "Effect: rank-biserial correlation, +1 if every case is above the reference's, −1 if every one is below.",
        f"p: paired Wilcoxon signed-rank test, Holm-corrected over {family}; within each metric, not across them.",
        "Folds: in how many the mean difference points the same way as over all cases.",
        "Verdict: by p, at 5 %. More cases: for 80 % power, if the differences seen here are the true ones.",
    ]
    if comparison.margin:
        margins = " and ±".join(margin_words(result.metric, result.comparison) for result in results)
        lines.append(
            f"p equiv.: two one-sided Wilcoxon tests, corrected likewise; equivalent means within ±{margins}, "
            "and goes before better or worse."
        )
    return [
        *lines,
        "Group: methods that share a letter are not told apart by the Nemenyi test, which is coarser than p.",
        "Rank 1, 2, ...: how often the method's mean takes that rank when the cases are drawn again (bootstrap); "
        "blank below 0.5 %.",
        "All of this speaks of other cases like these, segmented by the networks trained here. Training again "
        "adds a spread of its own, which cases cannot show: where the folds differ, repeat the study with "
        "another seed before you believe a verdict.",
    ]


def _letters(ranking: Ranking) -> dict[str, str]:
    return {
        method: "".join(
            letter for letter, group in zip(ascii_letters, ranking.groups, strict=False) if method in group
        )
        for method in ranking.mean_ranks
    }


def _plain(result: Result, epoch: FairEpoch) -> Iterable[dict[str, Any]]:
    comparison, ranking = result.comparison, result.ranking
    letters = {} if ranking is None else _letters(ranking)
    for method, level in comparison.levels.items():
        row = result.rows[method]
        plain = {
            "metric": result.metric,
            "epoch": epoch,
            "method": method,
            "reference": comparison.reference,
            "mean": row.mean,
            "std": row.std,
            "folds": row.folds,
            "mean_low": level.interval.low,
            "mean_high": level.interval.high,
            "cases": level.cases,
            "undefined": level.undefined,
        }
        if pair := comparison.pairs.get(method):
            plain |= {
                "difference": pair.mean,
                "difference_low": pair.interval.low,
                "difference_high": pair.interval.high,
                "median_difference": pair.median,
                "rank_biserial": pair.effect,
                "pairs": pair.cases,
                "left_out": pair.left_out,
                "p": pair.p,
                "p_holm": pair.p_holm,
                "p_equivalent": pair.p_equivalent,
                "folds_agreeing": pair.agreeing_folds,
                "folds_p": pair.folds_p,
                "verdict": pair.verdict,
                "more_cases": pair.more_cases,
            }
        if ranking is not None and method in ranking.mean_ranks:
            plain |= {
                "mean_rank": ranking.mean_ranks[method],
                "group": letters[method],
                "first": ranking.chances[method][0],
            }
        yield plain


def _number(value: float, scale: float = 1, sign: str = "-") -> str:
    return "undefined" if math.isnan(value) else f"{scale * value:{sign}.2f}".replace("-", "−")


def _interval(interval: Interval, scale: float, sign: str = "-") -> str:
    if math.isnan(interval.low):
        return "undefined"
    return f"{_number(interval.low, scale, sign)} to {_number(interval.high, scale, sign)}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.005 else ""
