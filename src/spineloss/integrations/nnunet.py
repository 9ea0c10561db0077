"""Any loss in nnU-Net's own training (v2.8 or later): a trainer whose loss, and nothing else, is ours.

nnU-Net looks for a trainer by its name in the folders that the environment variable `nnUNet_extTrainer` names.
`FOLDER` has one small module that makes the trainer of any name, so that `nnUNetv2_train` trains with any loss.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from spineloss.integrations.trainer_name import TrainerName
from spineloss.kernels.columns import CROSS_ENTROPY
from spineloss.losses import Compound, CrossEntropy, Dice, Loss
from spineloss.losses.inputs import Inputs
from spineloss.text import loss as loss_of
from spineloss.training.weighted_loss import WeightedLoss

FOLDER = Path(__file__).parent / "nnunet_trainers"
EXTERNAL = "nnUNet_extTrainer"  # nnU-Net's variable: folders of trainers
PRESET = "nnunet"  # the text of nnU-Net's own loss
SMOOTH = 5e-6  # of the preset's Dice: nnU-Net adds 1e-5 to twice the overlap
STATE = "spineloss"  # what a checkpoint calls the state of a loss


class RegionEntropy(CrossEntropy):
    """nnU-Net's cross-entropy of regions with an ignored channel: summed over them, per voxel of the batch."""

    name = "region_entropy"

    def compute(self, inputs: Inputs) -> torch.Tensor:
        counted = inputs.sums.counted[:, 0].sum()
        return inputs.column(CROSS_ENTROPY).sum() / counted.clamp(min=1)


class TrainerLoss(nn.Module):
    """A loss as nnU-Net's trainer calls it: with outputs and targets, of one resolution or a list of them.

    Args:
        loss: ours, weighted while training or not.
        spacing: of the voxels of the finest resolution, mm.
        constant: what the value is less than the loss's.
    """

    def __init__(self, loss: Loss | WeightedLoss, spacing: list[float], constant: float = 0.0) -> None:
        super().__init__()
        self.loss = loss
        self.spacing = spacing
        self.constant = constant

    def forward(self, output: Any, target: Any) -> torch.Tensor:
        return self.loss(output, target, spacing=self.spacing) - self.constant


class AnyLoss:
    """What a trainer of ours does differently: mixed into one of nnU-Net's.

    It has no `__init__`: nnU-Net reads the arguments of a trainer's own and stores them.
    """

    trainer_name: ClassVar[TrainerName]
    device: torch.device
    is_ddp: bool

    def _build_loss(self) -> nn.Module:
        labels, plans = self.label_manager, self.configuration_manager
        convention = {
            "activation": "sigmoid" if labels.has_regions else "softmax",
            "ignore": labels.ignore_label,
            "background": bool(labels.has_regions),
            "levels": self._levels(),
        }
        is_preset = self.trainer_name.loss == PRESET
        loss = self._preset(convention) if is_preset else loss_of(self.trainer_name.loss, **convention)
        if self.trainer_name.weighting:
            epoch = self.num_iterations_per_epoch
            loss = WeightedLoss(loss, self.trainer_name.weighting, epoch=epoch, run=epoch * self.num_epochs)
        # nnU-Net's Dice loss is -Dice, ours 1 - Dice.
        built = TrainerLoss(loss, list(plans.spacing), constant=1.0 if is_preset else 0.0)
        return built.to(self.device)  # a learned loss has weights, and nnU-Net moves none of a loss

    def _preset(self, convention: dict[str, Any]) -> Loss:
        """nnU-Net's own loss, number for number but for its constant."""
        over = "sample"
        if self.configuration_manager.batch_dice:
            over = "world" if self.is_ddp else "batch"
        labels = self.label_manager
        entropy = RegionEntropy() if labels.has_regions and labels.has_ignore_label else CrossEntropy()
        return Compound([(1.0, Dice(over=over, smooth=SMOOTH)), (1.0, entropy)], **convention)

    def _levels(self) -> list[float] | str:
        """The weights of deep supervision's levels, as nnU-Net has them."""
        scales = self._get_deep_supervision_scales()
        if not scales or not self.is_ddp or self._do_i_compile():
            return "nnunet"
        # Where several processes train without torch.compile, no output may be without a gradient.
        weights = [0.5**level for level in range(len(scales) - 1)] + [1e-6]
        return [weight / sum(weights) for weight in weights]

    def train_step(self, batch: dict) -> dict:
        self.loss.train()
        return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        self.loss.eval()
        return super().validation_step(batch)

    def save_checkpoint(self, filename: str) -> None:
        """As nnU-Net, with the loss's state, and under the name of nnU-Net's trainer.

        A network is built by its trainer, and ours builds none of its own: so nnU-Net predicts without spineloss.
        """
        self.my_init_kwargs[STATE] = self.loss.state_dict()
        ours = type(self)
        ours.__name__ = self.trainer_name.base
        try:
            super().save_checkpoint(filename)
        finally:
            ours.__name__ = str(self.trainer_name)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        self.loss.load_state_dict(self.my_init_kwargs.get(STATE, {}))


def trainer(name: str) -> type:
    """The trainer of a name such as `nnUNetTrainer~tversky+cross_entropy@cov`.

    Raises:
        UserError: the name, or a text in it, is not understood.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    read = TrainerName.read(name)
    check(read)
    base = recursive_find_trainer_class_by_name(read.base)
    return type(str(read), (AnyLoss, base), {"trainer_name": read, "__module__": __name__})


def check(name: TrainerName) -> None:
    """Refuse texts that are no loss or no weighting, before nnU-Net reads its data.

    Raises:
        UserError: one of them is not understood.
    """
    loss = Compound([(1.0, Dice()), (1.0, CrossEntropy())]) if name.loss == PRESET else loss_of(name.loss)
    if name.weighting:
        WeightedLoss(loss, name.weighting, epoch=1, run=1)


def train(name: TrainerName, arguments: list[str]) -> None:
    """Run `nnUNetv2_train` with the trainer of a name.

    Args:
        name: of the trainer.
        arguments: of `nnUNetv2_train`: data set, configuration, fold and any of its options but `-tr`.

    Raises:
        UserError: a text in the name is not understood.
        ModuleNotFoundError: nnU-Net is not installed.
    """
    import sys

    check(name)
    from nnunetv2.run.run_training import run_training_entry

    others = [folder for folder in os.environ.get(EXTERNAL, "").split(os.pathsep) if folder]
    os.environ[EXTERNAL] = os.pathsep.join([*others, str(FOLDER)])
    sys.argv = ["nnUNetv2_train", *arguments, "-tr", str(name)]
    run_training_entry()
