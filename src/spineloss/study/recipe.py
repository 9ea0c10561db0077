"""What a trial trains with: its loss, and what changes the loss while training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spineloss import weighting
from spineloss.data.labelling import Labelling
from spineloss.data.preprocessing import IGNORED
from spineloss.kernels.target_maps import MapName
from spineloss.losses import Compound, Loss, WeightedSum
from spineloss.losses.convention import Convention
from spineloss.results.run_folder import Run
from spineloss.study.method import Method, Trial
from spineloss.text import parse
from spineloss.training import greedy
from spineloss.training.greedy import GreedySearch
from spineloss.training.phases import CoarseLoss, Phase
from spineloss.weighting import Policy, Shuffled, Terms


@dataclass(frozen=True)
class Recipe:
    """The loss of a run, and what changes while training, if anything: its weights, its parameters or all of it.

    In phases it is the loss of the last one.
    """

    loss: Loss
    policy: Policy | None = None
    search: GreedySearch | None = None
    phases: tuple[Phase, ...] = ()

    @property
    def needs(self) -> frozenset[MapName]:
        """Names of the target's maps that its losses read."""
        return self.loss.needs.union(*(phase.loss.needs for phase in self.phases))

    def texts(self) -> list[str]:
        """Its parts as texts: the same texts train the same network."""
        return [str(part) for part in (self.loss, self.policy, self.search, *self.phases) if part is not None]


def convention(labelling: Labelling) -> Convention:
    """How losses read the outputs and targets of a labelling.

    The background of exclusive structures counts in cross-entropies alone: as in nnU-Net, overlaps and distances
    are averaged over the structures.
    """
    ignore = None if labelling.ignore is None else IGNORED
    return Convention(activation=labelling.activation, ignore=ignore, background=not labelling.exclusive)


def recipe(
    trial: Trial,
    adaptive: Run,
    labelling: Labelling,
    *,
    epoch: int,
    run: int,
    key: tuple[int, int],
    folder: Path = Path(),
) -> Recipe:
    """What a trial trains with.

    The random control takes the adaptive run's own weights in a random order: their mean and spread are the same,
    their timing is lost. Of a tuning it takes a random change each step. The average control holds the mean of the
    adaptive run's own weights or parameters over the run fixed.

    Args:
        trial: a method, or a control of one.
        adaptive: the finished run of the method itself on the same fold, which `needs_adaptive` trials read.
        labelling: what targets and outputs mean.
        epoch: steps per epoch.
        run: steps of the run.
        key: (seed, fold).
        folder: where relative paths in the loss's text start.
    """
    if trial.method.phases:
        return _in_phases(trial.method, labelling, folder)
    loss = parse(trial.method.loss, folder).with_convention(convention(labelling))
    if trial.method.tuning is not None:
        return _tuned(trial, loss, adaptive)
    if trial.method.weighting is None:
        return Recipe(loss)
    if trial.control is None:
        return Recipe(loss, weighting.parse_weighting(trial.method.weighting, epoch=epoch, run=run))
    if trial.control == "uniform":
        return Recipe(_fixed(loss, dict.fromkeys(loss.names, 1 / len(loss.names))))
    weights = adaptive.trajectory().weights
    if trial.control == "average":
        return Recipe(_fixed(loss, _average(weights)))
    return Recipe(loss, Shuffled(weights, key))


def _in_phases(method: Method, labelling: Labelling, folder: Path) -> Recipe:
    losses = [
        parse(phase.loss or method.loss, folder).with_convention(convention(labelling)) for phase in method.phases
    ]
    phases = [
        Phase(phase.epochs, CoarseLoss(loss, labelling) if phase.train == "encoder" else loss, phase.train)
        for phase, loss in zip(method.phases, losses, strict=True)
    ]
    return Recipe(losses[-1], phases=tuple(phases))


def _tuned(trial: Trial, loss: Loss, adaptive: Run) -> Recipe:
    search = greedy.parse_search(trial.method.tuning)
    if trial.control is None:
        return Recipe(loss, search=search)
    if trial.control == "random":
        return Recipe(loss, search=replace(search, score="random"))
    return Recipe(loss.tuned(_average(adaptive.trajectory().course[1])))


def needs_adaptive(trial: Trial) -> bool:
    """Whether a trial reads the trajectory of its method's own run, which then comes first."""
    return trial.control == "average" or (trial.control == "random" and trial.method.adapts == "weights")


def _average(weights: Sequence[Terms]) -> Terms:
    return {name: math.fsum(row[name] for row in weights) / len(weights) for name in weights[0]}


def _fixed(loss: WeightedSum, weights: Terms) -> Compound:
    terms = [(weights[name], term) for name, term in zip(loss.names, loss.losses, strict=True)]
    return Compound(terms).with_convention(loss.convention)
