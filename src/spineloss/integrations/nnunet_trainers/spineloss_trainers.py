"""The folder of this file is what `nnUNet_extTrainer` names: here nnU-Net asks for a trainer by its name.

nnU-Net imports every module of that folder: this is the only one, and the folder is no package.
"""

from spineloss.integrations.nnunet import trainer
from spineloss.integrations.trainer_name import MARK


def __getattr__(name: str) -> type:
    if MARK not in name:
        raise AttributeError(name)
    return trainer(name)
