import pytest

from spineloss.errors import UserError
from spineloss.lossbook.catalogue import entry
from spineloss.losses import LOSSES
from spineloss.text import parse


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_explained(name):
    found = entry(name)
    assert found.category in {"distribution", "region", "boundary", "compound", "topology", "calibration"}
    assert found.equation and found.use.endswith(".")
    assert found.formula and ">>>" not in found.formula + found.paper
    assert str(parse(found.example)) == found.example
    assert all(argument.meaning and argument.range for argument in found.arguments)


def test_an_entry_holds_what_its_class_declares():
    found = entry("asymmetric")
    assert found.formula.startswith("1 - F_beta: T(1 / (1 + beta^2), beta^2 / (1 + beta^2)) (Eq. 3.23).")
    assert found.paper.startswith("Hashemi et al.") and found.paper.endswith("2019.")
    beta, over, smooth = found.arguments
    assert (beta.name, beta.default, beta.range) == ("beta", "1.52", "0 to 10")
    assert (over.name, over.default, over.range) == ("over", "sample", "sample, batch, world, component or blob")
    assert smooth.default == "1e-05"
    assert "weights false negatives more" in beta.meaning


def test_a_meaning_may_span_lines():
    assert entry("tversky_focal").paper == "Abraham and Khan, A novel focal Tversky loss function, ISBI 2019."
    assert entry("dice_focal").paper.endswith("HECKTOR 2020.")


def test_an_unknown_loss_gets_a_suggestion():
    with pytest.raises(UserError, match="the nearest known one is 'dice'"):
        entry("dise")
