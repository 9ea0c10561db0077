import monai.losses
import pytest
import torch

from spineloss.errors import UserError
from spineloss.losses import Compound, Dice, DiceFocal, Tversky, TverskyFocal
from spineloss.losses.base import parameter
from spineloss.text import no_imports, parse


def test_defaults_are_table_a7():
    assert str(Tversky()) == "tversky(alpha=0.7, beta=0.3)"
    assert str(TverskyFocal()) == f"tversky_focal(alpha=0.7, beta=0.3, gamma={4 / 3})"
    assert str(DiceFocal()) == f"dice_focal(alpha=0.5, beta=0.5, gamma={5 / 3})"
    assert str(parse("asymmetric")) == "asymmetric(beta=1.52)"
    assert str(parse("focal")) == "focal(alpha=0.25, gamma=1.45)"


def test_a_compound_is_its_weighted_terms():
    logits, target = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    loss = parse("0.8*dice + 0.2*boundary")
    assert isinstance(loss, Compound) and loss.needs == {"mm"}
    expected = 0.8 * parse("dice")(logits, target) + 0.2 * parse("boundary")(logits, target)
    assert loss(logits, target) == pytest.approx(expected.item())


@pytest.mark.parametrize("text", ["dice", "hausdorff", "boundary", "dice + 2*boundary"])
def test_the_best_prediction_has_the_least_value(text):
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:6, 3:5] = 1
    loss = parse(text)
    perfect = loss.inputs(200 * target - 100, target)
    assert loss.compute(perfect).item() == pytest.approx(float(loss.least(perfect)), abs=1e-6)


@pytest.mark.parametrize("text", ["dice+focal", " dice + focal ", "1*dice +1*focal", "1e0*dice + focal()"])
def test_spaces_and_forms(text):
    assert str(parse(text)) == "1.0*dice + 1.0*focal(alpha=0.25, gamma=1.45)"


def test_a_loss_from_a_package():
    logits, target = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    loss = parse("0.5*torch.nn.BCEWithLogitsLoss + 0.5*dice")
    expected = 0.5 * torch.nn.BCEWithLogitsLoss()(logits, target) + 0.5 * Dice()(logits, target)
    assert loss(logits, target).item() == pytest.approx(expected.item())
    assert str(parse(str(loss))) == str(loss)


class Doubled(Dice):
    """A loss of someone else's that is made from ours, and keeps its name."""

    times: float = parameter(default=2.0, low=1, high=9, meaning="how much more")
    secret: float = 1.0

    def values(self, inputs):
        return self.times * super().values(inputs)


def test_a_loss_of_ours_by_its_import_path_stays_itself():
    logits, target = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    loss = parse("test_text.Doubled(times=3)")
    assert str(loss) == "test_text.Doubled(times=3.0)" == str(parse(str(loss)))
    assert parse(str(loss))(logits, target) == pytest.approx(3 * Dice()(logits, target).item())
    assert str(loss.tuned({"times": 4})) == "test_text.Doubled(times=4.0)"
    assert str(parse("dice + test_text.Doubled").tuned({"test_text.Doubled.times": 5})).endswith("(times=5.0)")


def test_what_has_nothing_to_tune_stays_the_same_module():
    loss = parse("tversky + torch.nn.BCEWithLogitsLoss")
    tuned = loss.tuned({"tversky.alpha": 0.6})
    assert str(tuned) == "1.0*tversky(alpha=0.6, beta=0.3) + 1.0*torch.nn.BCEWithLogitsLoss"
    assert tuned.losses[1] is loss.losses[1]


def test_a_loss_from_a_package_takes_booleans():
    logits, target = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    loss = parse("monai.losses.DiceLoss(sigmoid=true, batch=False)")
    assert str(loss) == "monai.losses.DiceLoss(sigmoid=true, batch=false)" == str(parse(str(loss)))
    assert loss(logits, target) == monai.losses.DiceLoss(sigmoid=True, batch=False)(logits, target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dise", "the nearest known one is 'dice'"),
        ("tversky(alfa=0.7)", "the nearest known one is 'alpha'"),
        ("tversky(alpha=-1)", "out of range"),
        ("spineloss.losses.Dice(activation=softmax)", "activation belongs to the whole loss"),
        ("test_text.Doubled(secret=2)", "does not declare secret"),
        ("tversky(alpha=word)", "is not a number"),
        ("tversky(alpha=-1e999)", "'-1e999' is larger than any number"),
        ("tversky(alpha=true)", "is not a number"),
        ("dice(over=case)", "it is `sample`, `batch`, `world`, `component` or `blob`"),
        ("dice +", "a word is expected at the end"),
        ("dice focal", "'+' is expected before 'focal'"),
        ("2 dice", "'*' is expected"),
        ("", "a word is expected"),
        ("dice; import os", "something unexpected at '; import os'"),
        ("__import__('os')", "something unexpected"),
        ("-1*dice + focal", "not negative"),
        ("os.system", "is not a class of torch.nn.Module"),
        ("no.such.Loss", "cannot be imported"),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(UserError) as error:
        parse(text)
    assert message in str(error.value)


def test_settings_belong_to_the_whole_loss():
    with pytest.raises(UserError, match="spineloss.loss"):
        parse("dice(activation=softmax)")


def test_a_text_that_imports_code_is_refused_where_nothing_may_run(monkeypatch):
    def executed(name):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("spineloss.text.importlib.import_module", executed)
    with no_imports():
        assert str(parse("dice + focal")) == str(parse("dice + focal"))
        with pytest.raises(UserError, match="some.Loss imports code, which --no-imports refuses"):
            parse("dice + 0.5*some.Loss")
    with pytest.raises(UserError, match="some.Loss cannot be imported"):
        parse("some.Loss")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tversky(alpha=" + "9" * 5000 + ")", "longer than"),
        ("tversky(alpha=" + "9" * 100 + ")", "out of range"),
        ("evolved(" + "mean(" * 60 + "p" + ")" * 60 + ")", "nested more than 50 levels deep"),
        ("dice + " * 3000 + "dice", "longer than 10000 characters"),
        ("d" * 200, "longer than"),
        ("tversky(alpha=\u0663)", "something unexpected"),
        ('meta("\ud800")', "is no meta-loss"),
        ('meta("/dev/zero")', "is no meta-loss"),
    ],
)
def test_a_hostile_text_is_one_short_sentence(text, told):
    with pytest.raises(UserError, match=told) as error:
        parse(text)
    assert str(error.value).isprintable() and len(str(error.value)) < 600
