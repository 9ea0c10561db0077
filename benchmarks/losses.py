"""Forward and backward of each loss beside MONAI's class and beside its formula written plainly.

Run it on a quiet machine: .venv/bin/python benchmarks/losses.py
On a busy one, with one thread: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/losses.py busy
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import geometric_mean, median

import torch
from monai import losses as monai
from torch import nn
from torch.nn import functional

from formulas import FORMULAS, lovasz_hinge
from machine import BUSY, command, describe, extra_memory, interleaved, keep_freed_memory, ratio, timing, write
from spineloss.kernels.distance_transform import signed_distance_maps
from spineloss.kernels.target_maps import target_map
from spineloss.losses import Loss
from spineloss.text import parse

SHAPE = (4, 1, 32, 224, 224)
SPACING = (4.0, 0.9, 0.9)
ROUNDS = 3 if BUSY else 15
Formula = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def plain_index(logits, target, a, b):
    p = logits.sigmoid()
    axes = tuple(range(2, logits.ndim))
    tp, fp, fn = (p * target).sum(axes), (p * (1 - target)).sum(axes), ((1 - p) * target).sum(axes)
    return 1 - ((tp + 1e-5) / (tp + a * fp + b * fn + 1e-5)).mean()


def plain_entropy(logits, target):
    return functional.binary_cross_entropy_with_logits(logits, target)


def plain_focal(logits, target, gamma=2.0):
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()


def plain_hausdorff(logits, target, distances=None):
    p = logits.sigmoid()
    true = signed_distance_maps(target) if distances is None else distances
    return ((p - target) ** 2 * (signed_distance_maps(p) ** 2 + true**2)).mean()


def plain_boundary(logits, target, distances=None):
    return (logits.sigmoid() * (signed_distance_maps(target) if distances is None else distances)).mean()


def plain_generalised_surface(logits, target, distances=None):
    distances = signed_distance_maps(target) if distances is None else distances
    missed = ((distances * (1 - logits.sigmoid() - target)) ** 2).sum((2, 3, 4))
    return (1 - missed / (distances**2).sum((2, 3, 4))).mean()


def plain_skeleton_recall(logits, target, tubes=None):
    tubes = target_map("skeleton", target) if tubes is None else tubes
    return (1 - (logits.sigmoid() * tubes).sum((2, 3, 4)) / tubes.sum((2, 3, 4))).mean()


def plain_signed_distance(logits, target, true=None):
    true, found = target_map("normalised", target) if true is None else true, 1 - 2 * logits.sigmoid()
    product = true * found
    return ((found - true).abs() + 1 / 3 - product / (product + true**2 + found**2)).mean()


def plain_dice_signed_distance(logits, target, true=None):
    found = 1 - 2 * logits.sigmoid()
    return dice(-1500 * found, target) + 10 * plain_signed_distance(logits, target, true)


def plain_squared(logits, target):
    p = logits.sigmoid()
    shared, squares = (p * target).sum((2, 3, 4)), (p**2).sum((2, 3, 4)) + (target**2).sum((2, 3, 4))
    return (1 - 2 * shared / (squares + 1e-5)).mean()


def plain_matthews(logits, target):
    p, y = logits.sigmoid().flatten(2), target.flatten(2)
    tp, fp, fn, tn = (p * y).mean(2), (p * (1 - y)).mean(2), ((1 - p) * y).mean(2), ((1 - p) * (1 - y)).mean(2)
    return (1 - (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn) + 1e-12).sqrt()).mean()


@dataclass(frozen=True)
class Contest:
    """One loss: ours by its text, MONAI's class, and the formula."""

    spec: str
    theirs: nn.Module | None
    plain: Formula
    one_pass: bool = True  # whether the memory floor is a floor for it: no distance transform, no order

    @property
    def ours(self) -> Loss:
        return parse(self.spec)


class OfProbabilities(nn.Module):
    """A class of MONAI that wants probabilities, though it says logits."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.loss(logits.sigmoid(), target)


RANKED = ("top_k(over=batch)", "lovasz(over=batch)", "dice_top_k")
OF_MONAI = {"unified_focal": OfProbabilities(monai.AsymmetricUnifiedFocalLoss(delta=0.6))}
dice = partial(plain_index, a=0.5, b=0.5)
CONTESTS = [
    Contest("cross_entropy", None, plain_entropy),
    Contest("focal(alpha=1, gamma=2)", monai.FocalLoss(gamma=2.0), plain_focal),
    Contest("dice", monai.DiceLoss(sigmoid=True), dice),
    Contest("iou", monai.DiceLoss(sigmoid=True, jaccard=True), partial(plain_index, a=1, b=1)),
    Contest("tversky", monai.TverskyLoss(sigmoid=True, alpha=0.7, beta=0.3), partial(plain_index, a=0.7, b=0.3)),
    Contest(
        "1.0*dice + 1.0*cross_entropy",
        monai.DiceCELoss(sigmoid=True),
        lambda logits, target: dice(logits, target) + plain_entropy(logits, target),
    ),
    Contest(
        "1.0*dice + 1.0*focal(alpha=1, gamma=2)",
        monai.DiceFocalLoss(sigmoid=True, gamma=2.0),
        lambda logits, target: dice(logits, target) + plain_focal(logits, target),
    ),
    Contest("squared_dice", monai.DiceLoss(sigmoid=True, squared_pred=True), plain_squared),
    Contest("generalised_dice", monai.GeneralizedDiceLoss(sigmoid=True), dice),
    Contest("matthews", monai.MCCLoss(sigmoid=True), plain_matthews),
    *(Contest(text, OF_MONAI.get(text), formula, text not in RANKED) for text, formula in FORMULAS.items()),
    Contest("lovasz_hinge(over=batch)", None, lovasz_hinge, one_pass=False),
    Contest("boundary(unit=voxel)", None, plain_boundary, one_pass=False),
    Contest("generalised_surface", None, plain_generalised_surface, one_pass=False),
    Contest("skeleton_recall", None, plain_skeleton_recall, one_pass=False),
    Contest("signed_distance", None, plain_signed_distance, one_pass=False),
    Contest("dice_signed_distance", None, plain_dice_signed_distance, one_pass=False),
    Contest("hausdorff(unit=voxel)", monai.HausdorffDTLoss(sigmoid=True), plain_hausdorff, one_pass=False),
]


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Five vertebral bodies as ellipsoids, a twentieth of the volume, and a prediction that is nearly right."""
    z, y, x = torch.meshgrid(*(torch.arange(size) for size in SHAPE[2:]), indexing="ij")
    target = torch.zeros(SHAPE)
    for sample in range(SHAPE[0]):
        for body in range(5):
            centre = 30 + 40 * body + 3 * sample
            inside = ((z - 16) / 10) ** 2 + ((y - centre) / 16) ** 2 + ((x - 110) / 25) ** 2 < 1
            target[sample, 0][inside] = 1
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return 6 * target - 3 + noise, target


def step(loss: Formula, logits: torch.Tensor, target: torch.Tensor) -> None:
    loss(logits, target).backward()
    logits.grad = None


def floor_seconds(logits: torch.Tensor) -> float:
    """Logits and target read, the gradient written, at the speed of a copy."""
    copy = torch.empty_like(logits)
    return 1.5 * median(interleaved({"copy": lambda: copy.copy_(logits)}, 15)["copy"])


def main() -> None:
    keep_freed_memory()
    logits, target = example()
    logits.requires_grad_()
    maps = {name: target_map(name, target) for contest in CONTESTS for name in contest.ours.needs}
    floor = floor_seconds(logits.detach())
    steps = {contest.spec: steps_of(contest, logits, target, maps) for contest in CONTESTS}
    seconds = {c.spec: interleaved(steps[c.spec], ROUNDS) for c in CONTESTS}
    memory = {
        spec: {name: extra_memory(call) / 2**20 for name, call in calls.items()} for spec, calls in steps.items()
    }
    rows = [row(contest, seconds[contest.spec], memory[contest.spec], floor) for contest in CONTESTS]
    ratios = {spec: ratio(each["MONAI"], each["ours"]) for spec, each in seconds.items() if "MONAI" in each}
    # Of a loss that reads a map, with the map given, as in training.
    plain = {
        spec: ratio(each["plain, map given"], each["map given"])
        if "map given" in each
        else ratio(each["plain"], each["ours"])
        for spec, each in seconds.items()
    }
    goal = {spec: times for spec, times in ratios.items() if "hausdorff" not in spec}
    write(
        "losses.md",
        [
            "# Losses: forward and backward at (4, 1, 32, 224, 224)",
            "",
            f"{timing(ROUNDS)} Freed memory is kept.",
            describe("torch", "monai"),
            "*Plain* is the formula in PyTorch (`benchmarks/formulas.py`); top-k and Lovász rank voxels.",
            f"The floor, {1000 * floor:.1f} ms: logits and target read, the gradient written, at a copy's speed.",
            "*Map given*: the target's distance map comes from the batch builder, as in training.",
            "Memory is what a call adds to the process at its peak, the gradient of 24.5 MiB included.",
            f"`{command('losses')}`",
            "",
            "| loss | ms | MONAI ms | MONAI / ours | plain / ours | ours / floor | map given ms "
            "| MONAI / map given | plain / ours, map given to both | MiB | MONAI MiB | plain MiB |",
            "|" + " --- |" * 12,
            *rows,
            "",
            f"MONAI / ours: geometric mean {geometric_mean(ratios.values()):.1f}, "
            f"least {min(ratios.values()):.1f}; without Hausdorff {geometric_mean(goal.values()):.1f}. "
            f"Plain / ours: geometric mean {geometric_mean(plain.values()):.1f}, least {min(plain.values()):.1f}.",
        ],
    )


def steps_of(
    contest: Contest, logits: torch.Tensor, target: torch.Tensor, maps: dict[str, torch.Tensor]
) -> dict[str, Callable[[], None]]:
    losses = {"ours": contest.ours, "MONAI": contest.theirs, "plain": contest.plain}
    if contest.ours.needs:
        (name,) = contest.ours.needs
        losses["map given"] = partial(contest.ours, target_maps=maps)
        losses["plain, map given"] = lambda logits, target: contest.plain(logits, target, maps[name])
    return {name: partial(step, loss, logits, target) for name, loss in losses.items() if loss is not None}


def row(contest: Contest, rounds: dict[str, list[float]], memory: dict[str, float], floor: float) -> str:
    seconds = {name: median(each) for name, each in rounds.items()}

    def within(above: str, below: str) -> str:
        return f"{ratio(rounds[above], rounds[below]):.1f}" if above in rounds and below in rounds else ""

    def shown(values: dict[str, float], name: str, scale: float = 1.0) -> str:
        return f"{scale * values[name]:.1f}" if name in values else ""

    cells = [
        f"`{contest.spec}`",
        shown(seconds, "ours", 1000),
        shown(seconds, "MONAI", 1000),
        within("MONAI", "ours"),
        within("plain", "ours"),
        f"{seconds['ours'] / floor:.1f}" if contest.one_pass else "",
        shown(seconds, "map given", 1000),
        within("MONAI", "map given"),
        within("plain, map given", "map given"),
        *(shown(memory, name) for name in ("ours", "MONAI", "plain")),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
