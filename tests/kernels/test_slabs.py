"""Sums a slab at a time against the sums of whole volumes."""

from functools import partial

import pytest
import torch

from spineloss import loss
from spineloss.kernels import slabs
from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.plain_sums import plain_sums
from spineloss.kernels.slabs import summed
from spineloss.kernels.voxel_sums import sums_of
from spineloss.kernels.weighted_sums import weighted_error_sum

COLUMNS = (CROSS_ENTROPY, Column("entropy", 2.0), Column("deviation", 1.5))


@pytest.fixture(params=[5, 10], ids="{} slabs".format, autouse=True)
def several(request, monkeypatch):
    monkeypatch.setattr(slabs, "SLABS", request.param)
    monkeypatch.setattr(slabs, "LEAST", 1)


def example(space=(5, 11, 13), classes=3):
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((2, classes, *space), generator=random, dtype=torch.float64)
    labels = torch.randint(0, classes, (2, *space), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.1] = 255
    mask = torch.rand((2, 1, *space), generator=random) < 0.7
    return logits, labels, mask


def both(sums, logits, *constants):
    """The sums, the gradient of a mix of them, and the gradient of that one's square."""
    logits = logits.clone().requires_grad_()
    found = sums(logits, *constants)
    mix = torch.linspace(0.5, 2, found.numel(), dtype=found.dtype).view_as(found)
    (slope,) = torch.autograd.grad((mix * found).sum(), logits, retain_graph=True)
    (derivable,) = torch.autograd.grad((mix * found).sum(), logits, create_graph=True)
    return found.detach(), slope, torch.autograd.grad(derivable.square().sum(), logits)[0]


def check(sums, logits, *constants):
    found, expected = both(partial(summed, sums), logits, *constants), both(sums, logits, *constants)
    for mine, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("space", [(5, 11, 13), (12, 31), (400,)], ids="{}".format)
@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_they_are_those_of_whole_volumes(activation, kind, space):
    logits, labels, mask = example(space)
    target = labels if kind == "labels" else logits.roll(1, dims=1).softmax(1)
    check(partial(plain_sums, activation=activation, ignore=255, columns=COLUMNS), logits, target, mask)


def test_a_slab_is_all_that_is_summed_at_once():
    logits, labels, mask = example()
    seen = []

    def sums(*parts):
        seen.append(max(part.numel() for part in parts))
        return plain_sums(*parts)

    summed(sums, logits, labels, mask).sum()
    assert len(seen) > 2 and max(seen) <= logits.numel() / slabs.SLABS


def test_nothing_but_the_batch_is_kept():
    logits, labels, _ = example()
    weights = logits.exp()
    logits.requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss("dice + focal", activation="softmax", ignore=255)(logits, labels)
        value = value + weighted_error_sum(logits, labels, weights, activation="softmax").sum()
    volumes = {tensor.data_ptr() for tensor in kept if tensor.numel() >= labels.numel()}
    assert volumes <= {volume.data_ptr() for volume in (logits, labels, weights)}
    value.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(kind):
    logits, labels, _ = example()
    half = logits.to(kind).requires_grad_()
    made = summed(partial(plain_sums, activation="softmax"), half, labels)
    made[..., 2].sum().backward()
    assert made.dtype == torch.float32 and half.grad.dtype == kind


def test_what_cannot_be_cut_goes_whole():
    logits, labels, mask = example()
    weights = logits.detach().exp().requires_grad_()
    weighted_error_sum(logits, labels, weights, activation="softmax").sum().backward()
    assert weights.grad.any()
    assert summed(plain_sums, logits, labels, mask[:, :, :1]).shape == (2, 3, 6)

    def overlap(logits):
        return sums_of(logits, labels, activation="softmax").overlap.sum()

    (slope,) = torch.autograd.grad(overlap(logits.requires_grad_()), logits)
    torch.testing.assert_close(torch.func.grad(overlap)(logits.detach()), slope)
