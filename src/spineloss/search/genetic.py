"""A genetic search on a folder of volumes: its split, its generations, its winner and the pictures of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from spineloss.data.cache import Cache
from spineloss.data.preprocessing import resize_mask
from spineloss.errors import UserError
from spineloss.files import write_json
from spineloss.learned.formula import Evolved
from spineloss.search.card import Learned, write_card
from spineloss.search.evolution import FINALISTS, REPEATS, Evolution, EvolutionState, Finalist, Generation
from spineloss.search.fitness import TrainingFitness
from spineloss.search.fitness_curve import draw_fitness, write_tree
from spineloss.search.fresh import Budget
from spineloss.search.gate import Gate
from spineloss.search.split import QUARTERS, prepare_search, write_split
from spineloss.search.tasks import Machines
from spineloss.search.variation import Scored

PROBES = 2  # masks that the gate tests with


@dataclass(frozen=True)
class Winner:
    """The best of the finalists, and the control."""

    finalists: list[Finalist]
    loss: Evolved
    control: Evolved


class GeneticSearch:
    """A search that may look at two thirds of the cases; the last third stays for the comparison.

    Args:
        source: folder of volumes, or a CSV manifest.
        budget: of each training, and the seed of every draw.
        folder: gets `split.json` at once, `state.json` and `generations.csv` after each generation, and in the end
            `winner.json`, `card.md` and the pictures. A search that was stopped goes on from there.
        machines: that test and train; the winner does not depend on them.
        progress: called with a line about what is being done before the search.
        watch: called with every formula that was trained.
        cache: of prepared cases; the user's by default.

    Raises:
        UserError: the data has problems or too few cases, or the folder holds another search.
    """

    def __init__(
        self,
        source: Path,
        budget: Budget,
        folder: Path,
        *,
        machines: Machines,
        progress: Callable[[str], None],
        watch: Callable[[Scored], None],
        cache: Cache | None = None,
    ) -> None:
        data, cases = prepare_search(source, budget.grid, budget.seed, cache=cache, progress=progress)
        if len(cases.training) < QUARTERS:
            raise UserError(f"{source} leaves {len(cases.training)} cases to learn on: add cases.")
        samples = [data.samples[case] for case in sorted([*cases.training, *cases.validation])]
        half = tuple(max(4, size // 2) for size in budget.grid)
        chosen = [sample.target for sample in samples if sample.case in cases.training][:PROBES]
        masks = torch.stack([resize_mask(target, half).float() for target in chosen])
        self.source, self.data, self.cases, self.budget = source, data, cases, budget
        self.folder = folder
        self.evolution = Evolution(
            Gate(masks),
            TrainingFitness(samples, budget, data.groups),
            seed=budget.seed,
            folder=folder,
            settings={"budget": budget.plain(), "data": data.digest},
            machines=machines,
            watch=watch,
        )
        write_split(folder, budget.seed, cases)

    @property
    def state(self) -> EvolutionState:
        """What was found so far."""
        return self.evolution.state

    def generations(self, minutes: float, most: int | None = None) -> Iterator[Generation]:
        """Generations until the minutes, those of an earlier start counted, leave just the time for the finals.

        Args:
            minutes: of the whole search.
            most: generations at most; with it a search is repeatable to the last digit on any machine.
        """

        def goes_on(state: EvolutionState) -> bool:
            enough = most is not None and len(state.generations) >= most
            return not enough and (not state.generations or _after_next(state) < 60 * minutes)

        yield from self.evolution.generations(goes_on, 60 * minutes)
        if self.state.generations:
            draw_fitness(self.state.generations, self.folder / "fitness.svg")

    def finish(self) -> Winner:
        """Train the finalists again, and write the winner, its tree and its card."""
        finalists = self.evolution.final()
        winner = Winner(finalists, Evolved(finalists[0].scored.formula), Evolved(self.state.first))
        write_json(
            self.folder / "winner.json",
            {
                "loss": str(winner.loss),
                "text": winner.loss.text,
                "latex": winner.loss.latex,
                "control": str(winner.control),
                "finalists": [
                    {
                        "formula": str(finalist.scored.formula),
                        "searched": finalist.scored.fitness,
                        "repeats": finalist.repeats,
                        "mean": finalist.mean,
                    }
                    for finalist in finalists
                ],
                "seconds": self.state.seconds,
            },
        )
        write_tree(winner.loss, self.folder / "tree.svg")
        write_card(self.folder, self._learned(winner), self.source, self.data, self.cases, self.budget)
        return winner

    def _learned(self, winner: Winner) -> Learned:
        best, generations = winner.finalists[0], self.state.generations
        trained = sum(generation.trained for generation in generations)
        return Learned(
            f"a formula, bred in {len(generations)} generations",
            str(winner.loss),
            winner.loss.text,
            winner.loss,
            trained + sum(len(finalist.repeats) for finalist in winner.finalists),
            self.state.seconds,
            f"Dice {100 * best.scored.fitness:.1f} % as it was found, {100 * best.mean:.1f} % trained again on "
            f"{len(best.repeats)} other seeds and folds. Its control is a random formula: `{winner.control}`",
        )


def _after_next(state: EvolutionState) -> float:
    """Seconds that the search will have taken after one more generation and the finals."""
    trained = sum(generation.trained for generation in state.generations)
    finals = FINALISTS * REPEATS * state.seconds / trained
    return state.seconds + state.generations[-1].seconds + finals
