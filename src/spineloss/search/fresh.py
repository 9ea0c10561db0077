"""A fresh small network and its short training: what a search judges losses by."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spineloss import networks
from spineloss.data.augmentation import Augment
from spineloss.data.batches import Batch, training_batches
from spineloss.data.dataset import Sample
from spineloss.data.labelling import Labelling, Structure
from spineloss.losses import Loss
from spineloss.seeding import seed_of
from spineloss.training.loop import Training, TrainingSettings
from spineloss.training.phases import Phase
from spineloss.training.precision import Precision
from spineloss.training.schedule import scaled_rate
from spineloss.training.validation import validate

AUGMENT = Augment(affine=0.3, noise=0.2, mixup=1.0, mixup_alpha=0.2)  # Table A.6
MERGED = Labelling("merged", (Structure("all", (), 1),))  # searches learn on all labels as one
TOLERANCE = 2.0  # mm, of the surface Dice that validation measures too


@dataclass(frozen=True)
class Budget:
    """What every training of a search shares; the learning rate follows from the width.

    Args:
        grid: (Z, Y, X) voxels.
        width: of the U-Net.
        batch: cases per batch.
        epochs: of each training.
        seed: of every draw.
    """

    grid: tuple[int, int, int]
    width: int
    batch: int
    epochs: int
    seed: int

    @property
    def learning_rate(self) -> float:
        """The initial rate of each training."""
        return scaled_rate(self.width)

    def plain(self) -> dict[str, Any]:
        """As JSON gives it back."""
        return asdict(self) | {"grid": list(self.grid), "learning_rate": self.learning_rate}

    def fresh(
        self,
        number: int,
        loss: Loss,
        training: Sequence[Sample],
        validation: Sequence[Sample],
        *,
        needs: frozenset[str],
        precision: Precision,
    ) -> Training:
        """A training that has not begun.

        Args:
            number: of its initial weights, batches and augmentation.
            loss: of its steps.
            training: the cases it trains on.
            validation: the cases it is validated on, after the last epoch alone.
            needs: names of the target's maps that the batches carry.
            precision: the device, and the precision on it.
        """
        key = (self.seed, number)

        def batches(epoch: int) -> Iterable[Batch]:
            made = training_batches(
                training, size=self.batch, augment=AUGMENT, needs=needs, labelling=MERGED, key=(*key, epoch)
            )
            return (make() for make in made)

        return Training(
            networks.build(
                "unet",
                self.width,
                MERGED.outputs,
                self.grid,
                seed_of(*key, "weights"),
                inputs=len(training[0].image),
            ),
            [Phase(self.epochs, loss)],
            TrainingSettings(self.learning_rate, self.epochs, None, key),
            batches=batches,
            validate=lambda trained: validate(
                trained, validation, MERGED, grid="network", tolerance=TOLERANCE, device=precision.device
            ),
            precision=precision,
        )


def train(training: Training) -> float:
    """Train to the end, and give the mean validation Dice, 0 to 1; a case where it is undefined counts as 0.

    Raises:
        LossNotFinite: a loss became NaN or infinite.
    """
    *_, last = training.epochs()
    scores = [row["dice"] for row in last.validation]
    return sum(0.0 if math.isnan(score) else score for score in scores) / len(scores)
