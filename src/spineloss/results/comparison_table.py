"""The comparison of a study to read: the answer, the tables, how to read them."""

import math
from collections import defaultdict
from collections.abc import Sequence

from spineloss.metrics import METRICS
from spineloss.results.comparison import FairEpoch, Result
from spineloss.results.comparison_export import comparison_csv
from spineloss.results.convergence import Convergence
from spineloss.results.ranking import Ranking, group_letters
from spineloss.results.score_text import (
    interval,
    number,
    percent,
    points,
    probability,
    score,
    score_with_unit,
    with_noise,
)
from spineloss.results.sentences import answer, caution, margins_words, verdict_words
from spineloss.results.statistics import Comparison, Contrast
from spineloss.results.table import EPOCH_TITLES, best_rows
from spineloss.results.text_table import (
    Cell,
    Format,
    TextTable,
    bullets,
    escape,
    lay_out,
    refuse_unknown_format,
)

FEW_CASES, VERY_FEW_CASES = 50, 15


def comparison_text(results: Sequence[Result], format: Format = "text", *, epoch: FairEpoch = "last") -> str:
    """The answer in two sentences, then for each metric the comparison and the ranking, then how to read them.

    Args:
        results: of `compare_study`.
        format: `text`, `markdown`, `latex`, or `csv` (a line per metric and method, all numbers, no sentences).
        epoch: what was compared, for the titles.

    Raises:
        UserError: an unknown format.
    """
    refuse_unknown_format(format)
    if format == "csv":
        return comparison_csv(results, epoch)
    parts = [escape(answer(results), format)]
    for result in results:
        parts += [lay_out(table, format) for table in comparison_tables(result, epoch)]
    return "\n\n".join([*parts, "How to read it:", bullets(how_to_read(results), format)])


def comparison_tables(result: Result, epoch: FairEpoch = "last", convergence: bool = True) -> list[TextTable]:
    """The comparison of a metric; where known, whether training had converged, what varies, and the ranking."""
    tables = [_comparison_table(result, epoch)]
    if convergence and result.convergence is not None:
        tables.append(convergence_table(result.convergence))
    if result.spreads:
        tables.append(_spread_table(result))
    if result.ranking is not None:
        tables.append(_ranking_table(result, result.ranking))
    return tables


def _comparison_table(result: Result, epoch: FairEpoch) -> TextTable:
    metric, comparison = METRICS[result.metric], result.comparison
    head = ["Method", f"{metric.title} ({metric.unit})", "95 % CI", f"Difference ({points(result.metric)})"]
    head += ["95 % CI", "Median", "Effect", "p", *(["p equiv."] if comparison.margin else []), "Folds", "Verdict"]
    best = best_rows(list(result.summaries.values()))
    lines = []
    for method, level in comparison.levels.items():
        summary = result.summaries[method]
        alone = [
            Cell(method + ("†" if level.undefined else "")),
            Cell(score(result.metric, summary.mean, summary.std), summary in best),
            Cell(interval(level.interval.low, level.interval.high, metric.scale)),
        ]
        if method == comparison.reference:
            paired = [""] * (len(head) - len(alone) - 1) + ["reference"]
        else:
            paired = _contrast_cells(comparison.contrasts[method], metric.scale, comparison.unit)
        lines.append([*alone, *map(Cell, paired)])
    title = f"{metric.title}, {EPOCH_TITLES[epoch]}: each method against {comparison.reference}, case by case"
    return TextTable(title, head, lines, [*_notes(comparison), *_fewer_notes(result)])


def _contrast_cells(contrast: Contrast, scale: float, unit: str) -> list[str]:
    return [
        number(contrast.mean, scale, signed=True),
        interval(contrast.interval.low, contrast.interval.high, scale, signed=True),
        number(contrast.median, scale, signed=True),
        number(contrast.effect, signed=True),
        probability(contrast.p_holm),
        *([] if contrast.p_equivalent is None else [probability(contrast.p_equivalent)]),
        f"{contrast.agreeing_folds}/{len(contrast.fold_means)}",
        verdict_words(contrast, unit) + ("‡" if caution(contrast) else ""),
    ]


def _notes(comparison: Comparison) -> list[str]:
    """What is particular to some methods: cases left out, and verdicts that need a caution."""
    unit, notes = comparison.unit, []
    for method, level in comparison.levels.items():
        if level.missed:
            notes.append(
                f"† {method} missed a structure in {level.missed} {unit}, which count as its worst by rank; "
                "its mean leaves them out, and is not compared"
            )
        if level.undefined > level.missed:
            notes.append(f"† {method}: {level.undefined - level.missed} {unit} undefined and left out")
    partial = defaultdict(list)
    for method, contrast in comparison.contrasts.items():
        if contrast.left_out:
            partial[contrast.cases, contrast.cases + contrast.left_out].append(method)
    for (cases, all_cases), methods in partial.items():
        notes.append(f"Compared on the {cases} of {all_cases} {unit} with both values: {', '.join(methods)}")
    cautions = defaultdict(list)
    for method, contrast in comparison.contrasts.items():
        if words := caution(contrast):
            cautions[words].append(method)
    return notes + [f"‡ {', '.join(methods)}: {words}" for words, methods in cautions.items()]


def _fewer_notes(result: Result) -> list[str]:
    """Whose mean is without a training that another method has."""
    rows = [result.summaries[method] for method in result.comparison.levels]
    if not any(row.whole for row in rows):
        return ["No method has the trainings of all others, so no mean is marked: their cases are not the same"]
    most = max(row.runs for row in rows)
    fewer = ", ".join(f"{row.method} ({row.runs} of {most})" for row in rows if not row.whole)
    return [f"Fewer trainings, so neither best nor ranked: {fewer}"] if fewer else []


def convergence_table(convergence: Convergence) -> TextTable:
    """What each method's curve still did over the last third of the epochs."""
    metric = METRICS[convergence.metric]
    head = ["Method", "Curve", f"Gain ({points(convergence.metric)})", "95 % reached", "Loss's fall (%)"]
    lines = [
        [
            Cell(method),
            Cell(trend.state),
            Cell(with_noise(trend.gain, trend.noise, metric.scale, signed=True)),
            Cell(f"epoch {trend.soon}" if trend.soon else "undefined"),
            Cell(with_noise(trend.loss_share, trend.loss_noise, 100)),
        ]
        for method, trend in convergence.trends.items()
    ]
    swapped, pairs = convergence.swapped
    notes = [f"Of {pairs} pairs of methods, {swapped} changed their order over the last third"] if pairs else []
    notes += [
        f"By their slopes {leader} and {other} change places in the last third or within another one"
        for leader, other in convergence.crossing
    ]
    title = f"{metric.title} over the last third of {convergence.epochs} epochs: had training converged?"
    return TextTable(title, head, lines, notes)


def _spread_table(result: Result) -> TextTable:
    metric, unit = METRICS[result.metric], result.comparison.unit
    head = ["Method", f"Of {unit} ({points(result.metric)})", "Of trainings", "Error", "Order false"]
    lines = [
        [
            Cell(method),
            Cell(number(spread.cases, metric.scale)),
            Cell("unknown" if math.isnan(spread.trainings) else number(spread.trainings, metric.scale)),
            Cell(number(spread.error, metric.scale)),
            Cell(probability(spread.p_false)),
        ]
        for method, spread in result.spreads.items()
    ]
    title = f"{metric.title}: what the difference from {result.comparison.reference} varies with"
    return TextTable(title, head, lines, _selection_notes(result))


def _selection_notes(result: Result) -> list[str]:
    if result.selection is None:
        return []
    metric, selection = result.metric, result.selection
    shares = sorted(selection.chosen.items(), key=lambda item: -item[1])
    named = ", ".join(f"{method} {percent(share)}" for method, share in shares[:4] if percent(share))
    return [
        f"The best mean over shared cases is {score_with_unit(metric, selection.observed)}; of the method chosen "
        f"on cases drawn again, on those not drawn, {score_with_unit(metric, selection.expected)}. Chosen: {named}"
    ]


def _ranking_table(result: Result, ranking: Ranking) -> TextTable:
    head = ["Method", "Mean rank", "Group", *(f"Rank {place}" for place in range(1, len(ranking.mean_ranks) + 1))]
    letters, unit = group_letters(ranking), result.comparison.unit
    lines = [
        [
            Cell(method),
            Cell(f"{mean:.2f}"),
            Cell(letters[method]),
            *(Cell(percent(share)) for share in ranking.chances[method]),
        ]
        for method, mean in ranking.mean_ranks.items()
    ]
    note = (
        f"Over {ranking.cases} {unit}; the critical difference of mean ranks is {ranking.critical_difference:.2f}"
    )
    if not math.isnan(ranking.friedman_p):
        note += f", p of the Friedman test {probability(ranking.friedman_p)}"
    if ranking.left_out:
        note += f"; {ranking.left_out} {unit} without a value of every method are left out"
    return TextTable(f"{METRICS[result.metric].title}: ranking", head, lines, [note])


def _short_intervals(result: Result) -> list[str]:
    """How far the intervals of few cases can be believed: those of a method that a race dropped are no measure."""
    whole = any(row.whole for row in result.summaries.values())
    levels = [
        level
        for method, level in result.comparison.levels.items()
        if not math.isnan(level.interval.low) and result.summaries[method].whole == whole
    ]
    fewest, unit = min((level.cases for level in levels), default=FEW_CASES), result.comparison.unit
    if fewest < VERY_FEW_CASES:
        return [
            f"With {fewest} {unit} the intervals of the mean are much too short: with 5 they hold the true mean "
            "in 79 to 86 of 100 studies, with 3 in 66 to 76, not in 95."
        ]
    if fewest < FEW_CASES:
        return [
            f"With {fewest} {unit} the intervals of the mean are a little too short: with {VERY_FEW_CASES} to "
            f"{FEW_CASES} they hold the true mean in 87 to 94 of 100 studies, not in 95."
        ]
    return []


def how_to_read(results: Sequence[Result]) -> list[str]:
    """A line on each number of the tables."""
    decisive = results[0]
    comparison, others = decisive.comparison, len(decisive.comparison.contrasts)
    family = f"the {others} comparisons with the reference"
    if comparison.picked:
        family = (
            f"all {others * (others + 1) // 2} pairs of methods, because the reference was picked as the best by "
            f"{METRICS[decisive.metric].title} on these {comparison.unit}"
        )
    uncorrected = ", not corrected for the picking of the reference" if comparison.picked else ""
    lines = [
        "Mean ± standard deviation over folds. 95 % CI: of the mean over cases, bootstrap (BCa), not corrected "
        "for the number of methods.",
        "Difference: mean over cases of method − reference. Median: of the same differences.",
        "Effect: rank-biserial correlation, +1 if every case that differs is above the reference's, −1 if "
        "every one is below.",
        f"p: paired Wilcoxon signed-rank test, Holm-corrected over {family}; within each metric, not across them.",
        "Folds: in how many the mean difference points the same way as over all cases.",
        "Verdict: by p, at 5 %. More cases: for 80 % power, if the differences seen here are the true ones.",
        "Curve: rising if the gain over the last third is above its noise and 1 % of the final level; flat if it "
        "is surely below that. Gain: ± its standard error. Loss's fall: the last third's part of the training "
        "loss's.",
        "Of cases, of trainings: standard deviation of the difference. Error: of its mean, with both. "
        f"Order false: the probability that the true mean difference has the other sign{uncorrected}.",
    ]
    lines += _short_intervals(decisive)
    if margins := margins_words(results):
        lines.append(
            f"p equiv.: two one-sided Wilcoxon tests, corrected likewise; equivalent means within {margins}, "
            "and goes before better or worse."
        )
    return [
        *lines,
        "Group: methods that share a letter do not differ significantly by the Nemenyi test, which is less "
        "sensitive than p.",
        "Rank 1, 2, ...: how often the method's mean takes that rank when the cases are drawn again (bootstrap); "
        "blank below 0.5 %.",
        "All of this holds for new cases like these, segmented by the networks trained here. Training again adds "
        "a variation that the cases cannot show: where the folds differ, repeat the study with another seed "
        "before you believe a verdict.",
    ]
