"""A meta-loss that starts as another loss: fitted to its values and slopes on made-up predictions."""

import torch
from torch.nn import functional

from spineloss.learned.meta_loss import MetaLoss
from spineloss.losses import Loss
from spineloss.seeding import seed_of

STEPS = 1000
RATE = 0.01
CLIP = 1.0  # the gradient's largest norm
SAMPLES, GRID = 8, (6, 12, 12)  # of a step's predictions


def imitate(loss: Loss, seed: int) -> MetaLoss:
    """A meta-loss fitted to another loss.

    The fit's error is |d - e|^2 / |e|^2 + (v - w)^2, with d and v the meta-loss's slope in the logits and its
    value, e and w the other's: averaged over samples that each have a quality, a confidence and a leaning. Where
    e is 0, the slope is left free.

    Args:
        loss: what to imitate; what it takes from a voxel's place (distance maps) a meta-loss cannot see.
        seed: of the first weights and the predictions.
    """
    meta = MetaLoss(seed)
    random = torch.Generator().manual_seed(seed_of(seed, "imitation"))
    optimiser = torch.optim.Adam(meta.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        logits, target = predictions(random)
        slope, value = slope_and_value(meta, logits, target)
        wanted_slope, wanted = (each.detach() for each in slope_and_value(loss, logits, target))
        miss, size = (each.flatten(1).square().sum(1) for each in (slope - wanted_slope, wanted_slope))
        known = size > 0  # a hinge has no slope where all is right
        optimiser.zero_grad()
        ((miss[known] / size[known]).sum() / len(size) + (value - wanted).square()).backward()
        # A relative error of random weights can be huge; Adam would remember it, and hardly move again.
        torch.nn.utils.clip_grad_norm_(meta.parameters(), CLIP)
        optimiser.step()
        schedule.step()
    return meta


def predictions(random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets (8, 1, 6, 12, 12), from untrained to trained: smooth blobs, seen well or badly."""
    fields = torch.randn(2, SAMPLES, 1, *GRID, generator=random)
    smooth = functional.avg_pool3d(fields.flatten(0, 1), 5, 1, 2).view(fields.shape)
    blobs, noise = smooth / smooth.std(dim=(2, 3, 4, 5), keepdim=True)
    share, quality, confidence, leaning = torch.rand(4, SAMPLES, 1, 1, 1, 1, generator=random)
    threshold = torch.stack(
        [torch.quantile(blob, 1 - 0.3 * part.item()) for blob, part in zip(blobs, share + 0.03, strict=True)]
    )
    target = (blobs > threshold.view(-1, 1, 1, 1, 1)).float()
    seen = quality * (2 * target - 1) + (1 - quality) * noise + 2 * (leaning - 0.5) * (1 - quality)
    return 8 * confidence * seen, target


def slope_and_value(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The slope of a loss in the logits, which can be differentiated again, and its value."""
    known = logits.requires_grad_()
    value = loss(known, target)
    (slope,) = torch.autograd.grad(value, known, create_graph=True)
    return slope, value
