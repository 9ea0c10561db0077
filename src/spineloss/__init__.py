"""Segmentation losses, and studies that say which one trains best.

Every public name is imported when it is first used, so that `import spineloss` costs nothing:

>>> import torch
>>> from spineloss import Dice, loss
>>> logits, target = torch.randn(2, 1, 8, 16, 16), torch.rand(2, 1, 8, 16, 16) > 0.9
>>> Dice()(logits, target).shape
torch.Size([])
>>> str(loss("0.8*dice + 0.2*boundary"))
'0.8*dice + 0.2*boundary'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spineloss.errors import UserError as UserError
from spineloss.extras import missing_extra

if TYPE_CHECKING:
    from spineloss.kernels.distance_transform import distance_map as distance_map
    from spineloss.kernels.distance_transform import signed_distance_map as signed_distance_map
    from spineloss.kernels.distance_transform import signed_distance_maps as signed_distance_maps
    from spineloss.kernels.target_maps import target_map as target_map
    from spineloss.losses import *
    from spineloss.metrics import METRICS as METRICS
    from spineloss.metrics import evaluate as evaluate
    from spineloss.report.content import read_content as read_content
    from spineloss.report.page import write_report as write_report
    from spineloss.results.comparison import compare_study as compare_study
    from spineloss.results.comparison_table import comparison_text as comparison_text
    from spineloss.results.records import read_records as read_records
    from spineloss.study.engine import run_study as run_study
    from spineloss.study.prediction import Predictor as Predictor
    from spineloss.study.settings import Study as Study
    from spineloss.text import loss as loss
    from spineloss.training.greedy_training import GreedyTraining as GreedyTraining
    from spineloss.training.weighted_loss import WeightedLoss as WeightedLoss
    from spineloss.weighting import *

__version__ = "0.1.0"

# Modules whose `__all__` is public, and single names of other modules.
WHOLE = ("losses", "weighting")
SINGLE = {
    "GreedyTraining": "training.greedy_training.GreedyTraining",
    "METRICS": "metrics.METRICS",
    "Predictor": "study.prediction.Predictor",
    "Study": "study.settings.Study",
    "WeightedLoss": "training.weighted_loss.WeightedLoss",
    "compare_study": "results.comparison.compare_study",
    "comparison_text": "results.comparison_table.comparison_text",
    "distance_map": "kernels.distance_transform.distance_map",
    "evaluate": "metrics.evaluate",
    "loss": "text.loss",
    "read_content": "report.content.read_content",
    "read_records": "results.records.read_records",
    "run_study": "study.engine.run_study",
    "signed_distance_map": "kernels.distance_transform.signed_distance_map",
    "signed_distance_maps": "kernels.distance_transform.signed_distance_maps",
    "target_map": "kernels.target_maps.target_map",
    "write_report": "report.page.write_report",
}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        found = _find(name)
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error)) is None:
            raise
        raise ImportError(sentence) from None
    globals()[name] = found
    return found


def _find(name: str) -> Any:
    if name in SINGLE:
        module, _, attribute = SINGLE[name].rpartition(".")
        return getattr(import_module(f"spineloss.{module}"), attribute)
    for module in WHOLE:
        public = import_module(f"spineloss.{module}")
        if name in public.__all__:
            return getattr(public, name)
    raise AttributeError(f"module 'spineloss' has no attribute {name!r}")


def __dir__() -> list[str]:
    whole = (import_module(f"spineloss.{module}").__all__ for module in WHOLE)
    return sorted({"UserError", "__version__", *SINGLE, *(name for names in whole for name in names)})
