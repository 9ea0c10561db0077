"""The comparison of a study as numbers alone, a line per metric and method."""

from collections.abc import Iterator, Sequence
from typing import Any

from spineloss.files import csv_text
from spineloss.results.comparison import FairEpoch, Result
from spineloss.results.ranking import group_letters

COMPARISON_COLUMNS = [
    *("metric", "epoch", "method", "reference", "mean", "std", "folds"),
    *("mean_low", "mean_high", "unit", "cases", "undefined", "missed"),
    *("difference", "difference_low", "difference_high", "median_difference", "rank_biserial"),
    *("pairs", "left_out", "p", "p_holm", "p_equivalent", "folds_agreeing", "folds_p", "verdict", "more_cases"),
    *("mean_rank", "group", "first"),
]  # fmt: skip


def comparison_csv(results: Sequence[Result], epoch: FairEpoch = "last") -> str:
    """Every number of a comparison as CSV: shares in [0, 1], distances in mm.

    Args:
        results: of `compare_study`.
        epoch: what was compared.
    """
    rows = [row for result in results for row in _rows(result, epoch)]
    return csv_text(rows, COMPARISON_COLUMNS).rstrip("\n")


def _rows(result: Result, epoch: FairEpoch) -> Iterator[dict[str, Any]]:
    comparison, ranking = result.comparison, result.ranking
    letters = {} if ranking is None else group_letters(ranking)
    for method, level in comparison.levels.items():
        summary = result.summaries[method]
        row = {
            "metric": result.metric,
            "epoch": epoch,
            "method": method,
            "reference": comparison.reference,
            "mean": summary.mean,
            "std": summary.std,
            "folds": summary.folds,
            "mean_low": level.interval.low,
            "mean_high": level.interval.high,
            "unit": comparison.unit,
            "cases": level.cases,
            "undefined": level.undefined,
            "missed": level.missed,
        }
        if contrast := comparison.contrasts.get(method):
            row |= {
                "difference": contrast.mean,
                "difference_low": contrast.interval.low,
                "difference_high": contrast.interval.high,
                "median_difference": contrast.median,
                "rank_biserial": contrast.effect,
                "pairs": contrast.cases,
                "left_out": contrast.left_out,
                "p": contrast.p,
                "p_holm": contrast.p_holm,
                "p_equivalent": contrast.p_equivalent,
                "folds_agreeing": contrast.agreeing_folds,
                "folds_p": contrast.folds_p,
                "verdict": contrast.verdict,
                "more_cases": contrast.more_cases,
            }
        if ranking is not None and method in ranking.mean_ranks:
            row |= {
                "mean_rank": ranking.mean_ranks[method],
                "group": letters[method],
                "first": ranking.chances[method][0],
            }
        yield row
