"""The comparison of a study as numbers alone: a line per metric and method, or one per case for challengeR."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from spineloss.files import csv_text
from spineloss.results.comparison import FairEpoch, Result
from spineloss.results.ranking import group_letters
from spineloss.results.records import Record, case_values, whole_methods
from spineloss.results.statistics import shared_cases

COMPARISON_COLUMNS = [
    *("metric", "epoch", "method", "reference", "mean", "std", "folds"),
    *("mean_low", "mean_high", "unit", "cases", "undefined", "missed"),
    *("difference", "difference_low", "difference_high", "median_difference", "rank_biserial"),
    *("pairs", "left_out", "p", "p_holm", "p_equivalent", "folds_agreeing", "folds_p", "verdict", "more_cases"),
    *("cases_std", "trainings_std", "error", "freedom", "order_false", "mean_rank", "group", "first"),
    *("chosen", "curve", "gain", "gain_noise", "reached", "loss_share", "loss_share_noise"),
]  # fmt: skip


def comparison_csv(results: Sequence[Result], epoch: FairEpoch = "last") -> str:
    """Every number of a comparison as CSV: shares in [0, 1], distances in mm.

    Args:
        results: of `compare_study`.
        epoch: what was compared.
    """
    rows = [row for result in results for row in _rows(result, epoch)]
    return csv_text(rows, COMPARISON_COLUMNS).rstrip("\n")


def challenger_csv(records: Sequence[Record], metrics: Sequence[str], epoch: FairEpoch = "last") -> str:
    """The values of every case as challengeR reads them: a task per metric, `NA` where a structure was missed.

    As for the ranking, a case is left out where any method has no value, and a method that lacks a training of
    another. In R: `as.challenge(subset(read.csv(file), task == "hd95"), case = "case", algorithm = "algorithm",
    value = "value", smallBetter = TRUE, na.treat = 1000)`, so that a missed structure is the worst there, too;
    where higher is better, `smallBetter = FALSE, na.treat = 0`.

    Args:
        records: of `read_records`; cases of a patient are averaged, as for every statistic.
        metrics: of `METRICS`.
        epoch: what is compared.

    References:
        Wiesenfarth et al., Methods and open-source toolkit for analyzing and visualizing challenge results,
        Scientific Reports 11, 2021.
    """
    rows = []
    for metric in metrics:
        values = case_values(records, metric, epoch).of(*whole_methods(records))
        shared = shared_cases(values)
        rows += [
            {"task": metric, "case": case, "algorithm": method, "value": "NA" if math.isinf(value) else value}
            for method, cases in values.items()
            for case, value in cases.items()
            if case in shared and not math.isnan(value)
        ]
    return csv_text(rows, ["task", "case", "algorithm", "value"]).rstrip("\n")


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
        if spread := result.spreads.get(method):
            row |= {
                "cases_std": spread.cases,
                "trainings_std": spread.trainings,
                "error": spread.error,
                "freedom": spread.freedom,
                "order_false": spread.p_false,
            }
        if result.selection is not None:
            row["chosen"] = result.selection.chosen.get(method, 0.0)
        if result.convergence is not None:
            trend = result.convergence.trends[method]
            row |= {
                "curve": trend.state,
                "gain": trend.gain,
                "gain_noise": trend.noise,
                "reached": trend.soon,
                "loss_share": trend.loss_share,
                "loss_share_noise": trend.loss_noise,
            }
        if ranking is not None and method in ranking.mean_ranks:
            row |= {
                "mean_rank": ranking.mean_ranks[method],
                "group": letters[method],
                "first": ranking.chances[method][0],
            }
        yield row
