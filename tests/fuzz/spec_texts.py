"""Mutated texts of losses, weightings and greedy searches: understood alike again, or refused."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fuzz.harness import Silent
from spineloss.errors import UserError
from spineloss.learned.meta_loss import MetaLoss
from spineloss.losses import LOSSES, Loss
from spineloss.text import parse
from spineloss.training.greedy import parse_search
from spineloss.weighting import POLICIES, parse_weighting

FORMULA = "complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y))))"
LOSS_TEXTS = [
    *LOSSES,
    "0.8*dice + 0.2*boundary",
    "1e0*dice(over=batch) +2*focal(alpha=0.25, gamma=1.45)",
    "tversky(alpha=0.7, beta=0.3) + 0.5*hausdorff",
    "boundary(unit=voxel)",
    "torch.nn.BCEWithLogitsLoss + dice",
    "monai.losses.DiceLoss(sigmoid=true, batch=False)",
    f"evolved({FORMULA})",
    "evolved(add(mean(square(subtract(p, y))), negate(mean(log(power(p, 0.5))))))",
    "meta(x/meta.safetensors)",
    'meta("x/meta.safetensors", digest=sha256.0123456789abcdef)',
]
WEIGHTING_TEXTS = [
    *(str(name) for name in POLICIES),
    "softadapt(beta=0.1, variant=loss_weighted, order=2, window=3, every=epoch, minimum=0.1)",
    "rebalance(steps=run, start=0.01, end=0.99)",
    "cov(decay=0.9, minimum=0.05)",
]
SEARCH_TEXTS = ["greedy", "greedy(every=4, moves=single)", "greedy(down=0.9, up=1.1, score=train, total=kept)"]
PIECES = (
    "(", ")", ",", "=", "*", "+", "-", "/", ".", '"', " ", "\t", "\n", ":", ";", "[", "{", "\\", "\0",
    "0", "-1", ".5", "1e999", "1e-999", "9" * 5000, "nan", "inf", "true", "None",
    "\ud800", "é", "²", "٣", "𝟘", "\u202e", "~/", "../", "/dev/zero",
    "dice", "p", "y", "mean(", "add(", "alpha", "alpha=", "over=", "world", "__import__", "os.system",
    "(" * 2000, "mean(" * 100, "dice + " * 300, "a" * 20000,
)  # fmt: skip


def prepare(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target that a loss is called with."""
    MetaLoss(0).write(folder / "meta.safetensors")
    LOSS_TEXTS.append(f'meta("{folder / "meta.safetensors"}")')
    logits = torch.linspace(-3, 3, 2 * 4 * 4 * 4).view(2, 1, 4, 4, 4)
    return logits, (logits.roll(3) > 0.5).float()


def attempt(given: tuple[torch.Tensor, torch.Tensor], random: np.random.Generator, folder: Path) -> None:
    """A text of one kind."""
    kind = random.choice(["loss", "weighting", "search"], p=[0.5, 0.25, 0.25])
    if kind == "loss":
        _check_loss(mutated(LOSS_TEXTS, random), *given)
    elif kind == "weighting":
        _check_weighting(mutated(WEIGHTING_TEXTS, random))
    else:
        _check_search(mutated(SEARCH_TEXTS, random))


def mutated(texts: list[str], random: np.random.Generator) -> str:
    """One of the texts after a few insertions, deletions, repetitions and crossings."""
    text = texts[random.integers(len(texts))]
    for _ in range(random.integers(1, 5)):
        start, stop = sorted(random.integers(len(text) + 1, size=2))
        kind = random.integers(5)
        if kind == 0:
            text = text[:start] + PIECES[random.integers(len(PIECES))] + text[start:]
        elif kind == 1:
            text = text[:start] + text[stop:]
        elif kind == 2:
            text = text[:stop] + text[start:stop] * int(random.choice([1, 2, 50])) + text[stop:]
        elif kind == 3:
            text = text[:start] + PIECES[random.integers(len(PIECES))] + text[stop:]
        else:
            text = text[:start] + texts[random.integers(len(texts))][start:]
    return text


def _check_loss(text: str, logits: torch.Tensor, target: torch.Tensor) -> None:
    loss = parse(text)
    again = _again(parse, str(loss))
    if str(again) != str(loss):
        raise Silent(f"{text!r} is {loss}, which is read as {again}")
    if "." in loss.name:
        return  # what another package's module makes of a call is its own
    first, second = (_value(each, logits, target) for each in (loss, again))
    if not (first == second or math.isnan(first) and math.isnan(second)):
        raise Silent(f"{text!r} is {first}, and read again {second}")


def _value(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> float:
    return float(loss(logits, target, spacing=torch.ones(2, 3)))


def _check_weighting(text: str) -> None:
    policy = parse_weighting(text, epoch=10, run=100)
    state = policy.init(["a", "b"])
    for step in range(12):
        weights, state = policy.update(state, {"a": 1 / (step + 1), "b": 0.5})
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
            raise Silent(f"{text!r} gives the weights {weights}")
    if str(_again(lambda again: parse_weighting(again, epoch=10, run=100), str(policy))) != str(policy):
        raise Silent(f"{text!r} is {policy}, which is read as something else")


def _check_search(text: str) -> None:
    search = parse_search(text)
    loss = parse("tversky")
    search.check(loss)
    for values in search.candidates({"alpha": 0.7, "beta": 0.3}, loss.tunable()):
        loss.tuned(values)
    if _again(parse_search, str(search)) != search:
        raise Silent(f"{text!r} is {search}, which is read as something else")


def _again(read: Callable[[str], object], text: str) -> object:
    try:
        return read(text)
    except UserError as error:
        raise Silent(f"the product's own text {text!r} is refused: {error}") from error
