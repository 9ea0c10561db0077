"""Forward and backward of losses of exclusive classes with integer labels, beside those of other packages.

Run it on a quiet machine: .venv/bin/python benchmarks/softmax_losses.py
On a busy one, with one thread: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/softmax_losses.py busy
nnU-Net's losses are left out where nnunetv2 is not installed; a loss without a class has the formula for a peer.
"""

from collections.abc import Callable
from functools import partial
from statistics import geometric_mean, median
from unittest.mock import patch

import torch
from monai import losses as monai
from torch import nn

from formulas import FORMULAS
from losses import Formula, step
from machine import BUSY, command, describe, extra_memory, interleaved, keep_freed_memory, ratio, timing, write
from spineloss.kernels import native
from spineloss.text import loss

SHAPE = (2, 6, 32, 160, 160)
ROUNDS = 3 if BUSY else 15


def contests() -> list[tuple[str, str, Formula]]:
    """Our text, the peer's name and the peer."""
    exclusive = {"to_onehot_y": True, "softmax": True}
    found = [
        ("dice", "MONAI DiceLoss", monai.DiceLoss(**exclusive)),
        ("iou", "MONAI DiceLoss, jaccard", monai.DiceLoss(**exclusive, jaccard=True)),
        ("tversky", "MONAI TverskyLoss", monai.TverskyLoss(**exclusive, alpha=0.7, beta=0.3)),
        ("focal(alpha=1, gamma=2)", "MONAI FocalLoss", monai.FocalLoss(to_onehot_y=True, use_softmax=True)),
        ("dice + cross_entropy", "MONAI DiceCELoss", monai.DiceCELoss(**exclusive)),
        ("dice + focal(alpha=1, gamma=2)", "MONAI DiceFocalLoss", monai.DiceFocalLoss(**exclusive)),
        ("squared_dice", "MONAI DiceLoss, squared", monai.DiceLoss(**exclusive, squared_pred=True)),
        ("generalised_dice", "MONAI GeneralizedDiceLoss", monai.GeneralizedDiceLoss(**exclusive)),
        ("matthews", "MONAI MCCLoss", monai.MCCLoss(**exclusive)),
        ("cross_entropy", "torch CrossEntropyLoss", partial(of_torch, nn.CrossEntropyLoss())),
        *((text, "formula", formula) for text, formula in FORMULAS.items()),
    ]
    try:
        from nnunetv2.training.loss.compound_losses import DC_and_CE_loss, DC_and_topk_loss
        from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
        from nnunetv2.training.loss.robust_ce_loss import TopKLoss
    except ImportError:
        return found
    settings = {"batch_dice": False, "smooth": 1e-5, "do_bg": True, "ddp": False}
    theirs = DC_and_CE_loss(settings, {}, dice_class=MemoryEfficientSoftDiceLoss)
    of_top_k = DC_and_topk_loss({key: settings[key] for key in settings}, {"k": 10})
    return [
        *found,
        ("dice + cross_entropy", "nnU-Net DC_and_CE_loss", theirs),
        ("top_k(over=batch)", "nnU-Net TopKLoss", TopKLoss(k=10)),
        ("dice + top_k(over=batch)", "nnU-Net DC_and_topk_loss", of_top_k),
    ]


def of_torch(loss: nn.Module, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return loss(logits, labels[:, 0])


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Labels in blocks of 8 voxels, and logits that are nearly right."""
    random = torch.Generator().manual_seed(0)
    samples, classes, *space = SHAPE
    coarse = torch.randint(0, classes, (samples, 1, *(size // 8 for size in space)), generator=random)
    labels = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    logits = torch.randn(SHAPE, generator=random).scatter_add_(1, labels, torch.full(labels.shape, 4.0))
    return logits.requires_grad_(), labels


def main() -> None:
    keep_freed_memory()
    logits, labels = example()
    fixed = logits.detach()
    found = contests()
    calls: dict[str, Callable[[], object]] = {"floor": fixed.clone}
    calls |= {text + peer: partial(step, theirs, logits, labels) for text, peer, theirs in found}
    calls |= {text: partial(step, loss(text, activation="softmax"), logits, labels) for text, _, _ in found}
    rounds = interleaved(calls, ROUNDS)
    seconds = {name: median(each) for name, each in rounds.items()}
    memory = {name: extra_memory(call) / 2**20 for name, call in calls.items()}
    with patch.object(native, "library", lambda: None):
        plain = {text: extra_memory(calls[text]) / 2**20 for text, _, _ in found}
    floor, ratios, rows = seconds["floor"], [], []
    for text, peer, _ in found:
        theirs = text + peer
        ratios.append(ratio(rounds[theirs], rounds[text]))
        rows.append(
            f"| `{text}` | {1000 * seconds[text]:.1f} | {peer} | {1000 * seconds[theirs]:.1f} | {ratios[-1]:.1f} "
            f"| {seconds[text] / floor:.1f} | {memory[text]:.0f} | {plain[text]:.0f} | {memory[theirs]:.0f} |"
        )
    write(
        "softmax_losses.md",
        [
            f"# Losses of exclusive classes: forward and backward at {SHAPE}, integer labels",
            "",
            f"{timing(ROUNDS)} Freed memory is kept. {describe('torch', 'monai')}",
            "*Formula* is the paper's in plain PyTorch (`benchmarks/formulas.py`); top-k and Lovász rank voxels.",
            f"The floor, {1000 * floor:.1f} ms: the logits copied.",
            f"Memory is what a call adds at its peak, the gradient of {fixed.numel() / 2**18:.1f} MiB included;",
            "*plain*: ours by plain operations, as on a GPU.",
            f"`{command('softmax_losses')}`",
            "",
            "| loss | ms | peer | its ms | peer / ours | ours / floor | MiB | plain | its MiB |",
            "|" + " --- |" * 9,
            *rows,
            "",
            f"Peer / ours: geometric mean {geometric_mean(ratios):.1f}, least {min(ratios):.1f}.",
        ],
    )


if __name__ == "__main__":
    main()
