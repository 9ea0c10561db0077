"""What a formula is worth: the validation Dice of a fresh small network after a short training with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from spineloss.data import folds
from spineloss.data.dataset import Sample
from spineloss.grammar import Formula
from spineloss.learned.formula import Evolved
from spineloss.search.fresh import Budget, train
from spineloss.search.split import QUARTERS
from spineloss.training.precision import Precision
from spineloss.training.steps import LossNotFinite

WORST = 0.0  # of a training that does not come to its end


@dataclass(frozen=True)
class TrainingFitness:
    """Trains a network with a loss and measures it; called in any process it gives the same number.

    Args:
        samples: the cases that the search may look at.
        budget: the same for every formula.
        groups: from case to patient, who is in one quarter alone.
    """

    samples: Sequence[Sample]
    budget: Budget
    groups: Mapping[str, str]

    def __call__(self, formula: Formula, repeat: int) -> float:
        """The validation Dice, 0 to 1, of a network trained with the formula as its loss.

        Args:
            formula: with one value per sample.
            repeat: which quarter validates, and the number of initial weights, batches and augmentation; 0 is the
                one that a search compares by.
        """
        cases = [sample.case for sample in self.samples]
        chosen = folds.split(cases, QUARTERS, self.budget.seed, self.groups)[repeat % QUARTERS]
        loss = Evolved(formula)
        # One thread, whatever the machine: the sum's order is then the same.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return train(
                self.budget.fresh(
                    repeat,
                    loss,
                    [sample for sample in self.samples if sample.case not in chosen],
                    [sample for sample in self.samples if sample.case in chosen],
                    needs=loss.needs,
                    precision=Precision(torch.device("cpu")),
                )
            )
        except LossNotFinite:
            return WORST
        finally:
            torch.set_num_threads(threads)
