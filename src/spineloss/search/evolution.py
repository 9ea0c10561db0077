"""Genetic programming of losses: generations of formulas, resumable, the same on any machines."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from spineloss.errors import UserError
from spineloss.files import read_json, write_csv, write_json
from spineloss.grammar import Formula, Text
from spineloss.search.gate import GateVerdict
from spineloss.search.tasks import Compute, Machines
from spineloss.search.variation import Scored, child, random_formula

POPULATION = 24
ELITES = 4
DRAWN = 64  # formulas that are drawn at a time, until enough have passed the gate
FINALISTS, REPEATS = 6, 4  # formulas that are trained again, and how often

Fitness = Callable[[Formula, int], float]
Test = Callable[[Formula], GateVerdict]


@dataclass(frozen=True)
class Generation:
    """What happened in a generation, and what it left.

    Args:
        number: 0 is the random one.
        drawn: formulas that were made.
        passed: of them, how many passed the gate.
        trained: of those, how many were new and trained.
        best, mean, median, std: fitness of the population.
        nodes: mean size of a formula.
        seconds: it took.
        formula: the best one's text.
    """

    number: int
    drawn: int
    passed: int
    trained: int
    best: float
    mean: float
    median: float
    std: float
    nodes: float
    seconds: float
    formula: str


@dataclass(frozen=True)
class Finalist:
    """A formula of the final round, with its fitness in the search, and in each repeat."""

    scored: Scored
    repeats: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the repeats, which decides."""
        return statistics.mean(self.repeats)


@dataclass
class EvolutionState:
    """All that the next generation depends on, as plain data.

    Args:
        settings: what the search was begun with.
        known: every formula that was trained, by its gradient; another one of that gradient is not trained again.
        population: gradients, the best first.
        generations: the records.
    """

    settings: Any
    known: dict[str, Scored] = field(default_factory=dict)
    population: list[str] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of all generations."""
        return sum(generation.seconds for generation in self.generations)

    @property
    def first(self) -> Formula:
        """The first random formula that passed the gate: what chance gives."""
        return next(iter(self.known.values())).formula

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        known = {gradient: [str(scored.formula), scored.fitness] for gradient, scored in self.known.items()}
        return asdict(self) | {"known": known}


class Evolution:
    """A population of formulas that is selected by the gate and by fitness.

    Args:
        test: the gate; it is called on the machines.
        fitness: of a formula and the repeat, more is better; it is called on the machines.
        seed: of every draw.
        folder: gets `state.json` and `generations.csv` after each generation; a search goes on from there.
        settings: plain data that the fitness depends on; a folder holds one search.
        machines: that test and train; the result does not depend on them.
        watch: called with every formula that was trained.

    Raises:
        UserError: the folder holds a search with other settings.
    """

    def __init__(
        self,
        test: Test,
        fitness: Fitness,
        *,
        seed: int,
        folder: Path,
        settings: Any,
        machines: Machines,
        watch: Callable[[Scored], None],
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.machines = machines
        self.watch = watch
        self.work = (test, fitness)
        self.state = _begun(folder, {"seed": seed, **settings})

    def generations(
        self, goes_on: Callable[[EvolutionState], bool], seconds: float = math.inf
    ) -> Iterator[Generation]:
        """Breed while `goes_on`, yielding each generation when it is in the folder.

        Args:
            goes_on: whether to begin another generation.
            seconds: after which, those of earlier starts counted, drawing ends even where too few formulas pass.
        """
        until = time.perf_counter() + seconds - self.state.seconds
        with self.machines.opened(self.work, self.folder) as (quick, long):
            while goes_on(self.state):
                generation = self._generation(quick, long, until)
                if generation is None:
                    return
                yield generation

    def final(self) -> list[Finalist]:
        """Train the best formulas of the whole search again, on other seeds and folds; the best first.

        Raises:
            UserError: no formula was trained.
        """
        if not self.state.known:
            raise UserError(f"{self.folder}: no formula passed the gate in time; search for more minutes.")
        best = sorted(self.state.known.values(), key=_rank)[:FINALISTS]
        asked = [(scored.formula, number) for scored in best for number in range(1, REPEATS + 1)]
        with self.machines.opened(self.work, self.folder) as (_, long):
            scores = long(_train, asked)
            finalists = [Finalist(scored, tuple(islice(scores, REPEATS))) for scored in best]
        return sorted(finalists, key=lambda finalist: -finalist.mean)

    def _generation(self, quick: Compute, long: Compute, until: float) -> Generation | None:
        """The next one; none where the time ended first, but for a first generation of what had passed by then."""
        start, state = time.perf_counter(), self.state
        elites = state.population[:ELITES]
        wanted = POPULATION - len(elites)
        drawn, children = self._draw(quick, wanted, elites, until)
        if len(children) < wanted and (elites or not children):
            return None
        new = {gradient: formula for gradient, formula in children.items() if gradient not in state.known}
        scores = long(_train, [(formula, 0) for formula in new.values()])
        for (gradient, formula), fitness in zip(new.items(), scores, strict=True):
            state.known[gradient] = Scored(formula, fitness)
            self.watch(state.known[gradient])
        state.population = sorted([*elites, *children], key=lambda gradient: _rank(state.known[gradient]))
        state.generations.append(self._record(drawn, len(children), len(new), time.perf_counter() - start))
        write_json(self.folder / "state.json", state.plain())
        write_csv(self.folder / "generations.csv", map(vars, state.generations), list(vars(state.generations[0])))
        return state.generations[-1]

    def _draw(
        self, quick: Compute, wanted: int, elites: Sequence[str], until: float
    ) -> tuple[int, dict[str, Formula]]:
        """How many were drawn until enough had passed or time was over; and those, by gradients that differ."""
        parents = [self.state.known[gradient] for gradient in self.state.population]
        chosen: dict[str, Formula] = {}
        drawn = 0
        while len(chosen) < wanted and time.perf_counter() < until:
            keys = [(self.seed, len(self.state.generations), drawn + place) for place in range(DRAWN)]
            formulas = [child(parents, *key) if parents else random_formula(*key) for key in keys]
            drawn += DRAWN
            for formula, verdict in zip(formulas, quick(_test, [(formula,) for formula in formulas]), strict=True):
                if verdict.passed and verdict.gradient not in elites and len(chosen) < wanted:
                    chosen.setdefault(verdict.gradient, formula)
        return drawn, chosen

    def _record(self, drawn: int, passed: int, trained: int, seconds: float) -> Generation:
        population = [self.state.known[gradient] for gradient in self.state.population]
        scores = [scored.fitness for scored in population]
        return Generation(
            number=len(self.state.generations),
            drawn=drawn,
            passed=passed,
            trained=trained,
            best=max(scores),
            mean=statistics.mean(scores),
            median=statistics.median(scores),
            std=statistics.pstdev(scores),
            nodes=statistics.mean(len(list(scored.formula.nodes())) for scored in population),
            seconds=seconds,
            formula=str(population[0].formula),
        )


def _rank(scored: Scored) -> tuple[float, int, str]:
    """The best first; of equals the shortest."""
    text = str(scored.formula)
    return -scored.fitness, len(text), text


def _begun(folder: Path, settings: dict[str, Any]) -> EvolutionState:
    path = folder / "state.json"
    if not path.exists():
        return EvolutionState(settings)
    plain = read_json(path)
    try:
        begun = _state_of(plain)
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{path} is damaged: restore it, or delete the folder to search anew.") from error
    if begun.settings != settings:
        raise UserError(f"{folder} holds a search with other settings or data: choose another folder.")
    return begun


def _state_of(plain: dict[str, Any]) -> EvolutionState:
    known = {
        gradient: Scored(Text("formula", text).formula(), float(fitness))
        for gradient, (text, fitness) in plain["known"].items()
    }
    if not known.keys() >= set(plain["population"]):
        raise ValueError("the population holds a formula that was never trained")
    generations = [Generation(**each) for each in plain["generations"]]
    return EvolutionState(plain["settings"], known, plain["population"], generations)


def _test(work: tuple[Test, Fitness], formula: Formula) -> GateVerdict:
    return work[0](formula)


def _train(work: tuple[Test, Fitness], formula: Formula, repeat: int) -> float:
    return work[1](formula, repeat)
