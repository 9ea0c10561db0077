"""Whether adapting a loss is what helped: each adaptive method against its own average held fixed."""

from collections.abc import Sequence

from spineloss.metrics import METRICS
from spineloss.results.comparison import FairEpoch, compare_study
from spineloss.results.sentences import caution
from spineloss.results.statistics import Pair
from spineloss.results.table import Record
from spineloss.study.settings import Method, Study

DECISIVE = "dice"


def verdicts(study: Study, records: Sequence[Record], epoch: FairEpoch) -> list[str]:
    """A sentence for each method with controls: whether it beat its own average, by Dice, case by case.

    Args:
        study: whose controls they are.
        records: of `read_records`.
        epoch: `last`, or `best`.
    """
    found = []
    for trial in study.trials:
        method = trial.method.name
        both = [record for record in records if record.method in (method, trial.name)]
        if trial.control == "average" and len({record.method for record in both}) == 2:
            (result,) = compare_study(both, [DECISIVE], reference=trial.name, epoch=epoch)
            found.append(_sentence(trial.method, result.comparison.pairs[method]))
    return found


def _sentence(method: Method, pair: Pair) -> str:
    scale = METRICS[DECISIVE].scale
    low, high = scale * pair.interval.low, scale * pair.interval.high
    verdict = {"better": "beat", "worse": "was worse than"}.get(pair.verdict, "did not beat")
    doubt = caution(pair)
    return (
        f"{method.name} {verdict} its own average {method.adapts} held fixed: {scale * pair.mean:+.2f} points of "
        f"{METRICS[DECISIVE].title} over {pair.cases} cases (95 % interval {low:+.2f} to {high:+.2f}, "
        f"Wilcoxon p = {pair.p:.2g}){f'; {doubt}' if doubt else ''}"
    )
