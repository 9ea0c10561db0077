"""Losses with one known flaw each, beside one that has none: cross-entropy."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from spineloss.kernels import skeletons
from spineloss.lossbook import convention_checks, linter
from spineloss.lossbook.judging import Outcome
from spineloss.lossbook.linter import CHECKS, example, lint
from spineloss.losses import LOSSES
from spineloss.text import parse


@pytest.fixture(scope="module", autouse=True)
def thinned_once():
    """The checks give a loss the same mask up to a dozen times, and thinning one of 64^3 voxels takes seconds."""
    known, tube = {}, skeletons._tube

    def remembered(mask):
        key = mask.shape, mask.tobytes()
        if key not in known:
            known[key] = tube(mask)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeletons, "_tube", remembered)
        yield


def voxelwise(logits, target):
    return functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")


class Flawless(nn.Module):
    def forward(self, logits, target):
        return voxelwise(logits, target).mean()


class Negated(nn.Module):
    def forward(self, logits, target):
        return -voxelwise(logits, target).mean()


class HalfOfItsSlope(nn.Module):
    def forward(self, logits, target):
        value = voxelwise(logits, target).mean()
        return 0.5 * value + 0.5 * value.detach()


class PullsDown(nn.Module):
    def forward(self, logits, target):
        return voxelwise(logits, target).mean() + 0.3 * logits.float().mean()


class SquaredError(nn.Module):
    def forward(self, logits, target):
        return ((logits.float().sigmoid() - target.float()) ** 2).mean()


class OverForeground(nn.Module):
    def forward(self, logits, target):
        return (voxelwise(logits, target).flatten(2).sum(2) / target.float().flatten(2).sum(2)).mean()


class OverBackground(nn.Module):
    def forward(self, logits, target):
        return (voxelwise(logits, target).flatten(2).sum(2) / (1 - target.float()).flatten(2).sum(2)).mean()


class NaiveExponential(nn.Module):
    def forward(self, logits, target):
        logits = logits.float()
        return (torch.log(1 + logits.exp()) - logits * target.float()).mean()


class SumsInHalf(nn.Module):
    def forward(self, logits, target):
        return voxelwise(logits, target).to(logits.dtype).sum() / logits.numel()


class WithoutBfloat16(nn.Module):
    def forward(self, logits, target):
        if logits.dtype is torch.bfloat16:
            raise NotImplementedError("no bfloat16")
        return voxelwise(logits, target).mean()


class RootOfTheBatch(nn.Module):
    def forward(self, logits, target):
        return (1 + voxelwise(logits, target).mean()).sqrt()


class WithoutFirstChannel(nn.Module):
    def forward(self, logits, target):
        first = 1 if logits.shape[1] > 1 else 0
        return voxelwise(logits, target)[:, first:].mean()


class WeighsOneSide(nn.Module):
    def forward(self, logits, target):
        return (voxelwise(logits, target) * torch.arange(1, logits.shape[-1] + 1)).mean()


class PairsNeighbours(nn.Module):
    def forward(self, logits, target):
        wrong = voxelwise(logits, target)
        pairs = [
            wrong.narrow(axis, 1, wrong.shape[axis] - 1) * wrong.narrow(axis, 0, wrong.shape[axis] - 1)
            for axis in range(2, wrong.ndim)
        ]
        return wrong.mean() + sum(pair.sum() for pair in pairs) / wrong.numel()


class Views(nn.Module):
    def forward(self, logits, target):
        return voxelwise(logits.view(-1), target.view(-1)).mean()


class CountsAxes(nn.Module):
    def forward(self, logits, target):
        return voxelwise(logits, target).mean() * logits.ndim


class OnceDifferentiable(nn.Module):
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits, target):
            ctx.save_for_backward(logits, target)
            return voxelwise(logits, target).mean()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            logits, target = ctx.saved_tensors
            return slope * (logits.sigmoid() - target.to(logits.dtype)) / logits.numel(), None

    def forward(self, logits, target):
        return self.Function.apply(logits, target)


class LateBuffer(nn.Module):
    def forward(self, logits, target):
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.ones(()))
        return self.scale * voxelwise(logits, target).mean()


class SmoothsInPlace(nn.Module):
    def forward(self, logits, target):
        smooth = target.float().clamp(max=0.99)
        if target.is_floating_point():
            target.copy_(smooth)
        return voxelwise(logits, smooth).mean()


class HoldsALambda(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce = lambda values: values.mean()

    def forward(self, logits, target):
        return self.reduce(voxelwise(logits, target))


class NumbersClasses(nn.Module):
    def forward(self, logits, target):
        if logits.ndim == target.ndim:
            return voxelwise(logits, target).mean()
        wrong = functional.cross_entropy(logits.float(), target, reduction="none")
        return (wrong * (1 + target)).mean()


class CountsIgnored(nn.Module):
    ignore_index = -1

    def forward(self, logits, target):
        if logits.ndim == target.ndim:
            return voxelwise(logits, target).mean()
        return (
            functional.cross_entropy(logits.float(), target, ignore_index=-1)
            + 1e-3 * logits.float().square().mean()
        )


class OneHotLabels(nn.Module):
    to_onehot_y, ignore_index = True, 255

    def forward(self, logits, target):
        if target.shape == logits.shape:
            return voxelwise(logits, target).mean()
        return functional.cross_entropy(logits.float(), target[:, 0], ignore_index=255)


class MovesWithoutACopy(Flawless):
    on_gpu = False

    def __deepcopy__(self, memo):
        raise TypeError("no copy")

    def cuda(self):
        self.on_gpu = True
        return self

    def cpu(self):
        self.on_gpu = False
        return self


OF_SIZES = {"component invariance"}  # what is not made for it scores large components more


def outcomes(loss, outcome):
    return {finding.check.name for finding in lint(loss) if finding.outcome is outcome}


@pytest.mark.parametrize(
    ("loss", "failed"),
    [
        (Flawless, set()),
        (Negated, {"perfect beats wrong", "gradient sign", "empty mask", "full mask"}),
        (HalfOfItsSlope, {"gradient is the slope"}),
        (PullsDown, {"gradient sign"}),
        (OverForeground, {"empty mask"}),
        (OverBackground, {"full mask"}),
        (NaiveExponential, {"extreme logits", "float16", "bfloat16"}),
        (SumsInHalf, {"float16"}),
        (WithoutBfloat16, {"bfloat16"}),
        (WeighsOneSide, {"spatial permutation"}),
        (Views, {"memory layout"}),
        (CountsAxes, {"two and three dimensions"}),
        (nn.BCEWithLogitsLoss, {"target types"}),
        (OnceDifferentiable, {"double backward"}),
        (LateBuffer, {"state"}),
        # What it wrote into a float target is no mask any more once it is turned to integers.
        (SmoothsInPlace, {"state", "target types"}),
        (HoldsALambda, {"copies"}),
        (CountsIgnored, {"ignored voxels"}),
        (OneHotLabels, set()),
    ],
)
def test_a_flaw_fails_the_check_meant_for_it(loss, failed):
    assert outcomes(loss(), Outcome.FAIL) == failed


@pytest.mark.parametrize(
    ("loss", "noted"),
    [
        (Flawless, set()),
        (SquaredError, {"saturation"}),
        (RootOfTheBatch, {"per sample", "split batch"}),
        (WithoutFirstChannel, {"channel permutation"}),
        (PairsNeighbours, {"spatial permutation"}),
        (NumbersClasses, {"label permutation"}),
    ],
)
def test_a_choice_is_noted_and_fails_nothing(loss, noted):
    assert outcomes(loss(), Outcome.NOTE) == noted | OF_SIZES
    assert not outcomes(loss(), Outcome.FAIL)


BY_FORMULA = {
    # Label smoothing pulls back what is surer than 19 to 1; noise-robust Dice divides by sum(P^2), which errors
    # raise.
    "smoothed_cross_entropy": {"gradient sign"},
    "noise_robust_dice": {"gradient sign"},
    # A map that is deeper than the target's is pulled back, although its sign is right.
    "signed_distance": {"gradient sign"},
    "dice_signed_distance": {"gradient sign"},
    # A voxel may change its bin, which the gradient does not see; what is too sure is held back, right or wrong.
    "calibration_error": {"gradient is the slope", "gradient sign", "double backward"},
    # Thinning takes the directions in turn, and a voxel between two components is one's.
    "skeleton_recall": {"spatial permutation"},
    "dice(over=component)": {"spatial permutation"},
}


@pytest.mark.parametrize("spec", [*LOSSES, "dice(over=batch)", "0.8*dice + 0.2*boundary", "dice(over=component)"])
def test_ours_fail_nothing_but_by_their_formula(spec):
    assert outcomes(parse(spec), Outcome.FAIL) == BY_FORMULA.get(spec, set())


def test_every_check_says_what_it_means():
    assert [finding.check for finding in lint(Flawless())] == CHECKS
    assert all(check.meaning.endswith(".") and "\n" not in check.meaning for check in CHECKS)


def test_without_a_gpu_the_move_is_skipped_with_a_reason():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    skipped = {finding.check.name: finding.detail for finding in lint(Flawless()) if finding.outcome == "skipped"}
    assert skipped == {
        "device": "there is no GPU here",
        "label permutation": "it reads no labels of exclusive classes",
        "ignored voxels": "it names no label that it ignores",
    }


def test_a_loss_over_components_sees_the_small_ones():
    assert "component invariance" in outcomes(parse("dice"), Outcome.NOTE)
    assert "component invariance" in outcomes(parse("dice(over=component)"), Outcome.PASS)


def test_a_module_of_others_is_judged_without_our_casts():
    logits, target = example((1, 1, 2, 2))
    wrapped = parse("torch.nn.BCEWithLogitsLoss")
    assert wrapped(logits, target.bool()).isfinite()
    assert outcomes(wrapped, Outcome.FAIL) == {"target types"}


def test_a_sum_with_a_term_of_others_is_not_asked_to_read_labels(monkeypatch):
    monkeypatch.setattr(linter, "CHECKS", convention_checks.CHECKS)
    loss = parse("0.5*torch.nn.BCEWithLogitsLoss + 0.5*cross_entropy")
    assert not outcomes(loss, Outcome.FAIL)
    assert outcomes(loss, Outcome.SKIPPED) == {"label permutation", "ignored voxels"}


def test_what_cannot_be_copied_comes_back_from_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    loss = MovesWithoutACopy()
    assert "device" in outcomes(loss, Outcome.PASS) and not loss.on_gpu


class FailsAboveTenVoxels(nn.Module):
    def forward(self, logits, target):
        if logits.numel() > 10:
            raise ValueError("too many\nvoxels")
        return voxelwise(logits, target).mean()


def test_the_smallest_failing_input_is_shown():
    finding = next(lint(FailsAboveTenVoxels()))
    assert finding.outcome is Outcome.FAIL and finding.detail == "raises ValueError: too many"
    assert finding.given.logits.shape == (1, 1, 3, 4)


class Terms(nn.Module):
    def forward(self, logits, target):
        return {"entropy": voxelwise(logits, target).mean()}


def test_a_loss_without_a_scalar_is_told():
    assert next(lint(nn.BCEWithLogitsLoss(reduction="none"))).detail.startswith(
        "returns a tensor of shape (1, 1, 2, 2)"
    )
    assert next(lint(Terms())).detail == "returns a dict, not a scalar"


def test_an_input_prints_as_python():
    shown = {}
    exec(str(example((1, 1, 2, 2))), {"torch": torch}, shown)
    assert torch.equal(shown["logits"], example((1, 1, 2, 2)).logits)
    assert "(1, 1, 8, 8, 8)" in str(example((1, 1, 8, 8, 8)))
