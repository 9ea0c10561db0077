"""The tree of commands: `app` is the whole command line."""

import typer

from spineloss.cli import data_commands, loss_commands, results_commands, search_commands, study_commands

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
app.command("shapes")(loss_commands.shapes)
app.command("landscape")(results_commands.landscape)
app.command("predict")(study_commands.predict)


@app.command()
def doctor() -> None:
    """Print what runs here: versions, kernels and threads, device, extras, cache.

    Example: [bold]spineloss doctor[/bold]
    """
    from spineloss.cli.doctor import examine

    print("\n".join(examine()))
