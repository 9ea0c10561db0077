import pytest
import torch

from spineloss.data.batches import Batch, Target, pairs
from spineloss.errors import UserError
from spineloss.text import loss, parse
from spineloss.training.greedy import Greedy, GreedySearch
from spineloss.training.greedy_training import GreedyTraining
from spineloss.training.precision import Precision
from spineloss.training.steps import Plain

SEARCH = GreedySearch(every=2, moves="single")


def network_and_optimiser(channels=1):
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, channels, 3, padding=1)
    return network, torch.optim.Adam(network.parameters(), lr=0.05)


def batches(count=5):
    torch.manual_seed(1)
    return [(torch.randn(2, 1, 4, 6, 8), (torch.rand(2, 1, 4, 6, 8) > 0.7).float()) for _ in range(count)]


def test_an_epoch_is_that_of_the_greedy_step():
    network, optimiser = network_and_optimiser()
    steps = list(GreedyTraining(network, loss("tversky"), optimiser, str(SEARCH)).epoch(batches()))
    other, optimiser = network_and_optimiser()
    greedy = Greedy(Plain(other, parse("tversky"), optimiser, Precision(torch.device("cpu")), None), SEARCH, (0,))
    spacing = torch.ones(2, 3)
    given = [Batch(image, ((1.0, Target(target, spacing, {})),)) for image, target in batches()]
    assert steps == [greedy(pair) for pair in pairs(given)]
    assert torch.equal(network.weight, other.weight)


def test_an_epoch_without_batches_is_over():
    network, optimiser = network_and_optimiser()
    assert list(GreedyTraining(network, loss("tversky"), optimiser).epoch([])) == []


def test_a_state_given_back_goes_on_alike():
    network, optimiser = network_and_optimiser()
    first = GreedyTraining(network, loss("tversky"), optimiser, str(SEARCH))
    list(first.epoch(batches(3)))
    second = GreedyTraining(network, loss("tversky"), optimiser, str(SEARCH))
    assert second.parameters != first.parameters
    second.load_state_dict(first.state_dict())
    assert second.parameters == first.parameters and second.step.done == 3


def test_exclusive_classes_as_labels():
    network, optimiser = network_and_optimiser(channels=3)
    training = GreedyTraining(network, loss("tversky", activation="softmax"), optimiser, "greedy")
    labels = [(image, (2 * target).long()) for image, target in batches(2)]
    (first, _) = training.epoch(labels)
    assert first.record.keys() == {"alpha", "beta"} and first.loss > 0


def test_a_loss_with_nothing_to_search_is_refused():
    network, optimiser = network_and_optimiser()
    with pytest.raises(UserError, match="has none"):
        GreedyTraining(network, loss("dice"), optimiser)
