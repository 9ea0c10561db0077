"""A network's output for a whole case: in one pass, or from overlapping windows of the size it was trained on."""

from functools import partial

import torch
from monai.inferers.utils import sliding_window_inference
from torch import nn

from spineloss.data.labelling import Labelling
from spineloss.data.preprocessing import Grid

SLICES = 16  # that become probabilities at a time
WINDOWS = 2  # that the network sees at a time
OVERLAP = 0.5  # of neighbouring windows along each axis, as in nnU-Net


@torch.no_grad()
def infer(
    network: nn.Module, image: torch.Tensor, labelling: Labelling, patch: Grid | None, device: torch.device
) -> torch.Tensor:
    """The probabilities of each output for each voxel of a case.

    Windows overlap by half, and their logits are averaged with Gaussian weights, so that the middle of a window,
    which sees the most around it, counts most. A case smaller than a window is padded with 0, its mean.

    Args:
        network: on `device`, in the mode of evaluation.
        image: (K, Z, Y, X).
        labelling: what makes probabilities of logits.
        patch: (Z, Y, X) voxels of a window; none to see the case at once.
        device: of the network. Windows alone are moved there.

    Returns:
        (outputs, Z, Y, X) on the CPU, float32 at least.

    References:
        Isensee et al., nnU-Net, Nature Methods 2021.
    """
    if patch is None:
        return labelling.probabilities(_logits(network, image[None].to(device)))[0].cpu()
    logits = sliding_window_inference(
        image[None],
        patch,
        WINDOWS,
        partial(_logits, network),
        overlap=OVERLAP,
        mode="gaussian",
        sw_device=device,
        device=torch.device("cpu"),
    )
    for slices in logits.split(SLICES, dim=2):
        slices.copy_(labelling.probabilities(slices))  # in place: a second volume of all outputs can be gigabytes
    return logits[0]


def _logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The network's logits of a batch; one volume alone is given twice on the CPU.

    There PyTorch convolves one volume in another way than two, which takes ten times as long.
    """
    alone = len(images) == 1 and images.device.type == "cpu"
    return network(images.expand(2, -1, -1, -1, -1))[:1] if alone else network(images)
