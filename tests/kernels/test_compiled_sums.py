"""The compiled sums against plain operations in double precision, for every activation, target and type."""

import pytest
import torch
from torch.nn import functional

from spineloss.kernels import native, passes
from spineloss.kernels.columns import CROSS_ENTROPY, KINDS, Column
from spineloss.kernels.compiled_sums import compiled_sums
from spineloss.kernels.plain_sums import ALWAYS, plain_sums
from spineloss.kernels.surprises import surprises
from spineloss.kernels.weighted_sums import weighted_error_sum, weighted_sum

FOCAL = (CROSS_ENTROPY, *(Column("entropy", gamma) for gamma in (0.5, 1.45, 2.0)))
ASKED = [[], [CROSS_ENTROPY], [Column("entropy", 2.0)], FOCAL]
# Each other kind with exponents that take another way through the code.
ASKED += [[Column(kind, exponent) for exponent in (1.0, 1.5, 2.0)] for kind in KINDS[1:]]
ASKED += [[Column("box_cox", 0.7), Column("foreground"), Column("background", 0.5), CROSS_ENTROPY]]
ACTIVATIONS = ("sigmoid", "softmax")
pytestmark = pytest.mark.skipif(native.library() is None, reason="spineloss was installed without a C compiler")


@pytest.fixture(autouse=True)
def small_tensors_too(lanes, monkeypatch):
    monkeypatch.setattr(passes, "SMALL", 1)


def example(classes=5, scale=3.0, seed=0):
    """Logits (2, C, 3, 17, 31), which no vector divides, and labels, one in twenty of no class."""
    random = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((2, classes, 3, 17, 31), generator=random)
    labels = torch.randint(0, classes, (2, 3, 17, 31), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.05] = classes + 2
    return logits, labels


def one_hot(labels, classes):
    return (labels[:, None] == torch.arange(classes).view(-1, 1, 1, 1)).float()


def both(sums, logits, *arguments, **settings):
    """The columns, and the gradient of a mix of them."""
    logits = logits.clone().requires_grad_()
    columns = sums(logits, *arguments, **settings)
    mix = torch.linspace(0.5, 2, columns.numel()).to(columns).view_as(columns)
    return columns.detach(), torch.autograd.grad((mix * columns).sum(), logits)[0]


def check(logits, target, mask=None, columns=FOCAL, **settings):
    found, slope = both(compiled_sums, logits, target, mask, columns=columns, **settings)
    wide = target.double() if target.is_floating_point() else target
    expected, expected_slope = both(plain_sums, logits.double(), wide, mask, columns=columns, **settings)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=1e-4, atol=1e-5)
    return slope


@pytest.mark.parametrize("columns", ASKED, ids=lambda asked: " ".join(dict(asked)))
@pytest.mark.parametrize("scale", [0.01, 3, 60, 6000])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_they_equal_plain_operations_in_double(activation, kind, scale, columns):
    logits, labels = example(scale=scale)
    soft = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)).softmax(1)
    target = {"labels": labels, "one-hot": one_hot(labels, 5), "soft": soft}[kind]
    check(logits, target, columns=columns, activation=activation)


@pytest.mark.parametrize(
    ("activation", "scale"),
    [("sigmoid", 0.01), ("sigmoid", 3), ("sigmoid", 60), ("sigmoid", 6000), ("softmax", 0.01), ("softmax", 3)],
)
def test_small_powers_of_the_entropy(activation, scale):
    # Their slope is infinite at 0, and PyTorch knows -log P of a sure class to 1e-16 alone, in double precision.
    logits, labels = example(scale=scale)
    columns = [Column("entropy_power", exponent) for exponent in (0.1, 0.3, 0.9)]
    check(logits, labels, columns=columns, activation=activation)


@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_ignored_or_masked_changes_nothing(activation, kind):
    logits, labels = example()
    labels[:, :, 3:9] = 255
    mask = (torch.rand((2, 1, *labels.shape[1:]), generator=torch.Generator().manual_seed(2)) < 0.7).float()
    target = labels if kind == "labels" else torch.rand(logits.shape, generator=torch.Generator().manual_seed(1))
    uncounted = (mask == 0) | (labels[:, None] == 255) if kind == "labels" else mask == 0
    slope = check(logits, target, mask, activation=activation, ignore=255)
    noise = torch.where(uncounted, torch.nan, logits)
    for found, wanted in zip(
        both(compiled_sums, noise, target, mask, activation=activation, ignore=255, columns=FOCAL),
        both(compiled_sums, logits, target, mask, activation=activation, ignore=255, columns=FOCAL),
        strict=True,
    ):
        assert torch.equal(found, wanted)
    assert not slope[uncounted.expand_as(slope)].any()


@pytest.mark.parametrize("classes", [1, 2, 25, 118, 512])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_number_of_classes(activation, classes):
    logits, labels = example(classes)
    check(logits[:, :, :1], labels[:, :1], activation=activation)


def test_a_gradient_that_is_stored_past_the_caches_is_the_same(monkeypatch):
    logits, labels = example()
    logits, labels = logits[:, :, :, :16], labels[:, :, :16]  # some rows begin at a whole vector, some do not
    cached = check(logits, labels, activation="softmax")
    monkeypatch.setattr(passes, "UNCACHED", 0)
    assert torch.equal(check(logits, labels, activation="softmax"), cached)


def test_softmax_cross_entropy_is_that_of_pytorch():
    logits, labels = example()
    labels[labels > 4] = -100
    sums = compiled_sums(logits, labels, activation="softmax", ignore=-100, columns=[CROSS_ENTROPY])
    found = sums[..., -1].sum() / sums[:, 0, 0].sum()
    assert found.item() == pytest.approx(functional.cross_entropy(logits.double(), labels).item(), rel=1e-6)


@pytest.mark.parametrize(
    "kind",
    [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
    + [torch.float16, torch.bfloat16, torch.float32, torch.float64],
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_labels_of_any_type_are_the_same(activation, kind):
    logits, labels = example()
    labels = labels % 2 if kind == torch.bool else labels
    found = both(compiled_sums, logits, labels.to(kind), activation=activation, ignore=1)
    expected = both(compiled_sums, logits, labels, activation=activation, ignore=1)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("label", [5, -1, 256, 2**31, 2**32 + 1, -(2**40), 1.5, float("nan"), float("inf"), 3e9])
def test_a_label_of_no_class_is_outside_and_of_none(label):
    logits, labels = example()
    labels = labels % 5
    labels = labels.float() if isinstance(label, float) else labels
    labels[0, 0, 0, 0] = label
    sums = compiled_sums(logits, labels, activation="softmax")
    assert sums[:, :, ALWAYS.index("outside")].tolist() == [[1.0] * 5, [0.0] * 5]
    assert sums[:, :, ALWAYS.index("true")].sum(1).tolist() == [3 * 17 * 31 - 1, 3 * 17 * 31]


@pytest.mark.parametrize("value", [-0.01, 1.01, torch.nan, torch.inf])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_value_that_is_no_share_is_outside(activation, value):
    logits, labels = example()
    target = one_hot(labels, 5)
    target[1, 2, 0, 0, 0] = value
    outside = compiled_sums(logits, target, activation=activation)[:, :, ALWAYS.index("outside")]
    assert outside.nonzero().tolist() == [[1, 2]] and outside.sum() == 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_half_logits_are_summed_wide_and_the_gradient_is_rounded_once(activation, kind):
    logits, labels = example()
    found, slope = both(compiled_sums, logits.to(kind), labels, activation=activation, columns=FOCAL)
    expected, wide = both(compiled_sums, logits.to(kind).float(), labels, activation=activation, columns=FOCAL)
    assert found.dtype == torch.float32 and slope.dtype == kind
    assert torch.equal(found, expected) and torch.equal(slope, wide.to(kind))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_every_half_number_is_read_as_it_is(kind):
    logits = torch.arange(-(2**15), 2**15).to(torch.int16).view(kind).view(1, 1, -1)
    weights = torch.ones_like(logits)
    single = logits.float().requires_grad_()
    half = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(weighted_sum(half, weights).sum(), half)
    (expected,) = torch.autograd.grad(weighted_sum(single, weights).sum(), single)
    assert torch.equal(found.nan_to_num(9), expected.to(kind).nan_to_num(9))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_half_gradient_is_rounded_as_pytorch_rounds(kind):
    logits = torch.zeros((1, 1, 1 << 16), dtype=kind, requires_grad=True)
    scale = torch.logspace(-12, 8, 1 << 16).view(1, 1, -1)
    (found,) = torch.autograd.grad(weighted_sum(logits, scale).sum(), logits)
    assert torch.equal(found, (scale / 4).to(kind))


def test_the_gradient_is_exact_where_the_softmax_is_sure():
    gap = torch.linspace(0.01, 80, 4096)
    logits = torch.stack([gap, torch.zeros_like(gap), -torch.ones_like(gap)])[None].requires_grad_()
    labels = torch.zeros((1, 4096), dtype=torch.int64)
    sums = compiled_sums(logits, labels, activation="softmax", columns=FOCAL[::3])[0, 0]
    odds = torch.logsumexp(logits.detach().double()[0, 1:], 0) - logits.detach().double()[0, 0]
    p, wrong, entropy = torch.special.expit(-odds), torch.special.expit(odds), functional.softplus(odds)
    slopes = {
        "overlap": p * wrong,
        "squared_error": -2 * p * wrong**2,
        "entropy": -wrong,
        "focal": -(wrong**3) - 2 * wrong**2 * p * entropy,
    }
    for column, expected in zip((2, 5, 6, 7), slopes.values(), strict=True):
        (found,) = torch.autograd.grad(sums[column], logits, retain_graph=True)
        torch.testing.assert_close(found[0, 0].double(), expected, rtol=3e-6, atol=1e-37)


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FC00001, 0x7FFFFFFF, 0x7F800001, -1, -0x400000 + 5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_stays_nan_whatever_its_bits(activation, bits):
    logits, labels = example()
    logits[1, 2, 1, 1].view(torch.int32)[20] = bits
    labels[1, 1, 1, 20] = 2
    found, slope = both(compiled_sums, logits, labels, activation=activation, columns=FOCAL)
    assert found[1, 2, 2:].isnan().sum() == len(ALWAYS) - 3 + len(FOCAL)  # all but `true`
    assert slope[1, 2, 1, 1, 20].isnan()


def test_a_boolean_of_any_byte_is_true():
    logits, labels = example()
    target = one_hot(labels, 5) > 0
    mask = torch.rand((2, 1, 3, 17, 31), generator=torch.Generator().manual_seed(2)) < 0.7
    odd = [(volume.to(torch.uint8) * 6).view(torch.bool) for volume in (target, mask)]
    for activation in ACTIVATIONS:
        found = compiled_sums(logits, *odd, activation=activation)
        assert torch.equal(found, compiled_sums(logits, target, mask, activation=activation))


def test_one_pass_needs_no_volume_but_the_gradient():
    logits = torch.randn(2, 6, 16, 64, 64, requires_grad=True)
    labels = torch.randint(0, 6, (2, 16, 64, 64))
    compiled_sums(logits, labels, activation="softmax", columns=FOCAL[::3]).sum().backward()
    logits.grad = None
    with torch.profiler.profile(profile_memory=True) as profile:
        compiled_sums(logits, labels, activation="softmax", columns=FOCAL[::3]).sum().backward()
    taken = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
    assert taken < 1.1 * logits.numel() * 4


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", [None, "labels", "soft"])
def test_weighted_sums_equal_plain_operations_in_double(activation, kind):
    logits, labels = example()
    random = torch.Generator().manual_seed(1)
    weights = 20 * torch.randn(logits.shape, generator=random)
    weights[:, :, 1, 4:9] = weights[:, 1] = 0
    logits[:, :, 1, 5] = torch.nan
    target = {"labels": labels, "soft": torch.rand(logits.shape, generator=random), None: None}[kind]

    def sums(logits, target, weights):
        if target is None:
            return weighted_sum(logits, weights, activation=activation)
        return weighted_error_sum(logits, target, weights, activation=activation)

    found, slope = both(sums, logits, target, weights)
    wide = target.double() if kind == "soft" else target
    expected, expected_slope = both(sums, logits.double(), wide, weights.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_surprise_of_each_voxel_is_that_of_plain_operations(activation, kind):
    logits, labels = example()
    labels = labels % 5
    labels[:, :, 3:9] = 255
    mask = torch.rand((2, 1, *labels.shape[1:]), generator=torch.Generator().manual_seed(2)) < 0.7
    soft = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)).softmax(1)
    target = {"labels": labels, "one-hot": one_hot(labels, 5), "soft": soft}[kind]
    logits[:, :, :, 3:9] = torch.nan if kind == "labels" else 0.0
    for some in (None, mask):
        found = surprises(logits, target, some, activation=activation, ignore=255)
        expected = surprises(logits.double(), target, some, activation=activation, ignore=255)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
