"""Cheap tests that a formula must pass before a network is trained with it: Fig. 4.4 of the thesis, and one more.

Each test costs milliseconds, the cheapest comes first, and the first that fails ends the cascade.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch

from spineloss.data.phantom import make_case
from spineloss.data.preprocessing import resize_mask
from spineloss.grammar import Formula
from spineloss.learned.formula import OPERATORS, Evolved
from spineloss.seeding import seed_of

MOST_NODES = 40
MOST_SHARE = 0.5  # of one operator among a tree's operators, where there are as many as counts:
COUNTED = 6
LARGEST = 1e4  # size of a value, and of a gradient's sum over a sample
SURE = 6.0  # logit of a sure prediction
WAY = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the truth in predictions that improve
STEPS, RATE = 15, 2.0  # of the direct optimisation; the rate is a logit's root mean square move
ENOUGH = 0.95  # Dice that it must reach
PROJECTIONS, DIGITS = 4, 3  # of a gradient of length 1, by which formulas are held to be the same


@dataclass(frozen=True)
class GateVerdict:
    """What the gate found.

    Args:
        failed: the test that failed, or none.
        gradient: a digest of the gradients on the probes, up to their scale: formulas that share it train alike.
    """

    failed: str | None
    gradient: str = ""

    @property
    def passed(self) -> bool:
        """Whether every test was passed."""
        return self.failed is None


@dataclass(frozen=True)
class Gate:
    """Tests formulas against a few masks.

    Args:
        masks: (N, C, *spatial) in [0, 1], each with foreground and background.
    """

    masks: torch.Tensor

    def __call__(self, formula: Formula) -> GateVerdict:
        """The verdict on a formula with one value per sample."""
        failed = inspect(formula)
        if failed:
            return GateVerdict(failed)
        loss = Evolved(formula)
        for name, test in (
            ("finite", self._is_finite),
            ("sign", self._has_the_right_sign),
            ("monotone", self._falls),
        ):
            if not test(loss):
                return GateVerdict(name)
        if self.optimised_dice(loss) < ENOUGH:
            return GateVerdict("optimisation")
        return GateVerdict(None, self._digest(loss))

    def optimised_dice(self, loss: Evolved) -> float:
        """The least Dice over the masks after logits, begun as noise, went down the loss's gradient directly.

        Each step moves a sample's logits by `RATE` in the root mean square: the scale of the loss does not matter.

        References:
            Liu et al., Loss function discovery for object detection via convergence-simulation driven search,
            ICLR 2021; Li et al., AutoLoss-Zero, CVPR 2022.
        """
        logits = self._noise
        for _ in range(STEPS):
            _, gradient = _slope(loss, logits, self.masks)
            size = gradient.square().mean(_inside(gradient), keepdim=True).sqrt()
            logits = logits - RATE * gradient / size.clamp(min=1e-30)
        predicted = (logits > 0).to(self.masks.dtype)
        both = 2 * (predicted * self.masks).sum(_inside(predicted))
        return float((both / (predicted + self.masks).sum(_inside(predicted))).min())

    def _has_the_right_sign(self, loss: Evolved) -> bool:
        """Where nothing is known, more foreground is better inside each mask, and worse outside."""
        _, gradient = _slope(loss, self._noise, self.masks)
        inside = (gradient * self.masks).sum(_inside(gradient))
        outside = (gradient * (1 - self.masks)).sum(_inside(gradient))
        return bool((inside < 0).all() and (outside > 0).all())

    def _is_finite(self, loss: Evolved) -> bool:
        """Values and gradients are finite, and not huge, for any mask and prediction."""
        masks = torch.cat([self.masks, torch.zeros_like(self.masks[:1]), torch.ones_like(self.masks[:1])])
        noise = self._noise[:1]
        for logits in (
            0 * noise,
            noise,
            SURE + noise,
            -SURE + noise,
            SURE * (2 * masks - 1),
            SURE * (1 - 2 * masks),
        ):
            value, gradient = _slope(loss, logits.expand_as(masks).contiguous(), masks)
            if not (value.abs() < LARGEST and (gradient.abs().sum(_inside(gradient)) < LARGEST).all()):
                return False
        return True

    def _falls(self, loss: Evolved) -> bool:
        """The loss of each mask falls with every improvement of the prediction."""
        truth = SURE * (2 * self.masks - 1)
        for sample in range(len(self.masks)):
            part = slice(sample, sample + 1)
            values = [
                loss(share * truth[part] + (1 - abs(share)) * self._noise[part], self.masks[part]).item()
                for share in WAY
            ]
            if not all(after < before for before, after in zip(values, values[1:], strict=False)):
                return False
        return True

    def _digest(self, loss: Evolved) -> str:
        """Of a few random projections of the gradient: were every voxel rounded, some one would fall elsewhere."""
        digest = hashlib.sha256()
        for logits in (self._noise, self._noise + SURE / 3 * (2 * self.masks - 1)):
            _, gradient = _slope(loss, logits, self.masks)
            projections = self._directions @ (gradient / gradient.norm()).flatten()
            digest.update((projections * 10**DIGITS).round().to(torch.int32).numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def _directions(self) -> torch.Tensor:
        stream = torch.Generator().manual_seed(seed_of("gate", "directions"))
        return torch.randn(PROJECTIONS, self.masks.numel(), generator=stream)

    @cached_property
    def _noise(self) -> torch.Tensor:
        stream = torch.Generator().manual_seed(seed_of("gate"))
        return torch.randn(self.masks.shape, generator=stream)


def inspect(formula: Formula) -> str | None:
    """What is wrong with a formula to look at, or none."""
    nodes = list(formula.nodes())
    if not {Formula("p"), Formula("y")} <= set(nodes):
        return "evidence"
    if len(nodes) > MOST_NODES:
        return "size"
    operators = Counter(node.head for node in nodes if node.head in OPERATORS)
    if operators.total() >= COUNTED and max(operators.values()) > MOST_SHARE * operators.total():
        return "balance"
    return None


def phantom_masks(count: int = 2, grid: tuple[int, int, int] = (8, 32, 32)) -> torch.Tensor:
    """Masks of generated lumbar spines, (count, 1, *grid) float32: what the gate needs without any data."""
    shape = (2 * grid[0], 2 * grid[1], 2 * grid[2])
    masks = []
    for case in range(count):
        _, labels = make_case("lumbar", seed=0, case=case, shape=shape)
        masks.append(resize_mask(torch.from_numpy(labels > 0)[None], grid))
    return torch.stack(masks).float()


def _inside(volume: torch.Tensor) -> tuple[int, ...]:
    """The axes of a sample."""
    return tuple(range(1, volume.ndim))


def _slope(loss: Evolved, logits: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient in the logits."""
    moved = logits.clone().requires_grad_()
    value = loss(moved, masks)
    (gradient,) = torch.autograd.grad(value, moved, allow_unused=True, materialize_grads=True)
    return value.detach(), gradient
