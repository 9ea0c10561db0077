"""`spineloss meta` and `spineloss evolve`: search a loss."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from spineloss.cli.cluster_options import Address, Cpus, Gpus, Partition
from spineloss.cli.stopping import Stopped
from spineloss.cli.terminal import console, say
from spineloss.errors import UserError

app = typer.Typer()

# Where a search trains is asked alike by both.
Kind = Annotated[
    Literal["here", "ray", "slurm"], typer.Option(help="This machine, a Ray cluster, or array jobs of SLURM.")
]
Hours = Annotated[float, typer.Option(min=0.1, help="That SLURM gives to a task.")]


@app.command()
def meta(
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
    processes: Annotated[int, typer.Option(min=1, help="That train the networks which judge a loss.")] = 1,
    engine: Kind = "here",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    hours: Hours = 2,
    partition: Partition = None,
) -> None:
    """Learn a loss on two thirds of the cases, over several fresh networks; the last third stays untouched.

    Then name it in a study: [bold]meta(meta/meta.safetensors)[/bold]. The same command goes on after a stop.

    Example: [bold]spineloss meta volumes/ -o meta/ --minutes 60[/bold]
    """
    say(f"Learning a loss in {output}")
    from spineloss.search.fresh import Budget
    from spineloss.search.meta_learning import MetaSettings, learn
    from spineloss.search.tasks import Machines

    settings = MetaSettings(imitate, objective, Budget(_grid(grid), width, batch, epochs, seed))
    machines = Machines(engine, processes, address, cpus, gpus, hours, partition)
    try:
        for each in learn(source, settings, output, minutes=minutes, progress=say, machines=machines):
            say(str(each))
    except Stopped as stop:
        say("Stopped; the same command goes on from here.")
        raise typer.Exit(stop.code) from None
    # In quotes a text takes any name, with spaces or without a slash.
    say(f'The loss is meta("{output / "meta.safetensors"}")')


@app.command()
def evolve(
    source: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of volumes, or a CSV manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The search's folder.")],
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Of the whole search, with those already spent in the folder: 30 by default."),
    ] = None,
    generations: Annotated[
        int | None,
        typer.Option(min=1, help="How many, if no minutes are given; then the winner is the same on any machine."),
    ] = None,
    grid: Annotated[str, typer.Option(help="(Z, Y, X) voxels of the networks' input.")] = "16,32,32",
    width: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Cases a batch.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 8,
    processes: Annotated[int, typer.Option(min=1, help="How many train at once; the winner stays the same.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 21,
    engine: Kind = "here",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    hours: Hours = 2,
    partition: Partition = None,
) -> None:
    """Search a loss by genetic programming on two thirds of the cases; the last third stays untouched.

    Then name it in a study as it is printed: [bold]evolved(...)[/bold]. The same command goes on after a stop.

    Example: [bold]spineloss evolve volumes/ --minutes 30 -o evolved/[/bold]
    """
    say(f"Searching a loss in {output}")
    from spineloss.search.fresh import Budget
    from spineloss.search.genetic import GeneticSearch
    from spineloss.search.tasks import Machines

    budget = Budget(_grid(grid), width, batch, epochs, seed)
    if minutes is None:
        minutes = math.inf if generations else 30
    try:
        with console.status("") as status:
            search = GeneticSearch(
                source,
                budget,
                output,
                machines=Machines(engine, processes, address, cpus, gpus, hours, partition),
                progress=say,
                watch=lambda scored: status.update(_live_line(search.state)),
            )
            for each in search.generations(minutes, generations):
                say(_generation_line(each))
            say("Training the finalists again, on other seeds and folds")
            winner = search.finish()
    except Stopped as stop:
        say("Stopped; the same command goes on from here.")
        raise typer.Exit(stop.code) from None
    _print_winner(winner, output)


def _grid(text: str) -> tuple[int, int, int]:
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) > 0 and int(size) % 16 == 0 for size in sizes):
        raise UserError(f"The grid {text!r} is not three multiples of 16: write it as 16,64,64.")
    z, y, x = map(int, sizes)
    return z, y, x


def _live_line(state: Any) -> str:
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


def _print_winner(winner: Any, folder: Path) -> None:
    for place, finalist in enumerate(winner.finalists, 1):
        scores = ", ".join(f"{100 * score:.2f}" for score in finalist.repeats)
        searched = 100 * finalist.scored.fitness
        say(f"finalist {place}: {100 * finalist.mean:.2f} ({scores}), in the search {searched:.2f}")
    say(f"\nThe winner:  {winner.loss.text}")
    say(f"in a study:  {winner.loss}")
    say(f"in LaTeX:    {winner.loss.latex}")
    say(f"its control: {winner.control}")
    for name in ("winner.json", "split.json", "generations.csv", "fitness.svg", "tree.svg", "card.md"):
        say(str(folder / name))
