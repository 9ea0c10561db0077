"""Sliding windows: one that covers the case is the case seen whole; many average to what each says."""

import pytest
import torch
from torch.nn.functional import pad

from spineloss import networks
from spineloss.data.labelling import labelling_of
from spineloss.training.inference import infer

MERGED, EXCLUSIVE = labelling_of("merged", [1]), labelling_of("exclusive", [1, 2])
CPU = torch.device("cpu")


@pytest.mark.parametrize("labelling", [MERGED, EXCLUSIVE])
def test_a_window_that_covers_the_case_is_the_case_seen_whole(labelling):
    network = networks.unet(2, labelling.outputs).eval()
    image = torch.randn(1, 16, 24, 32, generator=torch.Generator().manual_seed(1))
    whole = infer(network, image, labelling, None, CPU)
    assert whole.shape == (labelling.outputs, 16, 24, 32)
    assert torch.allclose(infer(network, image, labelling, (16, 24, 32), CPU), whole, atol=1e-6)


def test_a_smaller_case_lies_in_the_middle_of_its_window():
    network = networks.unet(2, 1).eval()
    image = torch.randn(1, 12, 23, 32, generator=torch.Generator().manual_seed(1))
    padded = infer(network, pad(image, (0, 0, 0, 1, 2, 2)), MERGED, None, CPU)
    found = infer(network, image, MERGED, (16, 24, 32), CPU)
    assert torch.allclose(found, padded[:, 2:14, :23], atol=1e-6)


def test_windows_average_to_what_each_says_of_a_voxel():
    """Where the output of a voxel depends on the voxel alone, windows agree, and so does their mean."""
    image = torch.randn(1, 37, 41, 50, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(infer(torch.neg, image, MERGED, (16, 24, 16), CPU), (-image).sigmoid(), atol=1e-5)


def test_the_middle_of_a_window_counts_most():
    """Two windows along x, whose logits are 0 and 1: in the overlap the mean goes from one to the other."""
    values = iter([0.0, 1.0])

    def constant(windows):
        return torch.stack([torch.full_like(window, next(values)) for window in windows])

    logits = infer(constant, torch.zeros(1, 16, 16, 24), MERGED, (16, 16, 16), CPU).logit()[0, 8, 8]
    assert torch.allclose(logits[:8], torch.zeros(8), atol=1e-6) and torch.allclose(logits[16:], torch.ones(8))
    # Gaussian weights of a sixteenth and a sixteenth of the way: equal in the middle of the overlap alone.
    between = logits[8:16]
    assert (between.diff() > 0).all() and between[3:5].mean() == pytest.approx(0.5, abs=1e-3)
    assert between[1] < 1.5 / 8 and between[6] > 6.5 / 8
