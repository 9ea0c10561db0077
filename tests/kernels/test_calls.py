"""The compiled passes against plain operations, wherever and however they are called."""

import subprocess
import sys

import pytest
import torch
from torch.autograd import forward_ad

from fuzz.kernel_calls import attempt
from spineloss.kernels import native
from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.native import library
from spineloss.kernels.plain_sums import plain_sums
from spineloss.kernels.voxel_sums import sums_of
from spineloss.seeding import generator
from spineloss.text import parse

COLUMNS = (CROSS_ENTROPY, *(Column("entropy", gamma) for gamma in (0.5, 1.45, 5.0)))
needs_library = pytest.mark.skipif(library() is None, reason="spineloss was installed without a C compiler")


def example(shape=(2, 2, 5, 31, 67), scale=3.0, soft=False):
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(shape, generator=random)
    share = torch.rand(shape, generator=random)
    return logits, share if soft else (share < 0.2).float()


def values_and_slope(logits, target, columns=COLUMNS):
    """All sums side by side, and the gradient of a mix of them."""
    logits = logits.clone().requires_grad_()
    found = sums_of(logits, target, columns=columns)
    values = torch.stack([found.overlap, found.predicted, found.true, *found.columns.values()])
    mix = torch.linspace(0.5, 2, values.numel()).to(values).view_as(values)
    return values.detach(), torch.autograd.grad((mix * values).sum(), logits)[0]


@needs_library
@pytest.mark.parametrize("tens", range(30))
def test_odd_tensors_give_what_plain_operations_give(tens, tmp_path):
    for number in range(10 * tens, 10 * tens + 10):
        attempt(None, generator("kernel_calls", 0, number), tmp_path)


@needs_library
def test_strides_do_not_matter():
    logits, target = example((2, 3, 8, 16, 24))
    turned = logits.contiguous(memory_format=torch.channels_last_3d)
    for found, expected in zip(values_and_slope(turned, target), values_and_slope(logits, target), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", ["dice", "cross_entropy", "dice + focal"])
def test_the_gradient_of_a_kept_graph_is_the_same_every_time(lanes, spec, kind):
    logits, target = example()
    logits = logits.to(kind).requires_grad_()
    loss = parse(spec)(logits, target.bool())
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (derivable,) = torch.autograd.grad(loss, logits, create_graph=True)
    assert torch.equal(first, kept) and torch.equal(second, kept)
    torch.testing.assert_close(derivable.detach(), kept, rtol=1e-2 if kind != torch.float32 else 1e-4, atol=1e-9)


@needs_library
def test_a_gradient_that_can_be_derived_leaves_the_next_one_right():
    logits, target = example()
    logits.requires_grad_()
    loss = parse("tversky_focal")(logits, target)
    torch.autograd.grad(loss, logits, create_graph=True)
    (after,) = torch.autograd.grad(loss, logits)
    (alone,) = torch.autograd.grad(parse("tversky_focal")(logits, target), logits)
    assert torch.equal(after, alone)


def test_a_mask_of_each_channel_has_the_sums_of_plain_operations(lanes):
    logits, target = example((2, 3, 4, 32, 32))
    logits.requires_grad_()
    mask = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    found = sums_of(logits, target, mask, columns=(CROSS_ENTROPY,))
    expected = plain_sums(logits, target, mask, columns=(CROSS_ENTROPY,))
    torch.testing.assert_close(found.counted, mask.flatten(2).sum(2).float())
    for sums, column in ((found.overlap, 2), (found.predicted, 3), (found.columns[CROSS_ENTROPY], 6)):
        both = sums, expected[..., column]
        torch.testing.assert_close(*both, rtol=1e-5, atol=1e-4)
        slopes = [torch.autograd.grad(each.sum(), logits, retain_graph=True)[0] for each in both]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-7)


def test_the_gradient_is_exact_where_the_prediction_is_sure(lanes):
    side = torch.linspace(0.01, 86, 8192, dtype=torch.float32)
    logits = torch.stack([-side, side]).repeat(2, 1)[None].requires_grad_()
    target = torch.tensor([0.0, 0.0, 1.0, 1.0])[None, :, None].expand_as(logits)
    found = sums_of(logits, target, columns=(CROSS_ENTROPY,))
    (steepness,) = torch.autograd.grad(found.predicted.sum(), logits, retain_graph=True)
    (error,) = torch.autograd.grad(found.columns[CROSS_ENTROPY].sum(), logits)
    wide = logits.detach().double()
    below, above = torch.special.expit(wide), torch.special.expit(-wide)
    torch.testing.assert_close(steepness.double(), below * above, rtol=1e-6, atol=0)
    torch.testing.assert_close(error.double(), torch.where(target > 0, -above, below), rtol=1e-6, atol=0)


@needs_library
@pytest.mark.parametrize("value", [0.0, -0.0, torch.inf, -torch.inf, torch.nan])
def test_an_odd_logit_has_the_gradient_of_plain_operations(value):
    logits = torch.full((1, 1, 8192), value).requires_grad_()
    (slope,) = torch.autograd.grad(sums_of(logits, torch.zeros_like(logits)).predicted.sum(), logits)
    plain = logits.detach().sigmoid()
    torch.testing.assert_close(slope, plain * (1 - plain), rtol=1e-6, atol=1e-37, equal_nan=True)


@needs_library
def test_the_gradient_can_be_derived_again():
    logits, target = example((1, 1, 4, 64, 64), scale=1.0)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))

    def along(logits):
        logits = logits.requires_grad_()
        loss = parse("dice + focal + cross_entropy + boundary + hausdorff")(logits, target.to(logits.dtype))
        (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
        return torch.autograd.grad((slope * direction.to(logits.dtype)).sum(), logits)[0]

    torch.testing.assert_close(along(logits).double(), along(logits.detach().double()), rtol=1e-3, atol=1e-9)


def test_tangents_and_transforms_go_by_plain_operations():
    logits, target = example((2, 1, 4, 48, 64))
    tangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    loss = parse("dice_cross_entropy")
    slope = torch.func.grad(loss)(logits, target)
    expected = (slope * tangent).sum().item()
    assert torch.func.jvp(lambda x: loss(x, target), (logits,), (tangent,))[1].item() == pytest.approx(
        expected, rel=1e-4
    )
    with forward_ad.dual_level():
        value = loss(forward_ad.make_dual(logits, tangent), target)
        assert forward_ad.unpack_dual(value).tangent.item() == pytest.approx(expected, rel=1e-4)
    compiled = torch.compile(loss, backend="eager")
    assert compiled(logits, target).item() == pytest.approx(loss(logits, target).item(), rel=1e-5)
    alone = torch.func.vmap(loss)(logits[:, None], target[:, None])
    assert alone.mean().item() == pytest.approx(loss(logits, target).item(), rel=1e-5)


def test_without_the_library_the_losses_are_the_same(monkeypatch):
    logits, target = example()
    expected = {spec: parse(spec)(logits, target) for spec in ("dice_focal", "cross_entropy", "tversky")}
    monkeypatch.setattr(native, "library", lambda: None)
    for spec, value in expected.items():
        assert parse(spec)(logits, target) == pytest.approx(value.item(), rel=1e-5)


def test_a_soft_target_predicted_exactly_is_perfect():
    _, target = example(soft=True)
    exact = torch.logit(target.double())
    for spec in ("dice", "iou", "tversky"):
        assert parse(spec)(exact, target.double()).item() == pytest.approx(0, abs=1e-6)


SPLIT = """
import sys, torch, torch._dynamo  # a wrapped network would import it in each process
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from spineloss.text import parse

def train(rank, meeting):
    distributed.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
    torch.manual_seed(0)
    images, target = torch.randn(4, 1, 6, 8, 8), torch.rand(4, 1, 6, 8, 8) < 0.3
    target[:2] = False
    for spec in ("tversky(over=world)", "dice(over=world) + cross_entropy", "dice_focal"):
        check(spec, rank, images, target)
    # The wrapped networks, which hold the group, are gone, and neither process leaves before the other is through:
    # else the group ends with its process, while its threads run ("terminate called without an active exception").
    distributed.barrier()
    distributed.destroy_process_group()

def check(spec, rank, images, target):
    whole, part = torch.nn.Conv3d(1, 1, 3, padding=1), torch.nn.Conv3d(1, 1, 3, padding=1)
    part.load_state_dict(whole.state_dict())
    wrapped = DistributedDataParallel(part)
    mine = slice(2 * rank, 2 * rank + 2)
    loss = parse(spec)(wrapped(images[mine]), target[mine])
    loss.backward()
    expected = parse(spec.replace("world", "batch"))(whole(images), target)
    expected.backward()
    if "world" in spec and "+" not in spec:
        torch.testing.assert_close(loss, expected)
    for found, wanted in zip(part.parameters(), whole.parameters()):
        torch.testing.assert_close(found.grad, wanted.grad)

# Forked after the imports, which are most of the work. Where one of the two fails, the other is ended; where one
# hangs, gloo gives up. So nothing here counts the seconds, which a busy machine has few of.
multiprocessing.start_processes(train, (sys.argv[1],), nprocs=2, start_method="fork")
"""


def test_a_batch_split_over_two_processes_trains_as_the_whole(tmp_path):
    done = subprocess.run([sys.executable, "-c", SPLIT, str(tmp_path / "meeting")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
