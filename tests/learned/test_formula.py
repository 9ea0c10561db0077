import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from losses.reference import REFERENCE, sigmoid
from spineloss.errors import UserError
from spineloss.text import parse

TREES = {
    "cross_entropy": "evolved(negate(mean(add(multiply(y, log(p)), "
    "multiply(complement(y), log(complement(p)))))))",
    "dice": "evolved(complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y)))))",
    "tversky": "evolved(complement(divide(mean(multiply(p, y)), "
    "add(multiply(0.7, mean(p)), multiply(0.3, mean(y))))))",
    "focal": "evolved(negate(multiply(0.25, mean(multiply(power(absolute(subtract(p, y)), 1.45), "
    "log(complement(absolute(subtract(p, y)))))))))",
}
WILD = [
    "evolved(divide(mean(p), mean(subtract(y, y))))",
    "evolved(mean(log(multiply(p, subtract(y, y)))))",
    "evolved(square(square(square(divide(mean(y), subtract(mean(p), mean(p)))))))",
    "evolved(power(mean(subtract(p, y)), negate(mean(root(negate(p))))))",
]


def example(shape=(2, 2, 4, 6, 5), seed=0, dtype=torch.float64):
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(0, 2, shape)).to(dtype)
    return logits, torch.from_numpy(random.random(shape) < 0.35).to(dtype)


@pytest.mark.parametrize("name", TREES)
def test_a_tree_equals_its_formula(name):
    logits, target = example()
    expected = REFERENCE[name](sigmoid(logits.numpy()), target.numpy())
    assert parse(TREES[name])(logits, target).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("text", TREES.values())
def test_gradient_is_that_of_the_value(text):
    logits, target = example((2, 1, 3, 3, 3))
    assert torch.autograd.gradcheck(lambda moved: parse(text)(moved, target), logits.requires_grad_())


@pytest.mark.parametrize("text", [*TREES.values(), *WILD])
@pytest.mark.parametrize("scale", [0.0, 3.0, -3.0, 1e4])
@pytest.mark.parametrize("masks", ["empty", "full", "some"])
def test_no_prediction_gives_an_undefined_value(text, scale, masks):
    logits, target = example(dtype=torch.float32)
    target = {"empty": 0 * target, "full": 0 * target + 1, "some": target}[masks]
    assert torch.isfinite(parse(text)(scale * logits + scale, target))


@pytest.mark.parametrize("text", TREES.values())
def test_a_batch_is_the_mean_of_its_samples(text):
    logits, target = example((3, 2, 4, 5, 4))
    alone = [parse(text)(logits[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert parse(text)(logits, target).item() == pytest.approx(np.mean(alone), rel=1e-9)


@pytest.mark.parametrize("text", TREES.values())
def test_ignored_voxels_change_nothing(text):
    logits, target = example((2, 1, 4, 5, 6))
    mask = torch.ones_like(target)
    mask[..., 3:] = 0
    cut = parse(text)(logits[..., :3], target[..., :3])
    assert parse(text)(logits, target, mask=mask).item() == pytest.approx(cut.item(), rel=1e-9)


def test_half_precision_is_computed_in_single():
    logits, target = example((1, 1, 8, 8, 8), dtype=torch.float16)
    value = parse(TREES["dice"])(logits, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(parse("dice")(logits.float(), target).item(), abs=1e-6)


@pytest.mark.parametrize("text", TREES.values())
def test_text_copy_and_pickle_make_the_same_loss(text):
    loss = parse(text)
    assert str(loss) == text
    for twin in (parse(str(loss)), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(*example()) == loss(*example())


def test_a_formula_is_a_term_among_others():
    logits, target = example()
    both = parse(f"0.8*dice + 0.2*{TREES['cross_entropy']}")(logits, target)
    expected = 0.8 * parse("dice")(logits, target) + 0.2 * parse("cross_entropy")(logits, target)
    assert both.item() == pytest.approx(expected.item(), rel=1e-4)


def test_it_is_written_as_by_hand():
    loss = parse("evolved(subtract(mean(p), subtract(divide(mean(y), square(add(mean(p), -1))), root(mean(p)))))")
    assert loss.text == "mean(p) - (mean(y) / (mean(p) + -1)^2 - sqrt(mean(p)))"
    below = r"\left(\overline{p} + -1\right)^2"
    assert (
        loss.latex
        == rf"\overline{{p}} - \left(\frac{{\overline{{y}}}}{{{below}}} - \sqrt{{\overline{{p}}}}\right)"
    )
    loss = parse("evolved(mean(square(divide(subtract(p, y), mean(y)))))")
    assert loss.text == "mean(((p - y) / mean(y))^2)"
    assert loss.latex == r"\overline{\left(\frac{p - y}{\overline{y}}\right)^2}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("evolved", "needs a formula"),
        ("evolved(p)", "write it as mean(...)"),
        ("evolved(mean(y))", "does not depend on the prediction p"),
        ("evolved(formula=3)", "is not a formula"),
        ("evolved(meen(p))", "the nearest known one is 'mean'"),
        ("evolved(mean(p, y))", "mean takes 1 argument(s), not the 2"),
        ("evolved(mean(p), mean(y))", "twice"),
        ("evolved(mean(p)", "is expected at the end"),
        ("evolved(mean(p.__class__))", "there is no 'p.__class__'"),
        ("evolved(" + "negate(" * 60 + "p" + ")" * 61, "nested"),
        ("evolved(add(1e39, mean(p)))", "1e+39 is beyond 1e+06"),
        ("evolved(add(1e999, mean(p)))", "larger than any number"),
        ("dice(p)", "has no parameter 'formula'"),
    ],
)
def test_a_mistake_is_told(text, told):
    with pytest.raises(UserError) as error:
        parse(text)
    assert told in str(error.value)


@pytest.mark.parametrize("data", ["lumbar", "hippocampus"])
def test_a_formula_that_was_found_stays_a_text(data):
    file = Path(__file__).parents[2] / "studies" / "found" / f"evolved-{data}" / "winner.json"
    winner = json.loads(file.read_text())
    for key in ("loss", "control"):
        assert str(parse(winner[key])) == winner[key]
    assert parse(winner["loss"]).text == winner["text"]
