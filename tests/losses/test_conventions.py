"""How every loss reads logits and targets: activation, labels, what is ignored, background, weights, lists.

The losses are those of the library, sums of them, learned ones and another package's.
"""

import pickle

import monai.losses
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from spineloss import text as texts
from spineloss.errors import UserError
from spineloss.kernels.target_maps import target_map
from spineloss.learned.meta_loss import MetaLoss
from spineloss.losses import LOSSES, Compound, CrossEntropy, Dice, Tversky
from spineloss.losses.deep_supervision import level_weights
from spineloss.losses.inputs import Inputs
from spineloss.training.weighted_loss import WeightedLoss

EVOLVED = "evolved(divide(mean(square(subtract(p, y))), square(add(mean(p), 0.24))))"
SUMS = ["0.8*dice + 0.2*boundary", "1.0*focal + 2.0*iou + 0.5*cross_entropy", "dice(over=batch) + hausdorff"]
SUMS += ["dice(over=component) + cross_entropy(over=component)"]
OURS = [*LOSSES, *SUMS, EVOLVED, "meta"]
FOREIGN = {
    "sigmoid": "monai.losses.DiceCELoss(sigmoid=true) + dice",
    "softmax": "monai.losses.DiceCELoss(softmax=true, to_onehot_y=true) + dice",
}
WITH_A_BACKGROUND = ["asymmetric_focal", "unified_focal"]  # class 0, of exclusive classes
CLASSES = 4
SHAPE = (2, CLASSES, 4, 5, 6)

ours = pytest.mark.parametrize("text", OURS)
both = pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
everyone = pytest.mark.parametrize(
    ("text", "activation"),
    [(text, activation) for activation in FOREIGN for text in [*OURS, FOREIGN[activation]]],
)


def loss(text, **settings):
    """As `spineloss.loss`, and a meta-loss whose random weights no file holds."""
    return MetaLoss(**settings) if text == "meta" else texts.loss(text, **settings)


def draw(seed=0, shape=SHAPE):
    """Logits, and labels (N, 1, *spatial) with every class in every sample."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=random, dtype=torch.float64)
    labels = torch.randint(shape[1], (shape[0], 1, *shape[2:]), generator=random)
    labels.flatten(1)[:, : shape[1]] = torch.arange(shape[1])
    return logits, labels


def one_hot(labels, classes=CLASSES):
    return torch.nn.functional.one_hot(labels[:, 0].long(), classes).movedim(-1, 1).double()


def value_and_slope(module, logits, target, **context):
    logits = logits.clone().requires_grad_()
    value = module(logits, target, **context)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def assert_same(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-12)


@ours
@both
def test_labels_equal_one_hot(text, activation):
    logits, labels = draw()
    module = loss(text, activation=activation)
    expected = value_and_slope(module, logits, one_hot(labels))
    for target in (labels, labels[:, 0], labels.to(torch.uint8), labels.float(), MetaTensor(labels.float())):
        assert_same(value_and_slope(module, logits, target), expected)


@pytest.mark.parametrize("text", [text for text in OURS if text not in WITH_A_BACKGROUND])
@both
def test_permuting_the_classes_permutes_the_gradient(text, activation):
    if (text, activation) == ("skeleton_recall", "softmax"):
        pytest.skip("the background of exclusive classes has no skeleton")
    logits, labels = draw()
    order = torch.tensor([2, 0, 3, 1])
    module = loss(text, activation=activation)
    value, slope = value_and_slope(module, logits, one_hot(labels))
    assert_same(value_and_slope(module, logits[:, order], one_hot(labels)[:, order]), (value, slope[:, order]))


@ours
def test_the_softmax_gradient_is_that_of_the_value(text):
    logits, labels = draw(shape=(2, 3, 2, 3, 2))
    if "hausdorff" in text:  # its map of the prediction jumps where a probability is 1/2
        away = (logits.softmax(1) - 0.5).abs().amin() > 1e-3
        assert away
    module = loss(text, activation="softmax")
    assert torch.autograd.gradcheck(lambda x: module(x, labels), logits.requires_grad_())


def spoil(logits, target, counted, value):
    """Both as they were where a voxel counts, nonsense elsewhere."""
    wild = torch.randn(logits.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 30
    wild[0, 0, 0] = torch.nan
    return torch.where(counted, logits, wild), torch.where(counted, target, value)


@ours
@both
@pytest.mark.parametrize("kind", [torch.uint16, torch.uint32, torch.uint64])
def test_labels_and_masks_may_be_of_any_whole_type(text, activation, kind):
    logits, labels = draw()
    module = loss(text, activation=activation, ignore=255)
    for target in (labels, one_hot(labels).long()):
        assert torch.equal(module(logits, target.to(kind)), module(logits, target))


def test_a_value_that_the_target_cannot_hold_ignores_nothing():
    logits, labels = draw()
    ones = one_hot(labels).to(torch.uint8)
    assert loss("dice", ignore=-255)(logits, ones) == loss("dice")(logits, ones)  # -255 has the bits of 1


@both
def test_another_packages_loss_sees_background_where_volumes_are_ignored(activation):
    logits, labels = draw()
    volumes, mask = one_hot(labels), torch.rand(labels.shape) > 0.5
    exclusive = activation == "softmax"
    perfect = 100 * (2 * volumes - 1)
    text = f"monai.losses.DiceLoss({activation}=true, smooth_dr=0)"
    assert loss(text, activation=activation)(perfect, volumes, mask=mask).item() == pytest.approx(0, abs=1e-6)
    if exclusive:
        wrong = torch.where(mask, perfect, perfect.roll(1, 1))
        assert loss(text, activation=activation)(wrong, volumes, mask=mask).item() == pytest.approx(0, abs=1e-6)


@both
@pytest.mark.parametrize("inside", ["sigmoid", "softmax"])
@pytest.mark.parametrize("kind", ["labels", "volumes"])
def test_another_packages_loss_of_ignored_voxels_is_its_own_of_sure_background(activation, inside, kind):
    """`activation` is ours, and `inside` MONAI's: they may differ where labels say which channel is background."""
    if kind == "volumes" and inside != activation:
        pytest.skip("whether volumes have a channel of background is what our activation says")
    logits, labels = draw()
    mask = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    has_channel = kind == "labels" or activation == "softmax"
    sure = torch.full((CLASSES, 1, 1, 1), -100.0, dtype=torch.float64)
    sure[0] = 100 if has_channel else -100
    filled = torch.where(mask, one_hot(labels), (sure > 0).double())
    expected = monai.losses.DiceLoss(**{inside: True})(torch.where(mask, logits, sure), filled)
    one_hots = "true" if kind == "labels" else "false"
    text = f"monai.losses.DiceLoss({inside}=true, to_onehot_y={one_hots})"
    target = labels if kind == "labels" else one_hot(labels)
    found = loss(text, activation=activation)(logits, target, mask=mask)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    if kind == "labels":
        ignored = loss(text, activation=activation, ignore=255)(logits, torch.where(mask, labels, 255))
        assert ignored.item() == found.item()


def test_another_packages_loss_of_labels_takes_no_mask_of_each_class():
    logits, labels = draw()
    module = loss("monai.losses.DiceLoss(sigmoid=true, to_onehot_y=true)")
    with pytest.raises(UserError, match="a mask of one channel"):
        module(logits, labels, mask=torch.ones(SHAPE))


@everyone
def test_an_ignored_label_counts_nowhere(text, activation):
    logits, labels = draw()
    counted = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    counted.flatten(1)[:, :CLASSES] = True
    if "monai" in text and activation == "sigmoid":
        pytest.skip("MONAI's own sigmoid reads volumes")
    module = loss(text, activation=activation, ignore=255)
    expected, slope = value_and_slope(module, logits, torch.where(counted, labels, 255))
    assert (slope[~counted.expand(SHAPE)] == 0).all()
    noisy, _ = spoil(logits, labels, counted, 255)
    assert_same(value_and_slope(module, noisy, torch.where(counted, labels, 255)), (expected, slope))
    # Whatever is under a mask, too.
    for under in (0, 3, 77):
        masked = loss(text, activation=activation)
        found = value_and_slope(masked, *spoil(logits, labels, counted, under), mask=counted)
        assert_same(found, (expected, slope))


@pytest.mark.parametrize("text", [*OURS, FOREIGN["sigmoid"]])
def test_regions_name_what_is_ignored_in_a_last_channel(text):
    logits, labels = draw()
    regions = one_hot(labels)
    counted = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    expected = value_and_slope(loss(text), logits, regions, mask=counted)
    target = torch.cat([regions, (~counted).double()], dim=1)
    assert_same(value_and_slope(loss(text, ignore=9), logits, target), expected)
    per_channel = torch.where(counted, regions, 9)
    assert_same(value_and_slope(loss(text, ignore=9), logits, per_channel), expected)


@ours
@both
def test_counting_some_voxels_is_having_those_alone(text, activation):
    logits, labels = draw(shape=(2, CLASSES, 6, 5, 6))
    if any(name in text for name in ("boundary", "hausdorff")):
        labels[:, :, 3:] = labels[:, :, 2:3]  # so that no nearest voxel lies beyond the cut
        logits[:, :, 3:] = logits[:, :, 2:3]
        pytest.skip("a cut moves distances: see the test of the maps")
    mask = torch.zeros_like(labels, dtype=torch.bool)
    mask[:, :, :3] = True
    value, slope = value_and_slope(loss(text, activation=activation), logits, labels, mask=mask)
    alone = value_and_slope(loss(text, activation=activation), logits[:, :, :3], labels[:, :, :3])
    assert_same((value, slope[:, :, :3]), alone)


def test_distances_are_to_the_nearest_voxel_that_counts():
    # Of a row 1 1 ? ? 0 0, the foreground's edge is 3 from the first counted background.
    labels = torch.tensor([[[[1, 1, 7, 7, 0, 0]]]])
    inputs = loss("boundary", ignore=7).inputs(torch.zeros(1, 1, 1, 6), labels[:, 0])
    assert inputs.distances("mm").flatten().tolist() == [-4, -3, 0, 0, 3, 4]


@both
@pytest.mark.parametrize("text", ["dice", "tversky_focal", "boundary", "hausdorff", "dice(over=batch)", EVOLVED])
def test_background_is_left_out_of_overlap_and_distances(text, activation):
    logits, labels = draw()
    found = loss(text, activation=activation, background=False)(logits, labels)
    inputs = loss(text, activation=activation).inputs(logits, labels)
    assert found.item() == pytest.approx(loss(text).values(inputs)[:, 1:].mean().item(), rel=1e-9)


@both
@pytest.mark.parametrize("text", ["cross_entropy", "focal"])
def test_background_stays_in_cross_entropies(text, activation):
    logits, labels = draw()
    with_it, without = (loss(text, activation=activation, background=each) for each in (True, False))
    assert with_it(logits, labels) == without(logits, labels)


@both
@pytest.mark.parametrize("text", ["dice", "tversky_focal", "boundary", "hausdorff", EVOLVED, "meta"])
def test_class_weights_average_overlap_and_distances(text, activation):
    logits, labels = draw()
    weights = [0.5, 2.0, 0.0, 1.5]
    values = loss(text).values(loss(text, activation=activation).inputs(logits, labels))
    found = loss(text, activation=activation, class_weights=weights)(logits, labels)
    assert found.item() == pytest.approx(np.average(values.detach().mean(0), weights=weights), rel=1e-9)


def test_class_weights_of_independent_channels_average_the_cross_entropies():
    logits, labels = draw()
    weights, target = torch.tensor([0.5, 2.0, 0.0, 1.5], dtype=torch.float64), one_hot(labels)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(
        (0, 2, 3, 4)
    )
    found = loss("cross_entropy", class_weights=weights)(logits, labels)
    assert found.item() == pytest.approx(((each * weights).sum() / weights.sum()).item(), rel=1e-12)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.5]])
@pytest.mark.parametrize("ignore", [None, 255])
def test_softmax_cross_entropy_is_pytorchs(weights, ignore):
    logits, labels = draw()
    target = labels if ignore is None else torch.where(torch.rand(labels.shape) < 0.7, labels, ignore)
    theirs = torch.nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=-100 if ignore is None else ignore,
    )
    found = loss("cross_entropy", activation="softmax", class_weights=weights, ignore=ignore)
    expected = theirs(logits, target[:, 0])
    assert found(logits, target).item() == pytest.approx(expected.item(), rel=1e-12)
    assert found(logits, target.half()).item() == pytest.approx(expected.item(), rel=1e-12)


@ours
@both
def test_a_list_is_the_sum_by_hand(text, activation):
    coarse = [(2, CLASSES, 8, 8, 8), (2, CLASSES, 4, 8, 4), (2, CLASSES, 2, 4, 2)]
    logits = [draw(seed, shape)[0] for seed, shape in enumerate(coarse)]
    full = draw(9, coarse[0])[1]
    # The nearest voxel of every second is the later one of the two.
    targets = [full, full[:, :, 1::2, :, 1::2], full[:, :, 2::4, 1::2, 2::4]]
    spacings = [(1.0, 2.0, 3.0), (2.0, 2.0, 6.0), (4.0, 4.0, 12.0)]
    for levels, weights in (
        ("nnunet", (2 / 3, 1 / 3, 0)),
        ("monai", (1, 1 / 2, 1 / 4)),
        ([0.2, 0, 3], (0.2, 0, 3)),
    ):
        module = loss(text, activation=activation, levels=levels)
        alone = [
            module(seen, target, spacing=steps)
            for seen, target, steps in zip(logits, targets, spacings, strict=True)
        ]
        expected = sum(weight * value for weight, value in zip(weights, alone, strict=True)).item()
        assert module(logits, full, spacing=spacings[0]).item() == pytest.approx(expected, rel=1e-9)
        if not module.needs:  # maps depend on the spacing
            assert module(tuple(logits), targets).item() == pytest.approx(expected, rel=1e-9)


def test_a_level_has_its_spacing_whether_the_finest_is_whole_or_not():
    logits, full = [draw(0, (1, 2, size, size))[0] for size in (9, 5)], draw(1, (1, 2, 9, 9))[1]
    module = loss("boundary", levels=(0, 1))
    assert module(logits, full, spacing=(2, 3)) == module(logits, full, spacing=(2.0, 3.0))


def test_a_mask_of_the_finest_level_may_hold_one_number_along_an_axis():
    logits, labels = draw()
    mask = torch.arange(SHAPE[2]).view(1, 1, -1, 1, 1).expand(2, -1, -1, -1, -1) > 1
    given, module = [logits, logits[..., ::2, ::2, ::2]], loss("dice", activation="softmax")
    assert module(given, labels, mask=mask) == module(given, labels, mask=mask.expand_as(labels))


def test_levels_weigh_as_in_monai():
    theirs = monai.losses.DeepSupervisionLoss(monai.losses.DiceLoss()).get_weights(levels=7)
    assert level_weights("monai", 7) == theirs


@pytest.mark.parametrize("weighted", [False, True])
def test_given_maps_are_those_of_the_finest_level(weighted):
    logits, labels = draw()
    maps, coarse = {"mm": torch.full(SHAPE, 9.0, dtype=torch.float64)}, logits[..., ::2, ::2, ::2]
    module = loss("dice + boundary", levels="monai")
    called = WeightedLoss(module, "static").eval() if weighted else module
    changed = called([logits, coarse], labels, target_maps=maps) - called([logits, coarse], labels)
    assert changed.item() == pytest.approx(
        (called(logits, labels, target_maps=maps) - called(logits, labels)).item()
    )
    if weighted:
        with pytest.raises(TypeError, match="nonsense"):
            called([logits, coarse], labels, nonsense=1)


@ours
@both
@pytest.mark.parametrize("scale", [0.0, 100.0])
def test_classes_that_are_absent_stay_finite(text, activation, scale):
    logits, labels = draw()
    labels = torch.where(labels == 2, 0, labels)
    for target in (labels, torch.zeros_like(labels), torch.full_like(labels, 255)):
        value, slope = value_and_slope(loss(text, activation=activation, ignore=255), scale * logits, target)
        assert torch.isfinite(value) and torch.isfinite(slope).all()


@ours
@both
@pytest.mark.parametrize("magnitude", [1000.0, 60000.0])
def test_extreme_logits_stay_finite(text, activation, magnitude):
    logits, labels = draw()
    logits = (magnitude * logits.sign()).half()
    value, slope = value_and_slope(loss(text, activation=activation), logits, labels)
    assert value.dtype == torch.float32 and torch.isfinite(value) and torch.isfinite(slope).all()


@ours
@both
def test_per_sample_averages_to_the_loss(text, activation):
    logits, labels = draw()
    module = loss(text, activation=activation)
    if "batch" in text:
        with pytest.raises(UserError, match="batch"):
            module.per_sample(logits, labels)
        return
    shares = module.per_sample(logits, labels)
    assert shares.shape == SHAPE[:2]
    assert shares.mean().item() == pytest.approx(module(logits, labels).item(), rel=1e-9)


def test_log_odds_are_those_of_the_softmax():
    logits, labels = draw()
    inputs = loss("dice", activation="softmax").inputs(logits, labels)
    assert_same(inputs.log_odds.sigmoid(), logits.softmax(1))
    # Where one class is sure, its others are not lost to rounding: log(e^80 / (e^0 + e^1)).
    sure = torch.tensor([80.0, 0.0, 1.0]).view(1, 3, 1)
    inputs = loss("dice", activation="softmax").inputs(sure, torch.zeros(1, 1))
    assert inputs.log_odds[0, 0].item() == pytest.approx(80 - np.log(1 + np.e), rel=1e-6)


@both
def test_terms_take_the_settings_of_their_sum_and_agree(activation):
    terms = [(0.5, Dice()), (2.0, CrossEntropy())]
    logits, labels = draw()
    expected = loss("0.5*dice + 2.0*cross_entropy", activation=activation, background=False)(logits, labels)
    assert Compound(terms, activation=activation, background=False)(logits, labels) == expected
    settings = {"activation": activation, "background": False}
    own = [(0.5, Dice(**settings)), (2.0, CrossEntropy(**settings))]
    assert Compound(own)(logits, labels) == expected
    with pytest.raises(UserError, match="ignore is 3 of one and 5 of another"):
        Compound([(1.0, Dice(ignore=3)), (1.0, CrossEntropy(ignore=5))])


@ours
def test_settings_survive_copies_and_stay_out_of_the_text(text):
    module = loss(text, activation="softmax", ignore=255, background=False, class_weights=[1, 2, 3, 4])
    assert str(module) == str(loss(text))
    logits, labels = draw()
    again = pickle.loads(pickle.dumps(module))
    assert again(logits, labels) == module(logits, labels)
    if module.tunable():
        values = {name: 0.8 * each.default for name, each in module.tunable().items()}
        assert module.tuned(values).convention.ignore == 255


@pytest.mark.parametrize("settings", [{"softmax": True}, {"include_background": False}, {"ignore_index": 255}])
@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_keyword_is_a_type_error(name, settings):
    with pytest.raises(TypeError):
        LOSSES[name](**settings)
    with pytest.raises(TypeError):
        LOSSES[name]()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "tanh"}, "activation"),
        ({"ignore": 0.5}, "ignore"),
        ({"background": 0}, "background"),
        ({"class_weights": [1.0, -1.0]}, "class_weights"),
        ({"class_weights": [0.0, 0.0]}, "class_weights"),
        ({"levels": "mean"}, "levels"),
        ({"levels": [1.0, float("nan")]}, "levels"),
        ({"levels": [0.0, 0.0]}, "levels"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    for make in (lambda: loss("dice", **settings), lambda: Tversky(**settings)):
        with pytest.raises(UserError, match=message):
            make()


LOGITS = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize("text", ["dice", "cross_entropy", "boundary", "hausdorff", EVOLVED])
@pytest.mark.parametrize(
    ("logits", "target", "context", "settings", "message"),
    [
        (LOGITS, np.zeros(LOGITS.shape), {}, {}, "target must be a torch.Tensor"),
        (LOGITS.long(), LOGITS, {}, {}, "logits must be of a floating type"),
        (LOGITS[0, 0], LOGITS, {}, {}, r"logits must be \(N, C, \*spatial\)"),
        (LOGITS, LOGITS[..., :2], {}, {}, "target must have the shape of logits"),
        (LOGITS, LOGITS[:1], {}, {}, "target must have the shape of logits"),
        (LOGITS, LOGITS.to("meta"), {}, {}, "target is on meta, and logits on cpu"),
        (LOGITS, LOGITS.to(torch.complex64), {}, {}, "target must be real"),
        (LOGITS, LOGITS, {"mask": LOGITS[..., :2]}, {}, "mask must be"),
        (LOGITS, LOGITS, {"mask": LOGITS}, {"activation": "softmax"}, "mask must be"),
        (LOGITS[:, :1], LOGITS[:, :1], {}, {"activation": "softmax"}, "two channels"),
        (LOGITS[:, :1], LOGITS[:, :1], {}, {"background": False}, "background"),
        (LOGITS, LOGITS, {}, {"class_weights": [1.0, 2.0]}, "class_weights has 2 numbers"),
        (LOGITS, torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), {}, {}, "255 mask"),
        (LOGITS, torch.full((2, 3, 4, 4), -1.0), {}, {}, "lowest -1"),
        (LOGITS, torch.full((2, 3, 4, 4), float("nan")), {}, {}, "target must hold numbers"),
        (LOGITS, torch.full((2, 4, 4), 3), {}, {"activation": "softmax"}, "labels from 0 to 2"),
        (LOGITS, torch.full((2, 4, 4), -1), {}, {"activation": "softmax", "ignore": 255}, "labels from 0 to 2"),
        (LOGITS, torch.full((2, 4, 4), 0.5), {}, {"activation": "softmax"}, "labels from 0 to 2"),
        (LOGITS, LOGITS, {}, {"class_weights": [1, 0, 0], "background": False}, "leaves nothing of class_weights"),
        (LOGITS, LOGITS, {"target_maps": {"distance": LOGITS}}, {}, "target_maps has 'distance'; it may have mm"),
        (LOGITS, LOGITS, {"target_maps": {"mm": LOGITS[:, :1]}}, {}, r"'mm'\] must be \(2, 3, 4, 4\)"),
        ([], [], {}, {}, "empty list"),
        ([LOGITS, LOGITS], [LOGITS], {}, {}, "target has 1 levels"),
        ([LOGITS, LOGITS], LOGITS, {}, {"levels": [1.0]}, "levels has 1 weights"),
        ([LOGITS, LOGITS[..., ::2]], LOGITS[..., 1:], {}, {}, r"target must have the voxels .*; it has \(4, 3\)"),
        ([LOGITS, LOGITS[..., ::2]], LOGITS, {"mask": LOGITS[..., 1:]}, {}, "mask must have the voxels"),
        (LOGITS, LOGITS, {"spacing": (1.0, 0.0)}, {}, "spacing"),
        (LOGITS, LOGITS, {"spacing": (1.0, 1.0, 1.0)}, {}, "spacing"),
    ],
)
def test_what_does_not_fit_is_named_in_one_sentence(text, logits, target, context, settings, message):
    with pytest.raises(UserError, match=message) as error:
        loss(text, **settings)(logits, target, **context)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["dice + cross_entropy", "boundary", "hausdorff", EVOLVED])
def test_a_device_that_a_look_would_halt_stops_by_itself_where_a_target_is_out_of_range(monkeypatch, text):
    monkeypatch.setattr("spineloss.losses.inputs.LOOK_LATER", ("cpu",))  # in place of a GPU
    logits, target = torch.randn(2, 1, 4, 5, 6), torch.rand(2, 1, 4, 5, 6)
    assert torch.isfinite(loss(text)(logits, target))
    with pytest.raises(RuntimeError, match=r"target must hold numbers in \[0, 1\]"):
        loss(text)(logits, 2 * target)
    assert torch.isfinite(loss(text)(logits, 2 * target, mask=2 * target <= 1))


@pytest.mark.parametrize("text", ["cross_entropy", "dice", "focal", "hausdorff", "boundary", "dice_focal"])
def test_an_8_bit_mask_of_one_channel_is_refused(text):
    logits, mask = torch.randn(2, 1, 16, 32, 32), torch.rand(2, 1, 16, 32, 32) > 0.75
    for target in (mask.to(torch.uint8) * 255, mask * 2, torch.where(mask, -1, 0)):
        with pytest.raises(UserError, match="numbers in"):
            loss(text)(logits, target)
    assert torch.isfinite(loss(text, ignore=255)(logits, torch.where(mask, 255, 0)))


@ours
@both
def test_a_weighting_of_any_sum_reads_terms_above_their_least(text, activation):
    logits, labels = draw()
    module = Compound([(0.3, loss(text)), (0.7, Dice())], activation=activation, background=False)
    terms = module.excesses(module.inputs(logits.requires_grad_(), labels))
    assert all(term.item() >= 0 for term in terms.values())
    total = sum(weight * term for weight, term in zip(module.weights, terms.values(), strict=True))
    expected = value_and_slope(module, logits.detach(), labels)[1]
    assert_same(torch.autograd.grad(total, logits)[0], expected)


@pytest.mark.parametrize("text", ["dice + cross_entropy", "hausdorff", "tversky_focal", "matthews"])
def test_modules_replicate_and_compile(text):
    logits, labels = draw()
    module = loss(text, activation="softmax", ignore=255)
    replica = module._replicate_for_data_parallel()
    assert replica(logits, labels) == module(logits, labels)
    if text != "hausdorff":  # its distance maps are NumPy's and C's
        compiled = torch.compile(module, backend="eager")
        assert compiled(logits, labels).item() == pytest.approx(module(logits, labels).item(), rel=1e-6)


def test_what_follows_from_the_inputs_is_computed_once():
    logits, labels = draw()
    inputs = loss("dice + cross_entropy", activation="softmax").inputs(logits, labels)
    assert isinstance(inputs, Inputs) and inputs.sums is inputs.sums


@pytest.mark.parametrize("text", ["boundary + generalised_surface", "dice(over=component) + dice(over=blob)"])
def test_a_map_that_several_terms_read_is_made_once(monkeypatch, text):
    made = []
    monkeypatch.setattr(
        "spineloss.losses.inputs.target_map",
        lambda name, *given, **options: made.append(name) or target_map(name, *given, **options),
    )
    logits, labels = draw()
    module = loss(text)
    inputs = module.inputs(logits, labels)
    module.compute(inputs)
    module.least(inputs)
    assert sorted(made) == sorted(module.needs)


def test_a_loss_of_what_is_no_number_is_none():
    for text in LOSSES:
        assert loss(text)(torch.full((1, 1, 4, 4), float("nan")), torch.eye(4).view(1, 1, 4, 4)).isnan(), text
