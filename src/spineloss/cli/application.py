"""The tree of commands: `app` is the whole command line."""

from typing import Annotated

import typer

from spineloss.cli import (
    data_commands,
    loss_commands,
    nnunet_commands,
    results_commands,
    search_commands,
    study_commands,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Which segmentation loss trains best on your 3D MRI data, and how sure is that?",
)
app.add_typer(data_commands.app, name="data")
app.add_typer(study_commands.app, name="study")
study_commands.app.add_typer(results_commands.app)
app.add_typer(loss_commands.app, name="losses")
app.add_typer(search_commands.app)
app.add_typer(nnunet_commands.app, name="nnunet")
app.command("shapes")(loss_commands.shapes)
app.command("landscape")(results_commands.landscape)
app.command("predict")(study_commands.predict)


@app.callback()
def options(
    context: typer.Context,
    no_imports: Annotated[
        bool, typer.Option("--no-imports", help="Refuse losses named by an import path: they run code.")
    ] = False,
) -> None:
    """What holds for every command."""
    if no_imports:
        from spineloss.text import no_imports as importing_nothing

        context.with_resource(importing_nothing())


@app.command()
def doctor() -> None:
    """Print what runs here: versions, kernels and threads, device, extras, cache.

    Example: [bold]spineloss doctor[/bold]
    """
    from spineloss.cli.doctor import examine

    print("\n".join(examine()))
