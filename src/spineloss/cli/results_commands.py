"""`spineloss study`: read what a study found, as tables, tests, pictures and one page."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spineloss.cli.terminal import names, say
from spineloss.errors import UserError

app = typer.Typer()

EpochChoice = Literal["last", "best", "optimistic"]
TableFormat = Literal["text", "markdown", "csv", "latex"]
Format = Annotated[TableFormat, typer.Option(help="How the table is written.")]


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    epoch: Annotated[
        EpochChoice,
        typer.Option(
            help="The last; the best by validation Dice, or each metric's own best (both are optimistic)."
        ),
    ] = "last",
    format: Format = "text",
) -> None:
    """Print mean and standard deviation over folds by method and metric, the best in bold.

    Example: [bold]spineloss study table study/ --epoch best --format latex[/bold]
    """
    print_table(folder, epoch, format)


def print_table(folder: Path, epoch: EpochChoice, format: TableFormat) -> None:
    """Print a study's table with the remarks on its curves, its learning rates and its adaptive methods."""
    from spineloss.results.convergence import converge
    from spineloss.results.learning_rates import rates_in_words, read_choices
    from spineloss.results.rate_ranges import open_ends_in_words, rate_ranges
    from spineloss.results.records import read_records
    from spineloss.results.sentences import curves_in_words
    from spineloss.results.study_folder import tested_in_words
    from spineloss.results.table import summarise, table_text
    from spineloss.study.controls import verdicts
    from spineloss.study.courses import courses_in_words, read_trajectories
    from spineloss.study.settings import load

    records = read_records(folder)
    rows = summarise(records, epoch)
    study = load(folder / "study.yaml")
    # At each metric's own best epoch nothing can be concluded.
    concluded = [] if epoch == "optimistic" else verdicts(study, records, epoch)
    choices = read_choices(folder)
    rates = [*rates_in_words(choices), *open_ends_in_words(rate_ranges(choices))]
    curves = curves_in_words(converge(records, "dice")) if records else []
    courses = courses_in_words(read_trajectories(study, folder))
    remarks = [*tested_in_words(folder), *curves, *rates, *courses, *concluded]
    print(table_text(rows, format, epoch=epoch, folds=study.folds, remarks=remarks))


@app.command()
def trajectories(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")],
) -> None:
    """Draw the weights or parameters of each adaptive method by training step, one panel per fold.

    Example: [bold]spineloss study trajectories study/ -o pictures/[/bold]
    """
    from spineloss.study.courses import draw_trajectories

    for picture in draw_trajectories(folder, output):
        say(str(picture))


# What decides is asked alike wherever methods are compared.
Metrics = Annotated[str, typer.Option(help="Which metrics decide, in this order, with commas.")]
Reference = Annotated[
    str | None, typer.Option(help="The method to compare with; the one with the best mean if not given.")
]
Margin = Annotated[
    str | None,
    typer.Option(
        help="Differences up to it do not matter: percentage points or mm, one for all metrics or one each."
    ),
]


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; report.html in the study's folder if not given."),
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for the figures alone, as SVG and PNG.")] = None,
    case: Annotated[
        str | None, typer.Option(help="The case of the 3D view; the median one of the reference if not given.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="The channel of the images that is shown; the first if not given.")
    ] = None,
    metrics: Metrics = "dice",
    reference: Reference = None,
    margin: Margin = None,
) -> None:
    """Write the study as one page that needs nothing else: open it in a browser.

    Example: [bold]spineloss study report study/ --figures figures/ --metrics dice,hd95[/bold]
    """
    say(f"Reading {folder}")
    from spineloss.report.content import read_content
    from spineloss.report.page import write_report

    page = output or folder / "report.html"
    content = read_content(folder, names(metrics), reference, _margins(margin))
    write_report(content, page, figures, say, case, channel)
    say(f"Open {page} in a browser")


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    metrics: Metrics = "dice",
    reference: Reference = None,
    margin: Margin = None,
    epoch: Annotated[
        Literal["last", "best"],
        typer.Option(help="The last; or the best by validation Dice (optimistic)."),
    ] = "last",
    missed: Annotated[
        Literal["worst", "diagonal"],
        typer.Option(help="A missed structure's distance: the worst by rank, or the diagonal of its image."),
    ] = "worst",
    format: Annotated[
        Literal["text", "markdown", "csv", "latex", "challenger"],
        typer.Option(help="How it is written; challenger is what the R package challengeR reads."),
    ] = "text",
) -> None:
    """Compare the methods case by case: the answer in two sentences, paired tests, ranks, and how sure it is.

    Example: [bold]spineloss study compare study/ --metrics dice,hd95 --margin 1,0.5[/bold]
    """
    from spineloss.results.comparison import compare_study, refuse_unknown_metrics
    from spineloss.results.comparison_table import comparison_text
    from spineloss.results.records import fill_missed, read_records
    from spineloss.results.study_folder import tested_in_words
    from spineloss.results.trained_on import hardware_in_words

    records = read_records(folder)
    if missed == "diagonal":
        from spineloss.study.preparation import read_diagonals

        records = fill_missed(records, read_diagonals(folder))
    if format == "challenger":
        from spineloss.results.comparison_export import challenger_csv

        refuse_unknown_metrics(names(metrics))
        print(challenger_csv(records, names(metrics), epoch))
        return
    results = compare_study(records, names(metrics), reference, _margins(margin), epoch)
    print(comparison_text(results, format, epoch=epoch))
    for line in [*tested_in_words(folder), *hardware_in_words(folder)]:
        say(line)


def _margins(text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise UserError(f"The margin {text!r} is no number: write it as 1.0, or as 1.0,0.5.") from error


def landscape(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run, such as study/runs/dice/fold-0.")],
    loss: Annotated[
        list[str] | None, typer.Option(help="A loss whose surface is drawn; repeatable. The run's own if none.")
    ] = None,
    points: Annotated[int, typer.Option(help="Along each of both directions, odd.")] = 15,
    span: Annotated[float, typer.Option(help="How far, in lengths of the trained filters.")] = 1.0,
) -> None:
    """Draw losses around a run's trained network, along two random directions scaled filter by filter.

    The numbers and the pictures are written into the run's folder, where the study's report finds them.

    Example: [bold]spineloss landscape study/runs/dice/fold-0 --loss dice --loss cross_entropy[/bold]
    """
    say(f"Loading {source}")
    from spineloss.study.landscape import write_landscape

    for path in write_landscape(source, loss or [], points=points, span=span, progress=say):
        say(str(path))
