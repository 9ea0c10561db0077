"""What a formula is worth: the validation Dice of a fresh small network after a short training with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from spineloss import network
from spineloss.data import folds
from spineloss.data.batches import Augment, training_batches
from spineloss.data.dataset import Sample
from spineloss.grammar import Formula
from spineloss.learned.expression import Evolved
from spineloss.losses import Loss
from spineloss.search.split import QUARTERS
from spineloss.seeding import seed_of
from spineloss.training.loop import Settings, Training
from spineloss.training.steps import LossNotFinite
from spineloss.training.validation import validate

AUGMENT = Augment(affine=0.3, noise=0.2, mixup=1.0, mixup_alpha=0.2)  # Table A.6
LEARNING_RATE = 0.003  # so that a short training gets as far as a long one at the usual 0.001
TOLERANCE = 2.0  # mm, of the surface Dice that validation measures too
WORST = 0.0  # of a training that does not come to its end


@dataclass(frozen=True)
class Budget:
    """The same for every formula: (Z, Y, X) voxels, network's width, cases a batch, epochs, and the seed."""

    grid: tuple[int, int, int]
    width: int
    batch: int
    epochs: int
    seed: int


@dataclass(frozen=True)
class TrainingFitness:
    """Trains a network with a loss and measures it; called in any process it gives the same number.

    Args:
        samples: the cases that the search may look at.
        budget: see `Budget`.
    """

    samples: Sequence[Sample]
    budget: Budget

    def __call__(self, formula: Formula, repeat: int) -> float:
        """The validation Dice, 0 to 1, of a network trained with the formula as its loss.

        Args:
            formula: with one value a sample.
            repeat: which quarter validates, and the seed of initial weights, batches and augmentation; 0 is the
                one that a search compares by.
        """
        # One thread, whatever the machine: the sum's order is then the same.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            *_, last = self._training(Evolved(formula), repeat).epochs()
        except LossNotFinite:
            return WORST
        finally:
            torch.set_num_threads(threads)
        scores = [row["dice"] for row in last.validation]
        return sum(0.0 if math.isnan(score) else score for score in scores) / len(scores)

    def _training(self, loss: Loss, repeat: int) -> Training:
        budget = self.budget
        key = (budget.seed, repeat)
        chosen = folds.split([sample.case for sample in self.samples], QUARTERS, budget.seed)[repeat % QUARTERS]
        training = [sample for sample in self.samples if sample.case not in chosen]
        validation = [sample for sample in self.samples if sample.case in chosen]
        return Training(
            network.build("unet", budget.width, 1, budget.grid, seed_of(*key, "weights")),
            loss,
            Settings(budget.epochs, LEARNING_RATE, budget.epochs, None, key),
            batches=lambda epoch: training_batches(
                training, size=budget.batch, augment=AUGMENT, needs=loss.needs, key=(*key, epoch)
            ),
            validate=lambda trained: validate(
                trained, validation, ["all"], grid="network", tolerance=TOLERANCE, device=torch.device("cpu")
            ),
            fabric=Fabric(accelerator="cpu", devices=1),
        )
