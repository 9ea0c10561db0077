"""`spineloss data`: look at volumes, or make some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from spineloss.cli.terminal import FAILED, say, show

if TYPE_CHECKING:
    from spineloss.data.check import Report
    from spineloss.data.fingerprint import Fingerprint

app = typer.Typer(no_args_is_help=True, help="Check a folder of volumes, plan its study, or generate a phantom.")


@app.command()
def check(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of volumes, or a CSV manifest.")],
) -> None:
    """Print the cases of a folder and every problem found.

    Example: [bold]spineloss data check volumes/[/bold]
    """
    say(f"Checking {source}")
    from spineloss.data.check import check
    from spineloss.data.layouts import find_cases

    layout = find_cases(source)
    report = check(layout)
    show(_case_table(report))
    for problem in report.problems:
        say(f"{problem.case}: {problem.sentence}")
    for remark in report.remarks:
        say(f"{remark.case}: note: {remark.sentence}")
    if len(layout.channels) > 1:
        say(f"Channels: {', '.join(layout.channels)}")
    if layout.labels.names:
        say(f"Labels: {', '.join(f'{label} {name}' for label, name in sorted(layout.labels.names.items()))}")
    if layout.labels.regions:
        regions = (f"{name} {list(parts)}" for name, parts in layout.labels.regions.items())
        say(f"Regions, in their order: {', '.join(regions)}")
    if layout.labels.ignore is not None:
        say(f"Label {layout.labels.ignore} marks voxels without annotation: no loss and no metric counts them.")
    say(f"{report.layout}: {len(report.rows)} cases, {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(FAILED)


MOST_COLUMNS = 8  # of labels; more are named in one column


def _case_table(report: "Report") -> Table:
    labels = sorted({label for row in report.rows for label in row.voxels})
    single = len(labels) <= MOST_COLUMNS
    table = Table(box=None, pad_edge=False)
    # Long ids are broken into lines: a number pushed off the screen is lost.
    table.add_column("case", overflow="fold", min_width=12)
    titles = [f"label {label}" for label in labels] if single else ["labels"]
    for title in ("shape", "spacing mm", "axes", "intensity", *titles, "share"):
        table.add_column(title, justify="right", no_wrap=title != "labels", overflow="fold")
    for row in report.rows:
        voxels = [str(row.voxels.get(label, 0)) for label in labels] if single else [_ranges(sorted(row.voxels))]
        table.add_row(
            Text(row.case),
            " x ".join(str(size) for size in row.shape),
            " x ".join(f"{step:.2f}" for step in row.spacing),
            row.orientation,
            f"{row.low:g}..{row.high:g}",
            *voxels,
            f"{100 * row.foreground:.2f} %",
        )
    return table


def _ranges(labels: list[int]) -> str:
    """Numbers with runs of them joined: 1-3, 7."""
    runs: list[list[int]] = []
    for label in labels:
        if runs and label == runs[-1][-1] + 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@app.command()
def plan(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of volumes, or a CSV manifest.")],
) -> None:
    """Print what a folder holds, and the study settings that are proposed for it, with reasons.

    `spineloss study new` writes them to a file.

    Example: [bold]spineloss data plan volumes/[/bold]
    """
    say(f"Checking {source}")
    from spineloss.study.proposal import look, propose

    found = look(source)
    say(f"{found.layout}: {found.cases} cases of {found.patients} patients, axes {found.orientation}")
    say(f"Channels: {', '.join(found.channels)}")
    show(_spread_table(found))
    show(_label_table(found))
    table = Table(box=None, pad_edge=False)
    for title in ("key", "proposed", "why"):
        table.add_column(title, overflow="fold")
    for each in propose(found):
        # As text: a name of dataset.json may be "disc [/l5]".
        table.add_row(each.key, Text(str(each.value)), Text(each.reason))
    show(table)


def _spread_table(found: "Fingerprint") -> Table:
    """Least, median and most of each number over the cases."""
    from statistics import median

    table = Table(box=None, pad_edge=False)
    table.add_column("over the cases")
    for title in ("least", "median", "most"):
        table.add_column(title, justify="right")
    columns = {
        **{f"voxels along {axis}": [shape[place] for shape in found.shapes] for place, axis in enumerate("ZYX")},
        **{f"spacing {axis}, mm": [each[place] for each in found.spacings] for place, axis in enumerate("zyx")},
        "lowest intensity": [low for low, _ in found.intensities],
        "highest intensity": [high for _, high in found.intensities],
    }
    for name, numbers in columns.items():
        table.add_row(name, *(f"{number:.5g}" for number in (min(numbers), median(numbers), max(numbers))))
    return table


def _label_table(found: "Fingerprint") -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("label")
    for title in ("cases", "median share"):
        table.add_column(title, justify="right")
    for each in found.labels:
        table.add_row(Text(f"{each.label} {each.name}"), str(each.cases), f"{100 * each.share:.3f} %")
    return table


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where images/ and masks/ are written.")],
    anatomy: Annotated[str, typer.Option(help="lumbar or cervical.")] = "lumbar",
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 18,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 21,
) -> None:
    """Generate spine MRI volumes with their masks.

    Example: [bold]spineloss data phantom phantom/ --anatomy cervical --cases 12[/bold]
    """
    say(f"Generating {cases} {anatomy} phantoms in {folder}")
    from spineloss.data.phantom import write_phantom

    write_phantom(folder, anatomy, cases=cases, seed=seed)
