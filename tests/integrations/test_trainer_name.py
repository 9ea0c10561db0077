import pytest

from spineloss.errors import UserError
from spineloss.integrations.trainer_name import TrainerName

TEXTS = [
    "tversky+cross_entropy",
    "0.8*dice+.2*boundary",
    "1e-3*dice+2.*tversky(alpha=0.7,beta=0.3)",
    "dice(over=batch)",
    "evolved(div(mean(sq(sub(p,y))),add(mean(p),0.24)))",
    "meta(folder/meta.safetensors)",
    'meta("a folder/0.5*x~y@z.safetensors")',
    "my__package.Loss(x2x=3)",
    "meta(2xlarge/m.safetensors)",
    'meta("a+0xfoo/m.safetensors")+dice',
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_says_the_loss_and_can_be_a_folder(text):
    name = str(TrainerName(text, "softadapt(beta=-0.1)", "nnUNetTrainer_250epochs"))
    assert TrainerName.read(name) == TrainerName(text, "softadapt(beta=-0.1)", "nnUNetTrainer_250epochs")
    assert str(TrainerName.read(name)) == name
    # nnU-Net splits at "__"; Windows refuses the rest.
    assert "__" not in name and not set(name) & set('<>:"/\\|?* ')


def test_spaces_do_not_matter():
    assert str(TrainerName(" 0.8 * dice  + 0.2*boundary")) == "nnUNetTrainer~0.8xdice+0.2xboundary"


@pytest.mark.parametrize("name", ["nnUNetTrainer", "nnUNetTrainer~", "~dice", "nnUNetTrainer~@cov"])
def test_a_name_without_a_trainer_or_a_loss_is_refused(name):
    with pytest.raises(UserError, match="nnUNetTrainer~tversky"):
        TrainerName.read(name)


def test_a_loss_too_long_for_a_folder_is_refused():
    with pytest.raises(UserError, match="class of your own"):
        str(TrainerName(" + ".join(["tversky(alpha=0.7, beta=0.3)"] * 10)))
