"""`spineloss study`: run a study and see how far it is; `spineloss predict`: use its networks."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.live import Live

from spineloss.cli.cluster_options import Address, Cpus, Gpus, Partition
from spineloss.cli.results_commands import print_table
from spineloss.cli.status_view import run_table, view
from spineloss.cli.stopping import Stopped
from spineloss.cli.terminal import FAILED, console, say, show
from spineloss.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Run a cross-validated study of losses and read its results.")

# What several commands ask alike.
Source = Annotated[
    str,
    typer.Argument(metavar="STUDY_FILE", help="A study file, a preset's name, or a study folder to go on with."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The study's folder.")]
Data = Annotated[Path | None, typer.Option(help="Folder of volumes, instead of the file's.")]
Methods = Annotated[list[str] | None, typer.Option(help="A loss, instead of the file's methods; repeatable.")]
Track = Annotated[
    list[str] | None, typer.Option(help="tensorboard or wandb, to follow the training there; repeatable.")
]
Workers = Annotated[
    int, typer.Option(min=1, help="Processes that train at once, each with its share of threads and GPUs.")
]
Kind = Annotated[Literal["here", "ray"], typer.Option(help="This machine, or a Ray cluster.")]
Points = Annotated[
    float, typer.Option(min=0, help="Points of Dice by which a method has to be better to stay in a race.")
]


@app.command()
def run(
    source: Source,
    output: Output = None,
    data: Data = None,
    method: Methods = None,
    track: Track = None,
    workers: Workers = 1,
    engine: Kind = "here",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
) -> None:
    """Train every method on every fold, whatever is not done yet, and print the table.

    The same command on another machine, in the same shared folder, takes its share of the runs.

    Example: [bold]spineloss study run lumbar --data volumes/ --method dice --method focal -o study/[/bold]
    """
    say(f"Loading {source}")
    from spineloss.study import settings
    from spineloss.study.engine import Engine, run_study

    source, output = _places(source, output)
    study = settings.load(source, _overrides(data, method))
    chosen = Engine(engine, workers, address, cpus, gpus)
    _end(_train(run_study(study, output, say, engine=chosen), output, track))


@app.command()
def race(
    source: Source,
    output: Output = None,
    data: Data = None,
    method: Methods = None,
    margin: Points = 1.0,
    track: Track = None,
    workers: Workers = 1,
    engine: Kind = "here",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
) -> None:
    """Find the best loss for less: after each fold and repeat, methods that are surely not the best are dropped.

    A study file without methods races twenty losses, each at three learning rates.

    Example: [bold]spineloss study race study.yaml -o race/ --margin 1[/bold]
    """
    say(f"Loading {source}")
    from spineloss.results.race_table import race_text
    from spineloss.results.racing import Rules
    from spineloss.study.engine import Engine
    from spineloss.study.race import load_race, race_study

    source, output = _places(source, output)
    study = load_race(source, _overrides(data, method))
    chosen = Engine(engine, workers, address, cpus, gpus)
    failed = _train(race_study(study, output, say, engine=chosen, rules=Rules(margin=margin / 100)), output, track)
    print(f"\n{race_text(output)}")
    _end(failed)


def _places(source: str, output: Path | None) -> tuple[str, Path]:
    """The study file, and the folder of its results: a study's own, or one beside the file."""
    folder = Path(source)
    if os.path.exists(folder / "study.yaml"):  # Path.exists raises for a name that is too long
        return str(folder / "study.yaml"), output or folder
    return source, output or Path(folder.stem)


def _overrides(data: Path | None, method: list[str] | None) -> dict[str, Any]:
    return ({"data": data} if data else {}) | ({"methods": method} if method else {})


def _train(events: Any, output: Path, track: list[str] | None) -> int:
    """Follow a training to its end, print the table, and count the failed runs."""
    from spineloss.study.trackers import follow, open_trackers

    trackers = open_trackers(track or [], output)
    try:
        failed = _follow(follow(events, trackers, say), output)
    except Stopped as stop:
        say("Stopped; the same command goes on from here.")
        raise typer.Exit(stop.code) from None
    print_table(output, "last", "text")
    return failed


def _end(failed: int) -> None:
    """End with an error where a run failed."""
    if failed:
        say(f"{failed} run(s) failed; the others are complete.")
        raise typer.Exit(FAILED)


def _follow(events: Any, folder: Path) -> int:
    """Show the events of a study, as a view on a terminal and as lines elsewhere, and count the failed runs."""
    from spineloss.study.status import LiveStatus

    failed = 0
    status: LiveStatus | None = None
    with (
        Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live
    ):
        for event in events:
            if event.epoch is None:
                # A learning rate that fails while it is tried fails no run.
                failed += event.rate is None
                say(f"{event.place}: failed: {event.reason}")
            elif live is None and event.epoch.validation:
                say(_validation_line(event.place, event))
            if live is not None:
                status = status or LiveStatus(folder)
                live.update(view(status.take(event), event.fold), refresh=True)
    return failed


def _validation_line(place: str, event: Any) -> str:
    from spineloss.results.run_folder import epoch_row

    row = epoch_row(event.epoch.plain())
    score = f"validation Dice {100 * row['dice']:.2f}" if "dice" in row else "validation Dice undefined"
    return f"{place}: epoch {event.epoch.epoch}/{event.epochs}, loss {row['train_loss']:.4f}, {score}"


@app.command()
def plan(
    source: Annotated[str, typer.Argument(metavar="STUDY_FILE", help="A study file, or a preset's name.")],
    data: Data = None,
) -> None:
    """Train two epochs of each method; estimate how long the study takes here, and how many epochs it needs.

    Example: [bold]spineloss study plan study.yaml[/bold]
    """
    say(f"Loading {source}")
    from spineloss.study import settings
    from spineloss.study.plan import plan as plan_study
    from spineloss.study.proposal import ENOUGH

    study = settings.load(source, {"data": data} if data else {})
    found = plan_study(study, say)
    for each in found.methods:
        say(f"{each.method}: {each.trainings} trainings, {each.hours:.2f} h")
    say(f"Together {sum(each.hours for each in found.methods):.2f} h, one after the other on this machine.")
    say(f"{study.epochs} epochs are {study.epochs * found.steps} optimiser steps, {found.steps} per epoch.")
    if study.epochs < found.enough:
        say(f"That is few: before {ENOUGH} steps ({found.enough} epochs), curves still rise and cross.")
    say("The table of the finished study reports whether the curves have settled.")


@app.command()
def submit(
    source: Annotated[str, typer.Argument(metavar="STUDY_FILE", help="A study file, or a preset's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The study's folder, seen by all machines.")],
    data: Data = None,
    race: Annotated[bool, typer.Option("--race", help="Race the methods, as `study race` does.")] = False,
    margin: Points = 1.0,
    workers: Annotated[int, typer.Option(min=1, help="Jobs of the array.")] = 4,
    hours: Annotated[float, typer.Option(min=0.1, help="That a job may take before it is queued again.")] = 24,
    cpus: Cpus = 4,
    gpus: Annotated[int, typer.Option(min=0, max=1, help="GPUs of each job.")] = 0,
    partition: Partition = None,
    cluster: Annotated[
        Literal["slurm", "local"] | None, typer.Option(help="SLURM, or processes of this machine.")
    ] = None,
) -> None:
    """Submit a study to SLURM as an array of workers that share its folder; the data is prepared here first.

    Example: [bold]spineloss study submit study.yaml -o study/ --workers 8 --gpus 1 --partition gpu[/bold]
    """
    say(f"Loading {source}")
    from spineloss.study import slurm

    submitted = slurm.submit(
        _prepared_race(source, output, data, margin) if race else _prepared(source, output, data),
        None,
        workers=workers,
        hours=hours,
        cpus=cpus,
        gpus=gpus,
        partition=partition,
        cluster=cluster,
    )
    say(f"Submitted {', '.join(job.job_id for job in submitted)}")
    say(f"`spineloss study status {output}` shows how far it is")


def _prepared(source: str, output: Path, data: Path | None) -> Any:
    from spineloss.study import settings
    from spineloss.study.engine import prepare_folder

    return prepare_folder(settings.load(source, _overrides(data, None)), output, say)


def _prepared_race(source: str, output: Path, data: Path | None, margin: float) -> Any:
    from spineloss.results.racing import Rules
    from spineloss.study.race import load_race, prepare_race

    return prepare_race(load_race(source, _overrides(data, None)), output, say, rules=Rules(margin=margin / 100))


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
) -> None:
    """Show how far each run is and the time left.

    Example: [bold]spineloss study status study/[/bold]
    """
    from spineloss.study.status import read_status, summary

    rows = read_status(folder)
    show(run_table(rows))
    say(summary(rows))


@app.command("test")
def score_elsewhere(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Other volumes with masks.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The test's folder.")],
    labels: Annotated[
        str | None, typer.Option(help="Labels there that are what the networks segment, with commas.")
    ] = None,
) -> None:
    """Score all networks of a study on another data set; table, compare and report then read the test's folder.

    Example: [bold]spineloss study test study/ other-scanner/ -o study-elsewhere/[/bold]
    """
    say(f"Loading {folder}")
    from spineloss.study import elsewhere

    elsewhere.score_elsewhere(folder, data, output, say, _labels(labels))
    print_table(output, "last", "text")


def _labels(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"The labels {text!r} are no numbers: write them as 1,2,3.") from error


def predict(
    source: Annotated[Path, typer.Argument(metavar="STUDY_OR_RUN", help="A study's folder, or one run's.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Volumes, DICOM series, or folders; channels: a_0000, a_0001.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the masks, or a file for one input.")],
    method: Annotated[
        str | None, typer.Option(help="The study's method; its best by validation Dice if not given.")
    ] = None,
) -> None:
    """Segment new volumes with trained networks: all folds averaged when given a study.

    Example: [bold]spineloss predict study/ new.nii.gz -o masks/[/bold]
    """
    say(f"Loading {source}")
    from spineloss.study import prediction

    predictor = prediction.Predictor(prediction.find_runs(source, method))
    say(f"Predicting with {predictor.method}, {len(predictor.networks)} network(s)")
    failures = []
    for done in prediction.predict(predictor, inputs, output):
        if isinstance(done, prediction.Failure):
            failures.append(done)
            continue
        say(f"{done.mask}: {done.voxels} voxels, {done.seconds:.2f} s")
        for remark in done.remarks:
            say(f"Note: {remark}")
    for failure in failures:
        say(failure.reason)
    if failures:
        say(f"{len(failures)} volume(s) could not be segmented; the others are written.")
        raise typer.Exit(FAILED)


@app.command()
def new(
    source: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of volumes, or a CSV manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The study file.")] = Path("study.yaml"),
) -> None:
    """Write a commented study file for the data that a folder holds, and its schema beside it.

    Example: [bold]spineloss study new volumes/ -o study.yaml[/bold]
    """
    say(f"Checking {source}")
    from spineloss.study.new_study import write_new_study

    write_new_study(source, output)
    say(f"{output}: edit its methods, then: spineloss study run {output} -o {output.stem}/")


@app.command()
def schema() -> None:
    """Print the JSON schema of the study file, which editors use to complete its keys.

    Example: [bold]spineloss study schema > study.schema.json[/bold]
    """
    import json

    from spineloss.study import new_study

    print(json.dumps(new_study.schema(), indent=1))
