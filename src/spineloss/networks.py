"""The 3D U-Net of the thesis's chapter 7, and any network of MONAI by name."""

import copy
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from monai.networks import nets
from monai.networks.layers.factories import Norm
from torch import nn
from torch.nn import functional

from spineloss.errors import UserError, first_line
from spineloss.seeding import seeded

VECTOR = 8  # channels that a CPU normalises at once


def unet(width: int, channels: int, inputs: int = 1) -> nn.Module:
    """A 3D U-Net of five levels with `width`, 2, 4, 8, 16 times `width` channels.

    Two 3x3x3 convolutions a level with instance norm and leaky ReLU (slope 0.01), max pooling down,
    transposed convolution up, Kaiming initialisation.

    Args:
        width: channels of the first level, at least 1 (64 in the thesis).
        channels: output channels, one logit each.
        inputs: channels of the image.

    Returns:
        A module from (N, inputs, Z, Y, X) images to (N, channels, Z, Y, X) logits.

    References:
        Çiçek et al., 3D U-Net, MICCAI 2016; He et al., Delving deep into rectifiers, ICCV 2015.
    """
    network = nets.BasicUNet(
        spatial_dims=3,
        in_channels=inputs,
        out_channels=channels,
        features=(width, 2 * width, 4 * width, 8 * width, 16 * width, width),
        act=("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
        norm=("by_sample", {"affine": True}),
    )
    network.apply(_initialise)
    nn.init.kaiming_normal_(network.final_conv.weight, nonlinearity="linear")
    return network


class InstanceNorm(nn.InstanceNorm3d):
    """PyTorch's instance norm; on a CPU, as the batch norm of each sample alone.

    That is the same, and takes the channels as the convolutions have them, side by side. PyTorch's own copies the
    volumes into another order and back: at width 16 a training step took 1.3 times as long.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.device.type != "cpu" or self.num_features < VECTOR:
            return super().forward(input)
        settings = {"weight": self.weight, "bias": self.bias, "training": True, "eps": self.eps}
        return torch.cat([functional.batch_norm(one, None, None, **settings) for one in input.split(1)])


Norm.add_factory_class("by_sample", InstanceNorm)


def _initialise(module: nn.Module) -> None:
    """Kaiming initialisation: the gain of leaky ReLU where it follows, none where nothing does.

    With its gain on the last layer too, one of three folds hardly left the ground: cross-entropy reached a
    validation Dice of 0.11 in ten epochs where it now reaches 0.76.
    """
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=0.01, nonlinearity="leaky_relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.ConvTranspose3d):
        # Its kernel is its stride, so an output voxel sums over the input channels alone.
        nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        nn.init.zeros_(module.bias)


def build(
    network: str | Mapping[str, Any],
    width: int,
    channels: int,
    grid: tuple[int, int, int],
    seed: int,
    inputs: int = 1,
) -> nn.Module:
    """A network by name, with initial weights that depend on `seed` alone.

    Args:
        network: `unet`, or a class of `monai.networks.nets`: by its name, or a mapping of `name` and the arguments
            that it needs beside those below.
        width: base width of the U-Net; MONAI's networks keep their own.
        channels: output channels.
        grid: (Z, Y, X) voxels of the input.
        seed: of the initial weights.
        inputs: channels of the image.

    Raises:
        UserError: no such network, or it cannot be built for this grid.
    """
    arguments = {} if isinstance(network, str) else dict(network)
    name = network if isinstance(network, str) else str(arguments.pop("name", ""))
    with seeded(seed):
        if name == "unet":
            if arguments:
                raise UserError(f"The network unet takes no {next(iter(arguments))}: `width` is its size.")
            return unet(width, channels, inputs)
        built = _from_monai(name, channels, grid, inputs, arguments)
        shape = _shape_of_output(name, built, (1, inputs, *grid))
    if shape != (1, channels, *grid):
        raise UserError(
            f"The network {name} gives logits of shape {shape}, not {(1, channels, *grid)}: choose another."
        )
    return built


def _shape_of_output(name: str, network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What a network makes of zeros of a shape; its statistics of normalisation stay as they are."""
    try:
        with torch.no_grad():
            return tuple(copy.deepcopy(network)(torch.zeros(shape)).shape)
    except Exception as error:
        raise UserError(
            f"The network {name} does not run on the grid {list(shape[2:])} ({error}): choose another."
        ) from error


def _from_monai(
    name: str, channels: int, grid: tuple[int, int, int], inputs: int, arguments: Mapping[str, Any]
) -> nn.Module:
    known = {
        key: value for key, value in vars(nets).items() if inspect.isclass(value) and issubclass(value, nn.Module)
    }
    if name not in known:
        near = get_close_matches(name, ["unet", *known], n=1, cutoff=0.0)[0]
        raise UserError(f"There is no network {name!r}; the nearest known one is {near!r}.")
    offered = {"spatial_dims": 3, "in_channels": inputs, "out_channels": channels, "img_size": grid}
    accepted = inspect.signature(known[name]).parameters
    for key in arguments:
        if key in offered:
            raise UserError(f"The network {name}: {key} follows from the study; leave it out.")
        if key not in accepted:
            near = get_close_matches(key, accepted, n=1, cutoff=0.0)[0]
            raise UserError(f"The network {name} has no argument {key!r}; the nearest known one is {near!r}.")
    try:
        return known[name](**{key: value for key, value in offered.items() if key in accepted}, **arguments)
    except Exception as error:
        raise UserError(
            f"MONAI's {name} cannot be built ({first_line(error)}): give the arguments it lacks, as in "
            f"`network: {{name: {name}, ...}}`, or choose another network."
        ) from error
