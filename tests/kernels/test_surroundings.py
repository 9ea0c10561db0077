"""What a script around the losses may do: change PyTorch's defaults, make activations again, batch gradients."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from spineloss.kernels import native
from spineloss.kernels.voxel_sums import sums_of
from spineloss.kernels.weighted_sums import weighted_sum
from spineloss.metrics import evaluate
from spineloss.text import loss


def draw():
    """Logits and target that are enough for C to take them."""
    random = torch.Generator().manual_seed(3)
    shape = (2, 2, 8, 16, 32)
    return torch.randn(shape, generator=random), (torch.rand(shape, generator=random) > 0.5).float()


def deeply_supervised(logits, target):
    coarse = logits[..., ::2, ::2, ::2].contiguous()
    return loss("boundary", levels=(1, 1))([logits, coarse], target, spacing=(1, 2, 3))


def coarse_along_a_long_axis(logits, target):
    """320 voxels to 100: a default type of half precision does not count so far."""
    whole = target.flatten()[:320].view(1, 1, 320)
    return loss("dice", levels=(0, 1))([torch.zeros_like(whole), logits.flatten()[:100].view(1, 1, 100)], whole)


def metrics(logits, target):
    found, true = (volume[0, 0].numpy() > 0.5 for volume in (logits, target))
    scores = evaluate(found, true, (1, 0.7, 3), tolerance=1)
    return torch.tensor(list(scores.values()), dtype=torch.float64, device="cpu").nan_to_num()


CALLS = [
    *(loss(text) for text in ("dice + cross_entropy", "boundary", "top_k", "dice(over=component)", "hausdorff")),
    deeply_supervised,
    coarse_along_a_long_axis,
    metrics,
]


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, "meta"])
@pytest.mark.parametrize("call", CALLS)
def test_pytorchs_defaults_change_nothing(call, default):
    logits, target = draw()
    expected = call(logits, target)
    # "meta" stands for a GPU: either has no memory that C can write to.
    change = torch.set_default_device if default == "meta" else torch.set_default_dtype
    change(default)
    try:
        assert torch.equal(call(logits, target), expected)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("text", ["dice + focal", "boundary", "boundary + dice"])
def test_activations_may_be_made_again_for_the_backward_pass(text):
    logits, target = draw()
    logits.requires_grad_()

    def value(volumes):
        return loss(text)(2 * volumes, target)

    made_again = checkpoint(value, logits, use_reentrant=False)
    (kept,), (again,) = (torch.autograd.grad(each, logits) for each in (value(logits), made_again))
    assert torch.equal(kept, again)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("sums", [lambda *given: sums_of(*given).overlap, weighted_sum])
def test_several_gradients_may_be_asked_for_at_once(sums, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
        monkeypatch.setattr("spineloss.kernels.slabs.LEAST", 1 << 10)
    logits, target = draw()
    values = sums(logits.requires_grad_(), target).flatten()
    (at_once,) = torch.autograd.grad(values, logits, torch.eye(4), is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in values]
    torch.testing.assert_close(at_once, torch.stack(alone))
