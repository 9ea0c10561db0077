"""The checks of the linter: what may hold of a loss of independent channels, each a function of it and an input.

A check returns where its property holds and raises a `Flaw` where it does not. Its name is the function's, its
meaning the docstring.
"""

import copy
import pickle

import torch
from torch import nn

from spineloss.lossbook.judging import (
    CONFIDENT,
    Check,
    Flaw,
    Input,
    Outcome,
    both_sides,
    collector,
    expect,
    expect_finite,
    expect_same_value,
    gradient_of,
    may_raise,
    right_logits,
    same,
    slope_of,
    value_of,
)

SHAPES = ((1, 1, 2, 2), (1, 1, 2, 2, 2), (1, 1, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4, 5))
BATCHES = ((2, 1, 2, 2), (3, 1, 2, 2), (2, 1, 2, 2, 2), (3, 2, 3, 4, 5))
CHANNELS = ((1, 2, 2, 2), (1, 2, 2, 2, 2), (2, 3, 3, 4, 5))
FLAT = ((1, 1, 2, 2), (2, 2, 3, 4), (2, 2, 6, 7))
# The last holds more voxels than float16 can count.
UP_TO_A_VOLUME = (*SHAPES, (1, 1, 64, 64, 64))

LARGEST = 60_000.0  # float16 ends at 65,504
VANISHED = 1e-3

CHECKS: list[Check] = []
check = collector(CHECKS)


@check(SHAPES)
def perfect_beats_wrong(loss: nn.Module, given: Input) -> None:
    """The perfect prediction costs less than the wholly wrong one."""
    perfect, wrong = both_sides(loss, given.target)
    shown = Input(right_logits(given.target), given.target)
    expect(perfect < wrong, f"perfect costs {perfect:.6g}, wrong {wrong:.6g}", shown)


@check(SHAPES)
def gradient_is_the_slope(loss: nn.Module, given: Input) -> None:
    """The gradient is the slope of the value, by finite differences."""
    given, step = _widened(given), _direction(given)
    expected = (value_of(loss, _moved(given, step)) - value_of(loss, _moved(given, -step))) / 2
    slope = gradient_of(loss, given)
    found = (slope * step).sum()
    close = (found - expected).abs() <= 0.01 * slope.norm() * step.norm()
    expect(close, f"a step changes the value by {expected:.6g}, the gradient says {found:.6g}", given)


@check(SHAPES)
def gradient_sign(loss: nn.Module, given: Input) -> None:
    """A step down the gradient raises no logit of the background and lowers none of the foreground."""
    slope = gradient_of(loss, given)
    largest = slope.abs().max()
    expect(largest > 0, "the gradient is zero everywhere", given)
    uphill = (slope * right_logits(given.target, 1.0)).max() / largest
    expect(uphill <= 1e-5, f"a voxel is pushed the wrong way, by {uphill:.2g} of the largest gradient", given)


@check(SHAPES)
def saturation(loss: nn.Module, given: Input) -> None:
    """Confidently wrong voxels (logit 20 on the wrong side) still have a gradient."""
    unsure, sure = (
        gradient_of(loss, Input(right_logits(given.target, side), given.target)).abs().max()
        for side in (-1.0, -20.0)
    )
    detail = f"at logit 20 on the wrong side the gradient is {sure / unsure:.1g} of that at 1"
    wrong = Input(right_logits(given.target, -20.0), given.target)
    expect(sure > VANISHED * unsure, detail, wrong, Outcome.NOTE)


@check(SHAPES)
def empty_mask(loss: nn.Module, given: Input) -> None:
    """A target without foreground: value and gradient are finite, right costs no more than wrong, it teaches."""
    one_absent = given.target.clone()
    one_absent[:, 0] = 0
    expect_finite(loss, Input(given.logits, one_absent))
    _judge_uniform(loss, given, torch.zeros_like(given.target))


@check(SHAPES)
def full_mask(loss: nn.Module, given: Input) -> None:
    """A target without background: value and gradient are finite, right costs no more than wrong, it teaches."""
    _judge_uniform(loss, given, torch.ones_like(given.target))


def _judge_uniform(loss: nn.Module, given: Input, target: torch.Tensor) -> None:
    uniform = Input(given.logits, target)
    for logits in (given.logits, right_logits(target), right_logits(target, -CONFIDENT)):
        expect_finite(loss, Input(logits, target))
    right, wrong = both_sides(loss, target)
    expect(right <= wrong + 1e-6, f"right costs {right:.6g}, wrong {wrong:.6g}", uniform)
    usual, here = gradient_of(loss, given).abs().max(), gradient_of(loss, uniform).abs().max()
    detail = f"the gradient is {here / usual:.1g} of that with both classes: such a mask teaches next to nothing"
    expect(here > VANISHED * usual, detail, uniform, Outcome.NOTE)


@check(SHAPES)
def extreme_logits(loss: nn.Module, given: Input) -> None:
    """Value and gradient are finite at logits of +-60,000, right and wrong."""
    _judge_extremes(loss, given)


@check(UP_TO_A_VOLUME)
def float16(loss: nn.Module, given: Input) -> None:
    """In float16 value and gradient are finite up to +-60,000; up to 64^3 voxels the value is float32's."""
    _judge_half(loss, given, torch.float16)


@check(UP_TO_A_VOLUME)
def bfloat16(loss: nn.Module, given: Input) -> None:
    """In bfloat16 value and gradient are finite up to +-60,000; up to 64^3 voxels the value is float32's."""
    _judge_half(loss, given, torch.bfloat16)


def _judge_extremes(loss: nn.Module, given: Input) -> None:
    for logits in (
        right_logits(given.target, LARGEST),
        right_logits(given.target, -LARGEST),
        LARGEST * given.logits.sign(),
    ):
        expect_finite(loss, Input(logits, given.target))


def _judge_half(loss: nn.Module, given: Input, dtype: torch.dtype) -> None:
    half = Input(given.logits.to(dtype), given.target.to(dtype))
    expect_finite(loss, half)
    value, expected = value_of(loss, half), value_of(loss, Input(half.logits.float(), half.target.float()))
    expect(same(value, expected, 0.03), f"{value:.6g} instead of float32's {expected:.6g}", half)
    _judge_extremes(loss, half)


@check(BATCHES)
def per_sample(loss: nn.Module, given: Input) -> None:
    """The loss of a batch is the mean of the losses of its samples."""
    whole = value_of(loss, given)
    alone = torch.stack([value_of(loss, part) for part in _split(given, 1)]).mean()
    detail = f"the batch costs {whole:.6g}, its samples {alone:.6g} on average"
    expect(same(whole, alone), detail, given, Outcome.NOTE)


@check(BATCHES)
def split_batch(loss: nn.Module, given: Input) -> None:
    """Gradients accumulated over unequal parts of a batch, each by its share, are those of the whole."""
    whole = gradient_of(loss, given)
    samples = len(given.logits)
    parts = [gradient_of(loss, part) * len(part.logits) / samples for part in _split(given, samples - 1)]
    apart, largest = (torch.cat(parts) - whole).abs().max(), whole.abs().max()
    detail = f"the gradients differ by up to {apart:.2g}, the largest is {largest:.2g}"
    expect(apart <= 1e-4 * largest, detail, given, Outcome.NOTE)


def _split(given: Input, samples: int) -> list[Input]:
    return [Input(*part) for part in zip(given.logits.split(samples), given.target.split(samples), strict=True)]


@check(CHANNELS)
def channel_permutation(loss: nn.Module, given: Input) -> None:
    """The order of the channels does not matter."""
    value, turned = value_of(loss, given), value_of(loss, Input(*(volume.flip(1) for volume in given)))
    expect(same(value, turned), f"{value:.6g}, in reverse order {turned:.6g}", given, Outcome.NOTE)


@check(SHAPES)
def spatial_permutation(loss: nn.Module, given: Input) -> None:
    """The order of the spatial axes and their directions do not matter, nor where the voxels are."""
    axes = tuple(range(2, given.logits.ndim))
    expected = value_of(loss, given)
    expect_same_value(loss, Input(*(volume.flip(axes) for volume in given)), expected, "mirrored")
    turned = Input(*(volume.permute(0, 1, *reversed(axes)).contiguous() for volume in given))
    expect_same_value(loss, turned, expected, "with the axes reversed")
    order = torch.randperm(given.logits[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    shuffled = value_of(loss, Input(*(volume.flatten(2)[..., order].view_as(volume) for volume in given)))
    detail = f"it sees where voxels are: {expected:.6g}, shuffled {shuffled:.6g}"
    expect(same(shuffled, expected), detail, given, Outcome.NOTE)


@check(SHAPES)
def memory_layout(loss: nn.Module, given: Input) -> None:
    """Value and gradient of non-contiguous and channels-last input are those of contiguous input."""
    value, slope = value_of(loss, given), gradient_of(loss, given)
    channels_last = torch.channels_last if given.logits.ndim == 4 else torch.channels_last_3d
    layouts = {
        "channels-last": Input(*(volume.contiguous(memory_format=channels_last) for volume in given)),
        "transposed in memory": Input(*(volume.mT.contiguous().mT for volume in given)),
        "every second of a row": Input(*(volume.repeat_interleave(2, -1)[..., ::2] for volume in given)),
    }
    for layout, changed in layouts.items():
        expect_same_value(loss, changed, value, layout)
        expect(same(gradient_of(loss, changed), slope), f"{layout}: the gradient differs", changed)


@check(FLAT)
def two_and_three_dimensions(loss: nn.Module, given: Input) -> None:
    """A 2D input costs what it does as a 3D one of a single slice."""
    expect_same_value(loss, Input(*(volume.unsqueeze(2) for volume in given)), value_of(loss, given), "in 3D")


@check(SHAPES)
def target_types(loss: nn.Module, given: Input) -> None:
    """A target of bool, uint8, int64 or float64 costs what it does in float32."""
    expected = value_of(loss, given)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float64):
        expect_same_value(loss, Input(given.logits, given.target.to(dtype)), expected, str(dtype))


@check(SHAPES)
def device(loss: nn.Module, given: Input) -> None:
    """Moved to the GPU, value and gradient are those of the CPU."""
    if not torch.cuda.is_available():
        raise Flaw(Outcome.SKIPPED, "there is no GPU here")
    value, slope = value_of(loss, given), gradient_of(loss, given)
    moved = Input(*(volume.cuda() for volume in given))
    try:
        with may_raise(moved):
            on_gpu = loss.cuda()
        expect_same_value(on_gpu, moved, value.cuda(), "on the GPU")
        expect(same(gradient_of(on_gpu, moved).cpu(), slope), "the gradient differs on the GPU", moved)
    finally:
        # The other checks see this very loss where it cannot be copied.
        loss.cpu()


@check(SHAPES)
def double_backward(loss: nn.Module, given: Input) -> None:
    """The gradient can be differentiated again, rightly by finite differences."""
    given, step = _widened(given), _direction(given)
    expected = (gradient_of(loss, _moved(given, step)) - gradient_of(loss, _moved(given, -step))) / 2
    logits, _, slope = slope_of(loss, given, again=True)
    found = torch.zeros_like(slope)
    if slope.requires_grad:
        with may_raise(given):
            (found,) = torch.autograd.grad(slope, logits, step, materialize_grads=True)
    # A loss may compute in float32, whatever it is given: its differences are that much coarser.
    close = (found - expected).norm() <= 0.01 * expected.norm() + 1e-4 * slope.norm() * step.norm()
    expect(close, f"the second derivative along a step is {found.norm():.3g}, not {expected.norm():.3g}", given)


def _widened(given: Input) -> Input:
    return Input(given.logits.double(), given.target.double())


def _direction(given: Input) -> torch.Tensor:
    """A small step, so small that no logit of an example changes its sign."""
    return 1e-3 * torch.randn(given.logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _moved(given: Input, step: torch.Tensor) -> Input:
    return Input(given.logits + step, given.target)


@check(SHAPES)
def state(loss: nn.Module, given: Input) -> None:
    """Two calls cost the same and leave their input as it was, and the state_dict makes the same loss again."""
    with may_raise(given):
        twin = copy.deepcopy(loss)
    kept = Input(*(volume.clone() for volume in given))
    first = value_of(loss, given)
    for volume, before in zip(given, kept, strict=True):
        expect(torch.equal(volume, before), "the call writes into its input", kept)
    expect_same_value(loss, given, first, "the second call")
    with may_raise(given):
        twin.load_state_dict(loss.state_dict())
    expect_same_value(twin, given, value_of(loss, given), "from its state_dict")


@check(SHAPES[:1])
def copies(loss: nn.Module, given: Input) -> None:
    """deepcopy and pickling make the same loss again."""
    expected = value_of(loss, given)
    with may_raise(given):
        # Bytes of its own making: nothing that came from a file is unpickled.
        twins = {"a deepcopy": copy.deepcopy(loss), "a pickle": pickle.loads(pickle.dumps(loss))}
    for what, twin in twins.items():
        expect_same_value(twin, given, expected, what)
