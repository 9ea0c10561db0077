"""`spineloss losses` and `spineloss shapes`: what a loss is, what holds of it, what it makes of small shapes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from spineloss.cli.terminal import FAILED, say, show
from spineloss.errors import UserError

if TYPE_CHECKING:
    from spineloss.lossbook.catalogue import Entry
    from spineloss.lossbook.linter import Finding

app = typer.Typer(no_args_is_help=True, help="Look up the losses, or check any loss, ours or not.")


@app.command("list")
def list_losses() -> None:
    """List the losses: category, arguments with defaults and ranges, paper.

    Example: [bold]spineloss losses list[/bold]
    """
    from spineloss.lossbook.catalogue import entries

    table = Table("loss", "category", "arguments: default, range", "paper", show_lines=True)
    for each in entries():
        arguments = "\n".join(f"{one.name} = {one.default}, {one.range}" for one in each.arguments)
        table.add_row(each.name, each.category, arguments, Text(each.paper))
    show(table)


@app.command("show")
def show_loss(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `spineloss losses list`.")],
) -> None:
    """Show one loss: formula, arguments, paper, and how it is written in a study.

    Example: [bold]spineloss losses show tversky[/bold]
    """
    from spineloss.lossbook.catalogue import entry

    found = entry(name)
    say(found.text())
    if found.arguments:
        show(_argument_table(found))


def _argument_table(entry: "Entry") -> Table:
    table = Table("argument", "default", "range", "meaning")
    for argument in entry.arguments:
        table.add_row(argument.name, argument.default, argument.range, Text(argument.meaning))
    return table


@app.command("check")
def check_loss(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC_OR_IMPORT", help="A loss as in a study, or the import path of an nn.Module's class."
        ),
    ],
) -> None:
    """Run 23 checks on a loss called with (logits, target); print the smallest failing input.

    A note is a property that differs by design. The exit code is 1 when a check fails.

    Example: [bold]spineloss losses check "monai.losses.DiceLoss(sigmoid=true)"[/bold]
    """
    from spineloss.lossbook.judging import Outcome
    from spineloss.lossbook.linter import lint
    from spineloss.text import parse

    findings = list(lint(parse(spec)))
    show(_finding_table(findings))
    for finding in findings:
        if finding.outcome is not Outcome.PASS:
            say(f"\n{finding}")
    outcomes = [finding.outcome for finding in findings]
    say(f"\n{spec}: " + ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome))
    if Outcome.FAIL in outcomes:
        raise typer.Exit(FAILED)


STYLES = {"pass": "green", "note": "yellow", "fail": "bold red", "skipped": "dim"}


def _finding_table(findings: Sequence["Finding"]) -> Table:
    table = Table("check", "outcome", "meaning")
    for finding in findings:
        table.add_row(finding.check.name, Text(finding.outcome, STYLES[finding.outcome]), finding.check.meaning)
    return table


def shapes(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for shapes.csv and the pictures; without it, tables alone."),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(help="library: each loss as it trains; or thesis: the nine rows of its Tables 3.1 and 3.2."),
    ] = "library",
    shapes: Annotated[Path | None, typer.Option(help="A file of your own shapes.")] = None,
    loss: Annotated[list[str] | None, typer.Option(help="A loss, instead of all; repeatable.")] = None,
) -> None:
    """Compute each loss on small shapes drawn by hand (chapter 3.6 of Hun 2021), and draw shapes and curves.

    A file of shapes holds blocks, separated by empty lines: a name with a colon, then rows of equal length. # is
    foreground found, - foreground missed, + background predicted as foreground, . background predicted as such.

    Example: [bold]spineloss shapes --loss dice --loss "0.8*dice + 0.2*boundary" -o shapes/[/bold]
    """
    from spineloss.lossbook import shapes as toys
    from spineloss.losses import LOSSES

    if convention not in ("library", "thesis"):
        raise UserError(f"There is no convention {convention!r}: choose library or thesis.")
    if loss and convention == "thesis":
        raise UserError("The thesis's convention has its own nine rows: leave out --loss, or choose library.")
    chosen = toys.toy_shapes() if shapes is None else toys.read_shapes(shapes)
    specs = loss or list(LOSSES)
    if convention == "thesis":
        from spineloss.thesis.toy_tables import MISPRINTS, thesis_table

        values = thesis_table(chosen)
        _show_toys(values, MISPRINTS if shapes is None else {})
    else:
        values = toys.library_table(chosen, specs)
        _show_toys(values, {})
    if output is None:
        return
    from spineloss.figures.shape_plot import draw
    from spineloss.files import write_csv

    rows = [{"loss": spec, **row} for spec, row in values.items()]
    write_csv(output / "shapes.csv", rows, list(rows[0]))
    for path in [output / "shapes.csv", *draw(chosen, specs, output)]:
        say(str(path))


def _show_toys(values: Mapping[str, Mapping[str, float]], misprints: Mapping[tuple[str, str], float]) -> None:
    table = Table("loss", *map(escape, next(iter(values.values()))))
    for name, row in values.items():
        cells = (f"{value:.4f}{'*' if (name, place) in misprints else ''}" for place, value in row.items())
        table.add_row(escape(name), *cells)
    show(table)
    if misprints:
        say("* The thesis's table is misprinted here:")
    for (name, place), printed in misprints.items():
        say(f"  {name}, {place}: {values[name][place]:.4f} is right, {printed:.4f} is printed")
