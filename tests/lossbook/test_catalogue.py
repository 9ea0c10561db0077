import pytest

from spineloss.errors import UserError
from spineloss.lossbook.catalogue import entry
from spineloss.losses import LOSSES
from spineloss.text import parse


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_explained(name):
    told = entry(name)
    assert told.category in {"distribution", "region", "boundary", "compound"}
    assert told.formula and ">>>" not in told.formula + told.paper
    assert str(parse(told.example)) == told.example
    assert all(argument.meaning and argument.range for argument in told.arguments)


def test_an_entry_holds_what_its_class_declares():
    told = entry("asymmetric")
    assert told.formula == "1 - F_beta: T(1 / (1 + beta^2), beta^2 / (1 + beta^2)) (Eq. 3.23)."
    assert told.paper.startswith("Hashemi et al.") and told.paper.endswith("2019.")
    beta, over = told.arguments
    assert (beta.name, beta.default, beta.range) == ("beta", "1.52", "0 to 10")
    assert (over.name, over.default, over.range) == ("over", "sample", "sample or batch or world")
    assert "weighs false negatives more" in beta.meaning


def test_a_meaning_may_span_lines():
    assert entry("tversky_focal").paper == "Abraham and Khan, A novel focal Tversky loss function, ISBI 2019."
    assert entry("dice_focal").paper.endswith("HECKTOR 2020.")


def test_an_unknown_loss_is_told():
    with pytest.raises(UserError, match="the nearest known one is 'dice'"):
        entry("dise")
