import pytest
import torch
from torch import nn

from spineloss.training.optimisers import OPTIMISERS, build_optimiser
from spineloss.training.rehearsal import Rehearsal
from spineloss.training.schedule import poly_learning_rate


def test_sgd_takes_nesterovs_step_by_hand():
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = build_optimiser("sgd", [weight], 0.1)
    value, speed = 2.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        decayed = gradient + 3e-5 * value
        speed = 0.99 * speed + decayed
        value -= 0.1 * (decayed + 0.99 * speed)
        assert weight.item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_rehearsed_step_is_the_step(name):
    network = nn.Linear(3, 1)
    optimiser = build_optimiser(name, network.parameters(), 0.01)
    image = torch.randn(4, 3)
    for _ in range(3):
        rehearsal = Rehearsal(network, optimiser)
        optimiser.zero_grad()
        network(image).square().sum().backward()
        rehearsal.step([parameter.grad.clone() for parameter in network.parameters()])
        rehearsed = rehearsal(image)
        optimiser.step()
        assert torch.equal(network(image).detach(), rehearsed)


def test_a_warm_up_rises_to_the_start_of_the_fall():
    rates = [poly_learning_rate(0.1, epoch, 10, warm_up=4) for epoch in range(10)]
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[4:] == pytest.approx([poly_learning_rate(0.1, epoch, 6) for epoch in range(6)])
