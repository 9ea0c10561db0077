"""Encoder and decoder trained apart: what moves, what stays, and what the encoder is compared with."""

import numpy as np
import pytest
import torch

from spineloss import networks
from spineloss.data.cases import Labels
from spineloss.data.labelling import labelling_of
from spineloss.losses import CrossEntropy, Dice
from spineloss.training.phases import CoarseLoss, trained_part

ENCODER = ("conv_0.", "down_")  # of MONAI's BasicUNet


@pytest.mark.parametrize(("part", "moves"), [("encoder", {True}), ("decoder", {False}), ("all", {True, False})])
def test_a_step_moves_the_part_alone(part, moves):
    network = networks.build("unet", 2, 2, (16, 32, 16), seed=3)
    trained_part(network, "decoder", 0)  # an earlier phase leaves no trace
    trained = trained_part(network, part, seed=5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    logits = trained(torch.randn(2, 1, 16, 32, 16, generator=torch.Generator().manual_seed(1)))
    assert logits.shape == ((2, 2, 1, 2, 1) if part == "encoder" else (2, 2, 16, 32, 16))
    logits.square().sum().backward()
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    torch.optim.SGD(parameters, lr=0.1).step()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    # A convolution's bias before an instance norm has no effect, so no gradient but rounding.
    weights = {name for name in before if "conv.bias" not in name or name == "final_conv.bias"}
    assert weights & moved == {name for name in weights if name.startswith(ENCODER) in moves}
    assert all(name.startswith(ENCODER) in moves for name in moved)


def test_the_head_is_drawn_by_its_seed_and_is_none_of_the_networks():
    network = networks.build("unet", 2, 3, (16, 32, 16), seed=3)
    names = set(network.state_dict())
    torch.manual_seed(0)
    first, again, other = (trained_part(network, "encoder", seed)[-1].weight for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (3, 32, 1, 1, 1)  # 16 times the width in
    assert set(network.state_dict()) == names


def blocks(volumes):
    """(..., 16, 32, 16) as the 16 x 16 x 16 blocks of it: (..., 2, voxels)."""
    return np.stack(np.split(volumes, 2, axis=-2), axis=-4).reshape(*volumes.shape[:-3], 2, -1)


@pytest.mark.parametrize("kind", ["per-label", "exclusive"])
@pytest.mark.parametrize("ignore", [None, 3])
def test_the_encoder_sees_the_share_of_each_structure_in_what_is_annotated(kind, ignore):
    random = np.random.default_rng(1)
    label_maps = random.integers(0, 4 if ignore else 3, (2, 16, 32, 16))
    label_maps[0, :, :16] = ignore or 0
    labelling = labelling_of(kind, [1, 2], Labels(ignore=ignore))
    targets = torch.stack([labelling.target_of(label_map) for label_map in label_maps])
    shares, counted = labelling.shares(targets if kind == "exclusive" else targets.float(), (1, 2, 1))
    outputs = (0, 1, 2) if kind == "exclusive" else (1, 2)
    known = blocks(label_maps != 3).sum(-1)
    expected = np.stack([blocks(label_maps == label).sum(-1) / np.maximum(known, 1) for label in outputs], axis=1)
    np.testing.assert_allclose(shares.flatten(2), expected, rtol=1e-5)
    if ignore is None:
        assert counted is None
    else:
        assert counted.flatten(2).tolist() == [[[False, True]], [[True, True]]]


def test_a_coarse_loss_of_exclusive_classes_is_pytorchs_of_shares():
    labelling = labelling_of("exclusive", [1, 2])
    target = torch.randint(3, (2, 1, 16, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    logits = torch.randn(2, 3, 1, 2, 1, generator=torch.Generator().manual_seed(2))
    loss = CoarseLoss(CrossEntropy(activation="softmax", background=False), labelling)
    found = loss(logits, target, spacing=torch.ones(2, 3), target_maps={})
    expected = torch.nn.CrossEntropyLoss()(logits, labelling.shares(target, (1, 2, 1))[0])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_nobody_annotated_counts_in_no_coarse_loss():
    labelling = labelling_of("merged", [1], Labels(ignore=3))
    target = torch.zeros(1, 1, 16, 32, 16)
    target[..., :4], target[..., 16:, :] = 1, 255
    loss = CoarseLoss(Dice(ignore=255), labelling)
    logits = torch.tensor([0.0, 20.0]).view(1, 1, 1, 2, 1)
    found = loss(logits, target, spacing=torch.ones(1, 3))
    assert found.item() == pytest.approx(1 - 2 * 0.25 / (0.5 + 0.25), abs=1e-4)  # overlap: min(1/2, 1/4)
