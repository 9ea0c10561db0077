import pytest
import torch
from torch import nn

from spineloss import networks
from spineloss.errors import UserError

GRID = (16, 32, 32)


def test_the_unet_is_that_of_chapter_7():
    built = networks.build("unet", 4, 2, GRID, seed=1)
    assert built(torch.zeros(1, 1, *GRID)).shape == (1, 2, *GRID)
    counts = {kind: sum(isinstance(module, kind) for module in built.modules()) for kind in (
        nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d, nn.InstanceNorm3d, nn.LeakyReLU)}  # fmt: skip
    # Five levels of two convolutions down, four up, and the last one to the logits.
    assert list(counts.values()) == [19, 4, 4, 18, 18]
    assert {module.negative_slope for module in built.modules() if isinstance(module, nn.LeakyReLU)} == {0.01}
    widths = [module.out_channels for module in built.modules() if isinstance(module, nn.Conv3d)][:10:2]
    assert widths == [4, 8, 16, 32, 64]


@pytest.mark.parametrize("channels", [4, 8, 16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_is_that_of_pytorch(channels, order):
    own, theirs = (kind(channels, affine=True).double() for kind in (networks.InstanceNorm, nn.InstanceNorm3d))
    random = torch.Generator().manual_seed(0)
    volumes = torch.randn((3, channels, 4, 6, 8), generator=random, dtype=torch.float64) + 5
    volumes = volumes.contiguous(memory_format=order).requires_grad_()
    with torch.no_grad():
        own.weight.copy_(theirs.weight.uniform_(0.5, 2, generator=random))
        own.bias.copy_(theirs.bias.uniform_(-1, 1, generator=random))
    found, expected = own(volumes), theirs(volumes)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(own.eval()(volumes), expected)
    assert channels < networks.VECTOR or found.is_contiguous(memory_format=order)
    mix = torch.randn(found.shape, generator=random, dtype=torch.float64)
    for mine, their in zip(
        torch.autograd.grad((found * mix).sum(), [volumes, *own.parameters()]),
        torch.autograd.grad((expected * mix).sum(), [volumes, *theirs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(mine, their)


def test_kaiming_initialisation():
    built = networks.build("unet", 32, 1, GRID, seed=1)
    convolution = built.down_2.convs.conv_1.conv
    fan_in = convolution.weight[0].numel()
    assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert not convolution.bias.any()


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    first = networks.build("unet", 2, 1, GRID, seed=3).state_dict()
    torch.manual_seed(6)
    before = torch.random.get_rng_state()
    again = networks.build("unet", 2, 1, GRID, seed=3).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_monai_networks_by_name():
    built = networks.build("SegResNet", 8, 2, GRID, seed=0)
    assert built(torch.zeros(1, 1, *GRID)).shape == (1, 2, *GRID)


@pytest.mark.parametrize(("name", "told"), [("SegResNett", "'SegResNet'"), ("Discriminator", "Discriminator")])
def test_a_network_that_cannot_be_is_told(name, told):
    with pytest.raises(UserError, match=told):
        networks.build(name, 8, 1, GRID, seed=0)


def test_monai_networks_with_arguments():
    levels = {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 16],
    }
    chosen = {"name": "DynUNet", **levels}
    built = networks.build(chosen, 8, 2, GRID, seed=0)
    assert built(torch.zeros(1, 1, *GRID)).shape == (1, 2, *GRID)
    assert built.filters == [4, 8, 16]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("DynUNet", r"cannot be built .*kernel_size.*give the arguments it lacks"),
        (
            {"name": "SegResNet", "init_filter": 8},
            "no argument 'init_filter'; the nearest known one is 'init_filters'",
        ),
        ({"name": "SegResNet", "out_channels": 8}, "out_channels follows from the study"),
        ({"name": "unet", "depth": 3}, "unet takes no depth"),
    ],
)
def test_arguments_that_do_not_fit_are_told(network, told):
    with pytest.raises(UserError, match=told):
        networks.build(network, 8, 1, GRID, seed=0)


def test_making_a_network_leaves_its_statistics_and_the_callers_streams_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU was seeded"))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: pytest.fail("a GPU was seeded"))
    before = torch.get_rng_state()
    networks.build("unet", 2, 1, GRID, seed=1)
    built = networks.build({"name": "AttentionUnet", "channels": [2, 4], "strides": [2]}, 2, 1, GRID, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    counts = [
        module.num_batches_tracked.item() for module in built.modules() if isinstance(module, nn.BatchNorm3d)
    ]
    assert counts and not any(counts)
