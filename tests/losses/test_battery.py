"""One battery for every loss of the library; a new one gets it by being in LOSSES."""

import copy
import pickle

import numpy as np
import pytest
import torch

from losses.reference import REFERENCE, sigmoid, softmax
from spineloss.losses import LOSSES
from spineloss.losses.region import Overlap
from spineloss.text import parse

COMPOUNDS = ["0.8*dice + 0.2*boundary", "0.7*dice + 0.3*hausdorff", "1.0*focal + 2.0*iou + 0.5*cross_entropy"]
COMPOUNDS += ["unified_focal(form=symmetric)"]
COMPOUNDS += ["dice(over=component) + cross_entropy(over=component)", "2.0*dice + dice(over=blob)"]
SPECS = [*LOSSES, *COMPOUNDS]
REGION = [name for name, loss in LOSSES.items() if issubclass(loss, Overlap)]

every = pytest.mark.parametrize("spec", SPECS)


def example(shape=(2, 2, 4, 6, 5), seed=0, dtype=torch.float64):
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(0, 2, shape)).to(dtype)
    target = torch.from_numpy(random.random(shape) < 0.35).to(dtype)
    return logits, target


SPACING = (3.0, 0.7, 1.1)


def drawn(name):
    """Parameters inside their ranges, away from the points where losses fall together."""
    random = np.random.default_rng(sum(map(ord, name)))
    tunable = LOSSES[name]().tunable().items()
    return {
        key: round(one.low + random.uniform(0.3, 0.95) * min(1, one.high - one.low), 3) for key, one in tunable
    }


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("values", ["default", "drawn"])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_formula(name, values, activation):
    logits, target = example((2, 3, 4, 6, 5))
    parameters = drawn(name) if values == "drawn" else {}
    if activation == "softmax":
        target = torch.nn.functional.one_hot(labels_of(logits)).movedim(-1, 1).double()
    p = (softmax if activation == "softmax" else sigmoid)(logits.numpy())
    expected = REFERENCE[name](p, target.numpy(), activation == "softmax", SPACING, **parameters)
    loss = LOSSES[name](**parameters, activation=activation)
    assert loss(logits, target, spacing=SPACING).item() == pytest.approx(expected, rel=1e-6)


def labels_of(logits, seed=0):
    """Labels (N, *spatial), each class somewhere."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(logits.shape[1], (logits.shape[0], *logits.shape[2:]), generator=random)


@every
def test_gradient_is_that_of_the_value(spec):
    logits, target = example((2, 1, 3, 3, 3))
    # Away from 1/2, where Hausdorff's map of the prediction jumps.
    logits = (logits + logits.sign() * 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: parse(spec)(x, target), logits)


@every
@pytest.mark.parametrize("masks", ["empty", "full", "one channel absent"])
@pytest.mark.parametrize("scale", [0, 5, -5, 100])
def test_empty_and_full_masks_stay_finite(spec, masks, scale):
    logits = (torch.randn(2, 2, 4, 4, 4) + scale).requires_grad_()
    target = torch.ones(2, 2, 4, 4, 4) if masks == "full" else torch.zeros(2, 2, 4, 4, 4)
    if masks == "one channel absent":
        target[:, 1, 1:3] = 1
    value = parse(spec)(logits, target)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("magnitude", [20.0, 1000.0, 60000.0])
def test_extreme_logits_stay_finite(spec, dtype, magnitude):
    _, target = example((1, 1, 8, 8, 8), dtype=torch.float32)
    signs = torch.where(torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    logits = (magnitude * signs).to(dtype).requires_grad_()
    value = parse(spec)(logits, target)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


@every
def test_half_precision_sums_do_not_overflow(spec):
    logits = torch.zeros(1, 1, 64, 64, 64, dtype=torch.float16)
    target = torch.zeros_like(logits)
    target[..., :32] = 1
    assert parse(spec)(logits, target).item() == pytest.approx(parse(spec)(logits.float(), target.float()).item())


@every
def test_2d_is_3d_with_one_slice(spec):
    logits, target = example((2, 1, 7, 6))
    flat = parse(spec)(logits, target)
    assert parse(spec)(logits.unsqueeze(2), target.unsqueeze(2)).item() == pytest.approx(flat.item(), rel=1e-9)


@every
def test_a_batch_is_the_mean_of_its_samples(spec):
    logits, target = example((3, 2, 4, 5, 4))
    alone = [parse(spec)(logits[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert parse(spec)(logits, target).item() == pytest.approx(np.mean(alone), rel=1e-9)


@pytest.mark.parametrize("name", REGION)
def test_counts_over_the_batch_are_added_first(name):
    logits, target = example((3, 1, 4, 5, 4))
    stacked = parse(name)(*(volume.permute(1, 0, 2, 3, 4).reshape(1, 1, 12, 5, 4) for volume in (logits, target)))
    assert parse(f"{name}(over=batch)")(logits, target).item() == pytest.approx(stacked.item(), rel=1e-9)


@every
def test_perfect_is_better_than_wrong(spec):
    _, target = example()
    target[:, :, :2] = 0
    sure = 3.0 if "smoothed" in spec else 12.0  # label smoothing punishes what is surer than 19 to 1
    perfect, unsure, wrong = (parse(spec)(scale * (2 * target - 1), target).item() for scale in (sure, 0.5, -sure))
    assert perfect < unsure < wrong


@every
def test_a_step_down_the_gradient_improves(spec):
    if spec == "calibration_error":
        pytest.skip("its gradient does not see that the step takes voxels to other bins")
    logits, target = example(dtype=torch.float32)
    logits.requires_grad_()
    value = parse(spec)(logits, target)
    value.backward()
    with torch.no_grad():
        moved = logits - 0.1 * logits.grad / logits.grad.abs().max()
    assert parse(spec)(moved, target) < value


@every
def test_text_makes_the_same_loss_again(spec):
    loss = parse(spec)
    again = parse(str(loss))
    assert str(again) == str(loss)
    assert again(*example()) == loss(*example())


@every
def test_copies_and_pickles_are_the_same_loss(spec):
    loss = parse(spec)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(*example()) == loss(*example())
