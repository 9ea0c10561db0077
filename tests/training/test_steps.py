import pytest
import torch

from spineloss.data.batches import Batch, Target
from spineloss.text import parse
from spineloss.training.precision import Precision
from spineloss.training.steps import LossNotFinite, Plain, Weighted
from spineloss.weighting import CoefficientOfVariation, Static, recorded_weights

SHAPE = (2, 1, 4, 8, 8)


def plain_step(text, seed=0, clip=None):
    """A step of a network of one convolution, and the network."""
    torch.manual_seed(seed)
    network = torch.nn.Conv3d(1, 1, 3, padding=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    return Plain(network, parse(text), optimiser, Precision(torch.device("cpu")), clip), network


def targets_of(*shares, seed=1):
    torch.manual_seed(seed)
    return tuple(
        (share, Target((torch.rand(SHAPE) > 0.7).float(), torch.tensor([[3.0, 1.0, 1.0]] * 2), {}))
        for share in shares
    )


@pytest.fixture
def mixed():
    torch.manual_seed(2)
    return Batch(torch.randn(SHAPE), targets_of(0.3, 0.7))


def parameters(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_a_static_weighting_trains_as_the_loss_itself(mixed):
    plain, first = plain_step("0.8*dice + 0.2*boundary")
    weighed, second = plain_step("0.8*dice + 0.2*boundary")
    weighted = Weighted(weighed, Static())
    for _ in range(3):
        plain(mixed)
        weighted(mixed)
    torch.testing.assert_close(parameters(first), parameters(second))


def test_values_of_mixed_targets_are_mixed_by_their_shares(mixed):
    plain, network = plain_step("dice + boundary")
    with torch.no_grad():
        logits = network(mixed.image)
        dice = sum(share * parse("dice")(logits, target.truth) for share, target in mixed.targets)
        # The best prediction of a hard target is the target.
        boundary = sum(
            share * (boundary_of(logits, target) - boundary_of(200 * target.truth - 100, target))
            for share, target in mixed.targets
        )
    record = Weighted(plain, Static())(mixed).record
    assert record["dice"] == pytest.approx(dice.item())
    assert record["boundary"] == pytest.approx(boundary.item(), rel=1e-5)


def boundary_of(logits, target):
    return parse("boundary")(logits, target.truth, **target.context())


def test_the_policy_is_asked_once_a_step(mixed):
    weighted = Weighted(plain_step("dice + cross_entropy")[0], CoefficientOfVariation())
    for step in (1, 2, 3):
        record = weighted(mixed).record
        assert weighted.state()["step"] == step
    assert list(record) == ["dice", "cross_entropy", "weight of dice", "weight of cross_entropy"]
    assert sum(recorded_weights(record).values()) == pytest.approx(1)


def test_terms_of_one_text_keep_apart(mixed):
    record = Weighted(plain_step("dice + dice")[0], Static())(mixed).record
    assert list(record) == ["dice", "dice #2", "weight of dice", "weight of dice #2"]


def test_a_term_that_is_not_finite_stops_the_run_before_the_policy_sees_it(mixed):
    plain, network = plain_step("dice + cross_entropy")
    weighted = Weighted(plain, CoefficientOfVariation())
    torch.nn.init.constant_(network.weight, float("nan"))
    with pytest.raises(LossNotFinite, match="the term dice"):
        weighted(mixed)
    assert weighted.state()["step"] == 0


class Steep(torch.nn.Module):
    """Finite, with an infinite slope: the root of something that is 0."""

    def forward(self, logits, target):
        return (0 * logits).sum().abs().sqrt()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(mixed, clip):
    plain, network = plain_step("training.test_steps.Steep", clip=clip)
    before = parameters(network).clone()
    with pytest.raises(LossNotFinite, match="finite, but the gradient became nan"):
        plain(mixed)
    assert torch.equal(parameters(network), before)
