"""`spineloss nnunet`: nnU-Net's own training with any loss."""

import re
from typing import Annotated

import typer

from spineloss.cli.terminal import say
from spineloss.errors import UserError

NAMES_A_TRAINER = re.compile(r"-tr?(=|$)")  # nnU-Net takes what it can complete

app = typer.Typer(no_args_is_help=True, help="Train nnU-Net with any loss; everything else is nnU-Net's own.")


@app.command("path")
def path() -> None:
    """Print the folder for nnU-Net's `nnUNet_extTrainer`, so that `nnUNetv2_train -tr` takes any loss.

    Example: [bold]export nnUNet_extTrainer=$(spineloss nnunet path)[/bold], then
    [bold]nnUNetv2_train 4 3d_fullres 0 -tr "nnUNetTrainer~tversky + cross_entropy"[/bold]
    """
    from spineloss.integrations.nnunet import FOLDER

    print(FOLDER)


@app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its number or name, as nnU-Net has it.")],
    configuration: Annotated[str, typer.Argument(metavar="CONFIGURATION", help="Such as 3d_fullres.")],
    fold: Annotated[str, typer.Argument(metavar="FOLD", help="0 to 4, or all.")],
    loss: Annotated[str, typer.Option(help="As in a study; or nnunet, nnU-Net's own loss.")],
    weighting: Annotated[
        str | None, typer.Option(help="Weights that change while training, such as rebalance or cov.")
    ] = None,
    trainer: Annotated[
        str, typer.Option(help="The trainer of nnU-Net that all else comes from, such as nnUNetTrainer_250epochs.")
    ] = "nnUNetTrainer",
) -> None:
    """Train nnU-Net with a loss; other options, such as -p, -device or --npz, are those of nnUNetv2_train.

    Example: [bold]spineloss nnunet train 4 3d_fullres 0 --loss "tversky + cross_entropy" --npz[/bold]
    """
    if any(NAMES_A_TRAINER.match(argument) for argument in context.args):
        raise UserError("-tr names the loss here, and is set from --loss: name nnU-Net's trainer by --trainer.")
    from spineloss.integrations import nnunet
    from spineloss.integrations.trainer_name import TrainerName

    name = TrainerName(loss, weighting, trainer)
    say(f"Training {name}")
    nnunet.train(name, [dataset, configuration, fold, *context.args])
