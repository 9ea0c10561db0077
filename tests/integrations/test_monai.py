"""The losses as MONAI's configurations, wrappers and tensors call them."""

import pytest
import torch

pytest.importorskip("monai", reason="MONAI is not installed; `make test-integrations` installs it")

from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss, MaskedLoss

from spineloss import loss
from spineloss.errors import UserError
from spineloss.integrations.monai import MonaiLoss

CONFIG = {
    "network": {
        "_target_": "BasicUNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "features": [4] * 6,
    },
    "loss": {
        "_target_": "spineloss.loss",
        "text": "dice + cross_entropy",
        "activation": "softmax",
        "background": False,
    },
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 0.01},
    "trainer": {
        "_target_": "SupervisedTrainer",
        "device": "cpu",
        "max_epochs": 8,
        "train_data_loader": "$[@batch]",
        "network": "@network",
        "optimizer": "@optimizer",
        "loss_function": "@loss",
    },
}


def volumes(classes=3):
    """Logits of three classes, and labels (N, 1, *S)."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 16, 16, 16, generator=random)
    return logits, torch.randint(classes, (2, 1, 16, 16, 16), generator=random)


def test_a_bundles_configuration_trains_with_a_loss():
    ignite = pytest.importorskip("ignite.engine", reason="pytorch-ignite is not installed")
    image, label = torch.randn(2, 1, 32, 32, 32), torch.zeros(2, 1, 32, 32, 32)
    label[:, :, 8:24, 8:24, 8:24] = 2
    torch.manual_seed(0)
    parser = ConfigParser(CONFIG | {"batch": {"image": image + label, "label": label}})
    trainer = parser.get_parsed_content("trainer")
    seen = []
    trainer.add_event_handler(
        ignite.Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output[0]["loss"])
    )
    trainer.run()
    assert len(seen) == 8 and seen[-1] < seen[0]


def test_the_configured_loss_is_monais_own_but_for_its_smoothing():
    ours = ConfigParser(CONFIG).get_parsed_content("loss")
    theirs = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, smooth_nr=0, smooth_dr=1e-5)
    assert ours(*volumes()).item() == pytest.approx(theirs(*volumes()).item(), rel=1e-5)


def test_deep_supervision_is_monais_and_our_own():
    logits, labels = volumes()
    outputs = [logits, logits[..., ::2, ::2, ::2], logits[..., ::4, ::4, ::4]]
    ours = loss("dice + cross_entropy", activation="softmax", levels="monai")
    wrapped = DeepSupervisionLoss(loss("dice + cross_entropy", activation="softmax"), weight_mode="exp")
    assert ours(outputs, labels).item() == pytest.approx(wrapped(outputs, labels.float()).item(), rel=1e-5)


def test_a_masked_loss_keeps_its_gradient_inside_the_mask():
    logits, labels = volumes(classes=1)
    mask = torch.zeros_like(labels)
    mask[..., :8] = 1
    logits.requires_grad_()
    MaskedLoss(loss("dice + cross_entropy"))(logits, labels.float(), mask).backward()
    assert logits.grad[mask == 0].abs().max() == 0 < logits.grad[mask == 1].abs().max()


def test_tensors_with_metadata_are_tensors():
    logits, labels = volumes()
    module = loss("tversky + cross_entropy", activation="softmax")
    value = module(MetaTensor(logits), MetaTensor(labels.float()))
    assert value.item() == pytest.approx(module(logits, labels).item())


@pytest.mark.parametrize("background", [True, False])
def test_reductions_are_those_of_monais_dice(background):
    settings = {"softmax": True, "to_onehot_y": True, "smooth_nr": 0, "smooth_dr": 1e-5}
    theirs = DiceLoss(**settings, include_background=background, reduction="none")
    ours = {
        reduction: MonaiLoss("dice", activation="softmax", background=background, reduction=reduction)(*volumes())
        for reduction in ("none", "sum", "mean")
    }
    torch.testing.assert_close(ours["none"], theirs(*volumes()), rtol=1e-5, atol=1e-7)
    assert ours["sum"].item() == pytest.approx(ours["none"].sum().item())
    assert ours["mean"].item() == pytest.approx(ours["none"].mean().item())


def test_values_of_terms_that_differ_in_the_background_are_refused():
    settings = {"activation": "softmax", "background": False}
    kept = MonaiLoss("cross_entropy", reduction="none", **settings)(*volumes())
    assert kept.mean().item() == pytest.approx(loss("cross_entropy", activation="softmax")(*volumes()).item())
    for text in ("dice + cross_entropy", "0.5*dice + dice_cross_entropy"):
        with pytest.raises(UserError, match="take a MonaiLoss of each"):
            MonaiLoss(text, reduction="none", **settings)
