"""Whether adapting a loss is what helped: each adaptive method against its own average held fixed."""

from collections.abc import Sequence

from spineloss.metrics import METRICS
from spineloss.results.comparison import FairEpoch, compare_study
from spineloss.results.records import Record
from spineloss.results.score_text import interval, number, points
from spineloss.results.sentences import caution
from spineloss.results.statistics import Contrast
from spineloss.study.method import Method
from spineloss.study.settings import Study

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
            found.append(_sentence(trial.method, result.comparison.contrasts[method], result.comparison.unit))
    return found


def _sentence(method: Method, contrast: Contrast, unit: str) -> str:
    scale = METRICS[DECISIVE].scale
    verdict = {"better": "beat", "worse": "was worse than"}.get(contrast.verdict, "did not beat")
    doubt = caution(contrast)
    return (
        f"{method.name} {verdict} its own average {method.adapts} held fixed: "
        f"{number(contrast.mean, scale, signed=True)} {points(DECISIVE)} of {METRICS[DECISIVE].title} over "
        f"{contrast.cases} {unit} (95 % interval "
        f"{interval(contrast.interval.low, contrast.interval.high, scale, signed=True)}, "
        f"Wilcoxon p = {contrast.p:.2g}){f'; {doubt}' if doubt else ''}"
    )
