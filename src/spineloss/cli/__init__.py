"""The command line: parse, call, print. Heavy modules are imported where they are used, so --help is quick."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from spineloss.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Which segmentation loss trains best on your 3D MRI data, and how sure is that?",
)
data_app = typer.Typer(no_args_is_help=True, help="Check a folder of volumes, or generate a phantom.")
study_app = typer.Typer(no_args_is_help=True, help="Run a cross-validated study of losses and read its results.")
losses_app = typer.Typer(no_args_is_help=True, help="Look up the losses, or check any loss, ours or not.")
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")
app.add_typer(losses_app, name="losses")

console = Console(highlight=False, soft_wrap=True)
FAILED = 1
STOPPED = 130


def main() -> None:
    """Run the command line; bad input ends in one sentence on stderr and exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"spineloss: {error}", file=sys.stderr)
        sys.exit(FAILED)


def _say(line: str) -> None:
    # Markup stays off: a case or method may be named "[red]".
    console.print(line, markup=False)


def _show(table: Any) -> None:
    # A number cut off by a narrow terminal is worse than a wrapped line.
    Console(highlight=False, width=max(console.width, 120)).print(table)


@data_app.command("check")
def data_check(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of volumes, or a CSV manifest.")],
) -> None:
    """Print the cases of a folder and every problem found.

    Example: [bold]spineloss data check volumes/[/bold]
    """
    _say(f"Checking {source}")
    from spineloss.data.check import check

    report = check(source)
    _show(report.table())
    for problem in report.problems:
        _say(f"{problem.case}: {problem.sentence}")
    _say(f"{report.layout}: {len(report.rows)} cases, {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(FAILED)


@data_app.command("phantom")
def data_phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where images/ and masks/ are written.")],
    anatomy: Annotated[str, typer.Option(help="lumbar or cervical.")] = "lumbar",
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 18,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 21,
) -> None:
    """Generate spine MRI volumes with their masks.

    Example: [bold]spineloss data phantom phantom/ --anatomy cervical --cases 12[/bold]
    """
    _say(f"Generating {cases} {anatomy} phantoms in {folder}")
    from spineloss.data.phantom import write_phantom

    write_phantom(folder, anatomy, cases=cases, seed=seed)


@study_app.command("run")
def study_run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STUDY_FILE", help="A study file, a preset's name, or a study folder to go on with."
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The study's folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of volumes, instead of the file's.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A loss, instead of the file's methods; repeatable.")
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="tensorboard or wandb, to follow the training there; repeatable.")
    ] = None,
) -> None:
    """Train every method on every fold, whatever is not done yet, and print the table.

    Example: [bold]spineloss study run lumbar --data volumes/ --method dice --method focal -o study/[/bold]
    """
    _say(f"Loading {source}")
    from spineloss.study import settings
    from spineloss.study.engine import run_study
    from spineloss.study.trackers import follow, open_trackers

    folder = Path(source)
    if (folder / "study.yaml").exists():
        output, source = output or folder, str(folder / "study.yaml")
    overrides: dict[str, Any] = {"data": data} if data else {}
    if method:
        overrides["methods"] = method
    study = settings.load(source, overrides)
    output = output or Path(Path(source).stem)
    trackers = open_trackers(track or [], output)
    try:
        failed = _follow(follow(run_study(study, output, _say), trackers, _say), output)
    except KeyboardInterrupt:
        _say("Stopped; the same command goes on from here.")
        raise typer.Exit(STOPPED) from None
    _print_table(output, "last", "text")
    if failed:
        _say(f"{failed} run(s) failed; the others are complete.")
        raise typer.Exit(FAILED)


def _follow(events: Any, folder: Path) -> int:
    """Show the events of a study, as a view on a terminal and as lines elsewhere, and count the failed runs."""
    from rich.live import Live

    from spineloss.study.status import read_status, view

    failed = 0
    with (
        Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live
    ):
        for event in events:
            place = f"{event.method} fold {event.fold}"
            if event.epoch is None:
                failed += 1
                _say(f"{place}: failed: {event.reason}")
            elif live is None and event.epoch.validation:
                _say(_validation_line(place, event))
            if live is not None:
                live.update(view(read_status(folder), event.fold), refresh=True)
    return failed


def _validation_line(place: str, event: Any) -> str:
    dice = [row["dice"] for row in event.epoch.validation if row["dice"] == row["dice"]]
    score = f"validation Dice {100 * sum(dice) / len(dice):.2f}" if dice else "validation Dice undefined"
    return f"{place}: epoch {event.epoch.epoch}/{event.epochs}, loss {event.epoch.train_loss:.4f}, {score}"


@study_app.command("status")
def study_status(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
) -> None:
    """Show how far each run is and the time left.

    Example: [bold]spineloss study status study/[/bold]
    """
    from spineloss.study.status import read_status, summary, table

    rows = read_status(folder)
    _show(table(rows))
    _say(summary(rows))


@study_app.command("table")
def study_table(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    epoch: Annotated[
        str,
        typer.Option(
            help="last; best (chosen by validation Dice); or optimistic (each metric's own best, as the seed did)."
        ),
    ] = "last",
    format: Annotated[str, typer.Option(help="text, markdown, csv or latex.")] = "text",
) -> None:
    """Print mean and standard deviation over folds by method and metric, the best in bold.

    Example: [bold]spineloss study table study/ --epoch best --format latex[/bold]
    """
    _print_table(folder, epoch, format)


def _print_table(folder: Path, epoch: str, format: str) -> None:
    from spineloss.results.table import read_records, render, summarise
    from spineloss.study.controls import verdicts
    from spineloss.study.courses import courses_in_words, read_trajectories
    from spineloss.study.settings import load

    records = read_records(folder)
    rows = summarise(records, epoch)
    study = load(folder / "study.yaml")
    # At each metric's own best epoch nothing can be concluded.
    concluded = [] if epoch == "optimistic" else verdicts(study, records, epoch)
    remarks = [*courses_in_words(read_trajectories(study, folder)), *concluded]
    print(render(rows, format, epoch=epoch, folds=study.folds, remarks=remarks))


@study_app.command("trajectories")
def study_trajectories(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")],
) -> None:
    """Draw how the weights or parameters of each method that adapts its loss went, a panel a fold.

    Example: [bold]spineloss study trajectories study/ -o pictures/[/bold]
    """
    from spineloss.study.courses import draw_trajectories

    for picture in draw_trajectories(folder, output):
        _say(str(picture))


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


@study_app.command("report")
def study_report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; report.html in the study's folder if not given."),
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for the figures alone, as SVG and PNG.")] = None,
    case: Annotated[
        str | None, typer.Option(help="The case of the 3D view; the median one of the reference if not given.")
    ] = None,
    metrics: Metrics = "dice",
    reference: Reference = None,
    margin: Margin = None,
) -> None:
    """Write the study as one page that needs nothing else: open it in a browser.

    Example: [bold]spineloss study report study/ --figures figures/ --metrics dice,hd95[/bold]
    """
    _say(f"Reading {folder}")
    from spineloss.report.content import read_content
    from spineloss.report.page import write_report

    page = output or folder / "report.html"
    write_report(read_content(folder, _names(metrics), reference, _margins(margin)), page, figures, _say, case)
    _say(f"Open {page} in a browser")


@study_app.command("compare")
def study_compare(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    metrics: Metrics = "dice",
    reference: Reference = None,
    margin: Margin = None,
    epoch: Annotated[str, typer.Option(help="last; or best (chosen by validation Dice).")] = "last",
    format: Annotated[str, typer.Option(help="text, markdown, csv or latex.")] = "text",
) -> None:
    """Compare the methods case by case: the answer in two sentences, paired tests, ranks, and how sure it is.

    Example: [bold]spineloss study compare study/ --metrics dice,hd95 --margin 1,0.5[/bold]
    """
    from spineloss.results.comparison import compare_study
    from spineloss.results.comparison_table import render
    from spineloss.results.table import read_records

    results = compare_study(read_records(folder), _names(metrics), reference, _margins(margin), epoch)
    print(render(results, format, epoch=epoch))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _margins(text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise UserError(f"The margin {text!r} is no number: write it as 1.0, or as 1.0,0.5.") from error


@app.command("landscape")
def landscape_command(
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
    _say(f"Loading {source}")
    from spineloss.study.landscape import write_landscape

    for path in write_landscape(source, loss or [], points=points, span=span, progress=_say):
        _say(str(path))


@losses_app.command("list")
def losses_list() -> None:
    """List the losses: category, arguments with defaults and ranges, paper.

    Example: [bold]spineloss losses list[/bold]
    """
    from spineloss.lossbook.catalogue import table

    _show(table())


@losses_app.command("show")
def losses_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `spineloss losses list`.")],
) -> None:
    """Show one loss: formula, arguments, paper, and how it is written in a study.

    Example: [bold]spineloss losses show tversky[/bold]
    """
    from spineloss.lossbook.catalogue import entry

    told = entry(name)
    _say(told.text())
    if told.arguments:
        _show(told.table())


@losses_app.command("check")
def losses_check(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC_OR_IMPORT", help="A loss as in a study, or the import path of an nn.Module's class."
        ),
    ],
) -> None:
    """Check what holds of a loss of (logits, target), with the smallest input that shows what does not.

    A note is a property that differs by design. The exit code is 1 when a check fails.

    Example: [bold]spineloss losses check "monai.losses.DiceLoss(sigmoid=true)"[/bold]
    """
    from spineloss.lossbook.checks import Outcome
    from spineloss.lossbook.linter import lint, table
    from spineloss.text import parse

    findings = list(lint(parse(spec)))
    _show(table(findings))
    for finding in findings:
        if finding.outcome is not Outcome.PASS:
            _say(f"\n{finding}")
    outcomes = [finding.outcome for finding in findings]
    _say(f"\n{spec}: " + ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome))
    if Outcome.FAIL in outcomes:
        raise typer.Exit(FAILED)


@app.command("shapes")
def shapes_command(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for shapes.csv and the pictures; without it, tables alone."),
    ] = None,
    convention: Annotated[
        str, typer.Option(help="library: each loss as it trains; or seed: the nine rows of Tables 3.1 and 3.2.")
    ] = "library",
    shapes: Annotated[Path | None, typer.Option(help="A file of your own shapes, instead of the seed's.")] = None,
    loss: Annotated[list[str] | None, typer.Option(help="A loss, instead of all; repeatable.")] = None,
) -> None:
    """Compute each loss on small shapes drawn by hand (the seed's chapter 3.6), and draw shapes and curves.

    A file of shapes holds blocks, apart by empty lines: a name with a colon, then rows of equal length in which
    # is foreground found, - foreground missed, + background taken for foreground, . background left alone.

    Example: [bold]spineloss shapes --loss dice --loss "0.8*dice + 0.2*boundary" -o shapes/[/bold]
    """
    from spineloss.lossbook import shapes as toys
    from spineloss.losses import LOSSES

    if convention not in ("library", "seed"):
        raise UserError(f"There is no convention {convention!r}: choose library or seed.")
    if loss and convention == "seed":
        raise UserError("The seed's convention has its own nine rows: leave out --loss, or choose library.")
    chosen = toys.seed_shapes() if shapes is None else toys.read_shapes(shapes)
    specs = loss or list(LOSSES)
    values = toys.seed_table(chosen) if convention == "seed" else toys.library_table(chosen, specs)
    _show_toys(values, toys.MISPRINTS if convention == "seed" and shapes is None else {})
    if output is None:
        return
    from spineloss.figures.shape_plot import draw
    from spineloss.files import write_csv

    rows = [{"loss": spec, **row} for spec, row in values.items()]
    write_csv(output / "shapes.csv", rows, list(rows[0]))
    for path in [output / "shapes.csv", *draw(chosen, specs, output)]:
        _say(str(path))


def _show_toys(values: Mapping[str, Mapping[str, float]], misprints: Mapping[tuple[str, str], float]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("loss", *map(escape, next(iter(values.values()))))
    for name, row in values.items():
        cells = (f"{value:.4f}{'*' if (name, place) in misprints else ''}" for place, value in row.items())
        table.add_row(escape(name), *cells)
    _show(table)
    if misprints:
        _say("* The seed's table is misprinted here:")
    for (name, place), printed in misprints.items():
        _say(f"  {name}, {place}: {values[name][place]:.4f} is right, {printed:.4f} is printed")


@app.command("meta")
def meta_command(
    source: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of volumes, or a CSV manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the loss is written.")],
    imitate: Annotated[str, typer.Option(help="The loss to start from.")] = "cross_entropy",
    objective: Annotated[str, typer.Option(help="The loss that judges each step.")] = "dice_cross_entropy",
    minutes: Annotated[float, typer.Option(min=0, help="Of learning; an earlier stop is possible.")] = 30,
    grid: Annotated[str, typer.Option(help="(Z, Y, X) voxels of the networks' input.")] = "16,32,32",
    width: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Cases a batch.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of each network.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 21,
) -> None:
    """Learn a loss on two thirds of the cases, over several fresh networks; the last third stays untouched.

    Then name it in a study: [bold]meta(meta/meta.safetensors)[/bold]. The same command goes on after a stop.

    Example: [bold]spineloss meta volumes/ -o meta/ --minutes 60[/bold]
    """
    _say(f"Learning a loss in {output}")
    from spineloss.search.fresh import Budget
    from spineloss.search.meta_learning import Settings, learn

    settings = Settings(imitate, objective, Budget(_grid(grid), width, batch, epochs, seed))
    try:
        for each in learn(source, settings, output, minutes=minutes, progress=_say):
            _say(str(each))
    except KeyboardInterrupt:
        _say("Stopped; the same command goes on from here.")
        raise typer.Exit(STOPPED) from None
    _say(f"The loss is meta({output / 'meta.safetensors'})")


@app.command("evolve")
def evolve_command(
    source: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of volumes, or a CSV manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The search's folder.")],
    minutes: Annotated[
        float, typer.Option(min=0, help="Of the whole search; earlier ones in the folder count.")
    ] = 30,
    generations: Annotated[
        int | None, typer.Option(min=1, help="At most; with it the winner is the same on any machine.")
    ] = None,
    grid: Annotated[str, typer.Option(help="(Z, Y, X) voxels of the networks' input.")] = "16,32,32",
    width: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Cases a batch.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 8,
    processes: Annotated[int, typer.Option(min=1, help="That train; the winner does not depend on it.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 21,
) -> None:
    """Search a loss by genetic programming on two thirds of the cases; the last third stays untouched.

    Then name it in a study as it is printed: [bold]evolved(...)[/bold]. The same command goes on after a stop.

    Example: [bold]spineloss evolve volumes/ --minutes 30 -o evolved/[/bold]
    """
    _say(f"Searching a loss in {output}")
    from spineloss.search.fresh import Budget
    from spineloss.search.genetic import GeneticSearch

    budget = Budget(_grid(grid), width, batch, epochs, seed)
    try:
        with console.status("") as status:
            search = GeneticSearch(
                source,
                budget,
                output,
                processes=processes,
                progress=_say,
                watch=lambda scored: status.update(_live_line(search.search.state)),
            )
            for each in search.generations(minutes, generations):
                _say(_generation_line(each))
            _say("Training the finalists again, on other seeds and folds")
            winner = search.finish()
    except KeyboardInterrupt:
        _say("Stopped; the same command goes on from here.")
        raise typer.Exit(STOPPED) from None
    _show_winner(winner, output)


def _grid(text: str) -> tuple[int, int, int]:
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) > 0 and int(size) % 16 == 0 for size in sizes):
        raise UserError(f"The grid {text!r} is not three multiples of 16: write it as 16,64,64.")
    return tuple(int(size) for size in sizes)


def _live_line(state: Any) -> str:
    from rich.markup import escape

    from spineloss.learned.formula import Evolved

    best = max(state.known.values(), key=lambda scored: scored.fitness)
    count = f"{len(state.known)} formulas trained, {len(state.generations)} generations"
    return f"{count}; best so far {100 * best.fitness:.2f}: {escape(Evolved(best.formula).text)}"


def _generation_line(generation: Any) -> str:
    from spineloss.grammar import Text
    from spineloss.learned.formula import Evolved

    text = Evolved(Text("formula", generation.formula).formula()).text
    return (
        f"generation {generation.number}, {generation.seconds:.0f} s: {generation.drawn} drawn, "
        f"{generation.trained} trained, Dice {100 * generation.mean:.2f} ± {100 * generation.std:.2f}, "
        f"best {100 * generation.best:.2f}: {text}"
    )


def _show_winner(winner: Any, folder: Path) -> None:
    for place, finalist in enumerate(winner.finalists, 1):
        scores = ", ".join(f"{100 * score:.2f}" for score in finalist.repeats)
        _say(
            f"finalist {place}: {100 * finalist.mean:.2f} ({scores}), in the search {finalist.scored.fitness:.4f}"
        )
    _say(f"\nThe winner:  {winner.loss.text}")
    _say(f"in a study:  {winner.loss}")
    _say(f"in LaTeX:    {winner.loss.latex}")
    _say(f"its control: {winner.control}")
    for name in ("winner.json", "split.json", "generations.csv", "fitness.svg", "tree.svg"):
        _say(str(folder / name))


@app.command("predict")
def predict_command(
    source: Annotated[Path, typer.Argument(metavar="STUDY_OR_RUN", help="A study's folder, or one run's.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Volumes, DICOM series, or folders of them.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the masks, or a file for one input.")],
    method: Annotated[
        str | None, typer.Option(help="The study's method; its best by validation Dice if not given.")
    ] = None,
) -> None:
    """Segment new volumes with trained networks: all folds averaged when given a study.

    Example: [bold]spineloss predict study/ new.nii.gz -o masks/[/bold]
    """
    _say(f"Loading {source}")
    from spineloss.study.prediction import Predictor, find_runs, predict

    predictor = Predictor(find_runs(source, method))
    _say(f"Predicting with {predictor.method}, {len(predictor.networks)} network(s)")
    for prediction in predict(predictor, inputs, output):
        _say(f"{prediction.mask}: {prediction.voxels} voxels, {prediction.seconds:.2f} s")
