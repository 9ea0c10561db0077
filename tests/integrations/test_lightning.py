"""A weighting in a Lightning module: three lines, and its state is in the checkpoint."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from spineloss import WeightedLoss, loss

lightning = pytest.importorskip("lightning", reason="Lightning is not installed; see `make test-integrations`")


class Segmenter(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = torch.nn.Conv3d(1, 1, 3, padding=1)
        self.loss = WeightedLoss(loss("dice + cross_entropy + boundary"), "softadapt(beta=5)")
        self.weights = []

    def training_step(self, batch, number):
        image, target = batch
        value = self.loss(self.network(image), target, spacing=(4.0, 1.0, 1.0))
        self.weights.append(dict(self.loss.weights))
        return value

    def validation_step(self, batch, number):
        image, target = batch
        self.log("loss", self.loss(self.network(image), target))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


def test_softadapt_weights_the_terms_of_a_lightning_module(tmp_path):
    torch.manual_seed(0)
    target = torch.zeros(4, 1, 4, 12, 12)
    target[..., 1:3, 3:9, 3:9] = 1
    loader = DataLoader(TensorDataset(target + 0.3 * torch.randn(target.shape), target), batch_size=2)
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=3, default_root_dir=tmp_path, enable_checkpointing=False, **settings)
    module = Segmenter()
    trainer.fit(module, loader, loader)
    assert len(module.weights) == 6  # the steps of training alone, not those of validation
    assert all(sum(weights.values()) == pytest.approx(1) for weights in module.weights)
    assert module.weights[0] != module.weights[-1]
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = Segmenter.load_from_checkpoint(tmp_path / "last.ckpt")
    assert again.loss.weights == module.loss.weights and again.loss.state == module.loss.state
