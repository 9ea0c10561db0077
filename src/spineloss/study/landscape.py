"""The loss landscape around a finished run's trained network."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch.func import functional_call

from spineloss.data.batches import Target, seen
from spineloss.errors import UserError
from spineloss.figures.landscape_plot import draw_landscape
from spineloss.files import write_atomically
from spineloss.losses import Loss
from spineloss.results.study_folder import read_folds
from spineloss.results.surface import Tensors, direction, filters_of, surface
from spineloss.seeding import seed_of
from spineloss.study.prediction import Predictor, find_runs
from spineloss.study.preparation import prepare_again
from spineloss.study.recipe import convention
from spineloss.study.settings import load
from spineloss.text import parse

DOTS_PER_INCH = 150


def write_landscape(
    source: Path, specs: Sequence[str], *, points: int, span: float, progress: Callable[[str], None]
) -> Iterator[Path]:
    """Evaluate losses around a run's trained network, on its validation cases, and draw them.

    A loss is the mean over the cases, each as the network sees it, not augmented: whole, or the one patch that the
    first epoch would show.

    Args:
        source: the run's folder, in its study's.
        specs: texts of losses; the run's own if there is none.
        points: along each direction, odd.
        span: of each direction, in lengths of the trained filters.
        progress: receives a line about what is being done.

    Returns:
        The files written in the run's folder: the numbers, and two pictures.

    Raises:
        UserError: no finished run is there, its data is gone, or an argument is out of range.
    """
    # Path.exists raises for a name that is too long; what tries a learning rate lies one folder deeper than a run.
    if not os.path.exists(source / "run.json") or source.resolve().parent.parent.name != "runs":
        raise UserError(f"{source} is no run of a study: name a folder such as study/runs/dice/fold-0.")
    (run,) = find_runs(source)
    record = run.record()
    folder = source.resolve().parents[2]
    study = load(folder / "study.yaml")
    data = prepare_again(study, folder, progress)
    cases = [data.samples[case] for case in read_folds(folder)["folds"][record["fold"]]]
    predictor = Predictor([run])
    (network,) = predictor.networks
    texts = {spec: parse(spec) for spec in specs} or {record["loss"]: parse(record["loss"], folder)}
    reading = convention(data.labelling)
    losses = {text: loss.with_convention(reading).to(predictor.device) for text, loss in texts.items()}
    weights = dict(network.state_dict())
    keys = [(study.seed, record["fold"], "landscape", axis) for axis in ("alpha", "beta")]
    first, second = (direction(weights, filters_of(network), seed_of(*key)) for key in keys)
    place = (study.seed, record["fold"], 1)
    views = [seen(sample, study.patch, data.labelling, (*place, sample.case)) for sample in cases]
    images = torch.stack([image for image, _ in views]).to(predictor.device).split(study.batch)
    needs = frozenset().union(*(loss.needs for loss in losses.values()))
    targets = [
        Target.of([target], torch.tensor([sample.spacing]), needs, data.labelling).each(
            lambda tensor: tensor.to(predictor.device)
        )
        for sample, (_, target) in zip(cases, views, strict=True)
    ]
    evaluate = _evaluation(network, losses, images, targets)
    rows = []
    for row in surface(evaluate, weights, (first, second), points=points, span=span):
        rows.append(row)
        if len(rows) % points == 0:
            progress(f"{len(rows)} of {points**2} points")
    run.write_landscape(rows)
    numbers = run.landscape_file
    yield numbers
    figure = draw_landscape(run.landscape(), f"{record['method']}, fold {record['fold']}")
    for kind in ("svg", "png"):
        picture = numbers.with_suffix(f".{kind}")
        write_atomically(picture, partial(figure.savefig, format=kind, dpi=DOTS_PER_INCH))
        yield picture


def _evaluation(
    network: torch.nn.Module,
    losses: Mapping[str, Loss],
    images: Sequence[torch.Tensor],
    targets: Sequence[Target],
) -> Callable[[Tensors], dict[str, float]]:
    @torch.no_grad()
    def evaluate(weights: Tensors) -> dict[str, float]:
        logits = torch.cat([functional_call(network, dict(weights), (batch,)).float() for batch in images])
        return {
            spec: sum(
                # A loss may count over its batch, so each case is one.
                loss(of_case[None], target.truth, **target.context()).item()
                for of_case, target in zip(logits, targets, strict=True)
            )
            / len(targets)
            for spec, loss in losses.items()
        }

    return evaluate
