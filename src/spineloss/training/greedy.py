"""Greedy search of a loss's parameters while training: each step tries changes of them and takes the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, ClassVar, Literal, get_args

import torch

from spineloss.data.batches import Batch, BatchPair, Target
from spineloss.errors import UserError
from spineloss.grammar import Text
from spineloss.losses import Loss, Parameter
from spineloss.seeding import generator
from spineloss.training.gradients import Forward, Gradients
from spineloss.training.precision import in_full_precision
from spineloss.training.rehearsal import Rehearsal
from spineloss.training.steps import LossNotFinite, Plain, Step

Values = dict[str, float]
Moves = Literal["product", "single"]
Score = Literal["train", "next", "random"]
Total = Literal["free", "kept"]

ROUNDING = 1e-6  # relative; in single precision scores were seen to be off by 8e-7


@dataclass(frozen=True)
class GreedySearch:
    """Which changes of a loss's parameters a step tries, and how it chooses.

    Args:
        down: factor of the action that lowers a parameter, above 0, below 1.
        up: factor of the action that raises it, above 1.
        every: steps from one search to the next, at least 1; the parameters stay as they are in between.
        moves: `product` tries every combination of actions on all parameters, 3^p; `single` changes one parameter
            at a time, 1 + 2p.
        score: what a trial is judged by: the epoch's `next` batch, the one it was trained on (`train`, as
            published), or nothing: a `random` one is taken, the control.
        total: `kept` scales alpha and beta so that their sum stays.

    References:
        Seo et al., Closing the gap between deep neural network modeling and biomedical decision-making metrics in
        segmentation via adaptive loss functions, TMI 40, 2021 (Sec. 5.1 of the thesis).
    """

    name: ClassVar[str] = "greedy"

    down: float = 0.9
    up: float = 1.1
    every: int = 1
    moves: Moves = "product"
    score: Score = "next"
    total: Total = "free"

    def __post_init__(self) -> None:
        if not 0 < self.down < 1:
            raise UserError(f"greedy: down={self.down:g} is out of range; it must be above 0 and below 1.")
        if not 1 < self.up < math.inf:
            raise UserError(f"greedy: up={self.up:g} is out of range; it must be above 1.")
        if not isinstance(self.every, int) or self.every < 1:
            raise UserError(f"greedy: every={self.every} is out of range; it must be whole, at least 1.")
        for key, kind in (("moves", Moves), ("score", Score), ("total", Total)):
            if getattr(self, key) not in get_args(kind):
                raise UserError(
                    f"greedy: {key}={getattr(self, key)} is unknown; it is {', '.join(get_args(kind))}."
                )

    def check(self, loss: Loss) -> None:
        """Refuse a loss that has nothing to search.

        Raises:
            UserError: the loss declares no parameter, or not those whose total is to be kept; or it does not train
                a mask, by which candidates are judged.
        """
        if loss.predicts != "mask":
            raise UserError(f"greedy judges by masks, and {loss} trains a distance map: choose another loss.")
        names = loss.tunable()
        if not names:
            raise UserError(f"greedy searches the parameters of a loss, and {loss} has none.")
        if self.total == "kept" and not {"alpha", "beta"} <= set(names):
            raise UserError(f"greedy: total=kept is of alpha and beta, and {loss} has {', '.join(names)}.")

    def candidates(self, values: Mapping[str, float], parameters: Mapping[str, Parameter]) -> list[Values]:
        """The values to try, each once, the present ones first; none leaves its declared range.

        >>> from spineloss.losses import Tversky
        >>> present = {"alpha": 0.5, "beta": 10.0}
        >>> [list(tried.values()) for tried in GreedySearch().candidates(present, Tversky().tunable())]
        [[0.5, 10.0], [0.5, 9.0], [0.45, 10.0], [0.45, 9.0], [0.55, 10.0], [0.55, 9.0]]
        """
        found = []
        for factors in self._factors(len(values)):
            tried = {
                name: min(max(value * factor, parameters[name].low), parameters[name].high)
                for (name, value), factor in zip(values.items(), factors, strict=True)
            }
            if self.total == "kept":
                tried = _of_same_total(tried, values)
            inside = all(parameters[name].low <= value <= parameters[name].high for name, value in tried.items())
            if inside and not any(_alike(tried, other) for other in found):
                found.append(tried)
        return found

    def _factors(self, count: int) -> list[tuple[float, ...]]:
        actions = (1.0, self.down, self.up)
        if self.moves == "product":
            return list(product(actions, repeat=count))
        still = (1.0,) * count
        moved = [
            still[:place] + (action,) + still[place + 1 :] for place in range(count) for action in actions[1:]
        ]
        return [still, *moved]

    def __str__(self) -> str:
        return f"greedy({', '.join(f'{item.name}={getattr(self, item.name)}' for item in fields(self))})"


def _alike(one: Values, other: Values) -> bool:
    """Of a kept total, both up is both down but for rounding."""
    return all(math.isclose(one[name], other[name]) for name in one)


def _of_same_total(tried: Values, values: Mapping[str, float]) -> Values:
    before, after = (pair["alpha"] + pair["beta"] for pair in (values, tried))
    return tried | {name: tried[name] * (before / after) for name in ("alpha", "beta") if after}


def parse_search(text: str) -> GreedySearch:
    """The search that a text describes, such as `greedy(every=4, moves=single)`.

    Raises:
        UserError: the text is malformed, or a name or value is unknown or out of range.

    >>> parse_search("greedy(every=4)").every
    4
    """
    return Text("step", text).call().make({GreedySearch.name: GreedySearch})


@dataclass(frozen=True)
class Trials:
    """What one step tried.

    Args:
        candidates: the values, the present ones first.
        losses: of each, before the step.
        scores: of each, after the step: the lower, the better.
        gradients: of each, in the network's parameters.
    """

    candidates: Sequence[Values]
    losses: Sequence[float]
    scores: Sequence[float]
    gradients: Gradients

    @property
    def best(self) -> int:
        """Which one scored best."""
        return first_best(self.scores)


def first_best(scores: Sequence[float]) -> int:
    """The place of the least score, or of the first one that differs from it by rounding alone.

    So the present values, which come first, stay where a change shows nothing: beta does not drift on noise once
    alpha alone matters. They also stay where no score is finite.

    >>> first_best([0.5, 0.4999999, 0.6]), first_best([0.5, 0.49, 0.6]), first_best([math.nan, math.inf])
    (0, 1, 0)
    """
    finite = [score if math.isfinite(score) else math.inf for score in scores]
    limit = min(finite) * (1 + ROUNDING)
    return next(place for place, score in enumerate(finite) if score <= limit)


class Greedy:
    """A plain step whose loss changes its own parameters, always to what the step shows to be best.

    Every candidate is tried as a real step of the real optimiser, clipped as it is, from one forward pass; the
    step that scores best is taken. The score is the root mean square of prediction minus target: the L2 norm, as
    published, over the root of the number of voxels. Of MixUp's two targets, squares are mixed by their shares.

    Args:
        plain: the step; its loss has the values that the search starts from.
        search: what is tried.
        key: of the random choice.

    Raises:
        UserError: the loss has nothing to search.
    """

    def __init__(self, plain: Plain, search: GreedySearch, key: tuple[int | str, ...]) -> None:
        search.check(plain.loss)
        self.plain = plain
        self.search = search
        self.key = key
        self.network = plain.network
        self.rehearsal = Rehearsal(self.network, plain.optimiser, plain.clip_gradient)
        self.parameters = plain.loss.tunable()
        self.values: Values = {name: parameter.default for name, parameter in self.parameters.items()}
        self.done = 0

    def __call__(self, pair: BatchPair) -> Step:
        """Take one step on the pair's batch; the record holds each parameter's value that it was taken with.

        Raises:
            LossNotFinite: the loss is NaN or infinite; the step is not taken.
        """
        candidates = self.candidates()
        if len(candidates) == 1:
            loss = replace(self.plain, loss=self._loss(candidates[0]))(pair.batch).loss
            return self._done(candidates[0], loss)
        return self.take(self.trials(pair, candidates))

    def candidates(self) -> list[Values]:
        """What the next step tries: one candidate, if it does not search."""
        found = self.search.candidates(self.values, self.parameters)
        if self.done % self.search.every:
            return found[:1]
        if self.search.score == "random":
            return [found[generator(*self.key, self.done).integers(len(found))]]
        return found

    def scored(self, pair: BatchPair) -> Batch:
        """The batch of a pair that trials are judged by."""
        return pair.other if self.search.score == "next" else pair.batch

    def trials(self, pair: BatchPair, candidates: Sequence[Values]) -> Trials:
        """Try each candidate; neither the parameters nor the optimiser change.

        Raises:
            LossNotFinite: a candidate's loss is NaN or infinite.
        """
        forward = Forward(self.network, pair.batch.image, self.plain.precision)
        losses, slopes = self._slopes(forward.logits, pair.batch, candidates)
        gradients = forward.gradients(slopes)
        scored, scores = self.scored(pair), []
        for number in range(len(candidates)):
            self.rehearsal.step(gradients.of(number))
            # In half precision rounding would choose among candidates.
            with in_full_precision():
                logits = self.rehearsal(scored.image)
            scores.append(distance(self.plain.loss, logits, scored.targets))
        return Trials(candidates, losses, torch.stack(scores).tolist(), gradients)

    def take(self, trials: Trials) -> Step:
        """Take the step of the best candidate."""
        scale = self.plain.precision.scale
        gradients = trials.gradients.of(trials.best)
        for (parameter, _), gradient in zip(self.rehearsal.pairs, gradients, strict=True):
            parameter.grad = gradient.mul_(scale)
        self.plain.update()
        return self._done(trials.candidates[trials.best], trials.losses[trials.best])

    def state(self) -> dict[str, Any]:
        """The present values, and how many steps were taken."""
        return {"values": self.values, "done": self.done}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.values, self.done = state["values"], state["done"]

    def _loss(self, values: Values) -> Loss:
        return self.plain.loss.tuned(values)

    def _done(self, values: Values, loss: float) -> Step:
        self.values = values
        self.done += 1
        return Step(loss, dict(values))

    def _slopes(
        self, logits: torch.Tensor, batch: Batch, candidates: Sequence[Values]
    ) -> tuple[list[float], torch.Tensor]:
        """Each candidate's loss, and its gradient in the logits: (candidates, N, C, *grid)."""
        losses = [self._loss(values) for values in candidates]
        # One `Inputs` serves all losses: what they share is computed once.
        columns = tuple(dict.fromkeys(column for loss in losses for column in loss.columns))
        parts = [
            (share, replace(self.plain.loss.inputs(logits, target.truth, **target.context()), columns=columns))
            for share, target in batch.targets
        ]
        found, slopes = [], []
        for loss in losses:
            value = sum(share * loss.compute(inputs) for share, inputs in parts)
            slopes += torch.autograd.grad(value, logits, retain_graph=True)
            found.append(value.detach())
        seen = torch.stack(found).tolist()
        for value in seen:
            if not math.isfinite(value):
                raise LossNotFinite(f"the training loss became {value}")
        return seen, torch.stack(slopes)


def distance(loss: Loss, logits: torch.Tensor, targets: Sequence[tuple[float, Target]]) -> torch.Tensor:
    """The root mean square of prediction minus target, in double precision: candidates differ by little.

    sqrt(sum over targets of share * ||P - Y||^2 / voxels)

    Args:
        loss: says how logits and targets are read.
        logits: (N, C, *grid).
        targets: with shares that sum to 1.

    Returns:
        A scalar.
    """
    squares = logits.new_zeros((), dtype=torch.float64)
    for share, target in targets:
        inputs = loss.inputs(logits.double(), target.truth)
        squares += share * inputs.mean((inputs.probabilities - inputs.truth).square()).mean()
    return squares.sqrt()
