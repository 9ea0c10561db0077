import pytest
import torch
from torch.func import functional_call

from spineloss import networks
from spineloss.data.batches import Batch, Target, pairs
from spineloss.learned.meta_loss import MetaLoss
from spineloss.text import parse
from spineloss.training.online import Online, batch_loss, step_slope
from spineloss.training.precision import Precision
from spineloss.training.steps import Plain

SHAPE = (2, 1, 16, 16, 32)
RATES = {"sgd": 0.1, "adam": 0.01}


def batch(seed, mixed=False):
    """A blob in noise, in double precision."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randn(SHAPE, generator=random, dtype=torch.float64)
    targets = []
    for start in (4, 7):
        mask = torch.zeros(SHAPE, dtype=torch.float64)
        mask[..., start : start + 5, 3:12, 4:10] = 1
        targets.append(Target(mask, torch.ones(2, 3, dtype=torch.float64), {}))
    return Batch(
        image + targets[0].truth, ((0.7, targets[0]), (0.3, targets[1])) if mixed else ((1.0, targets[0]),)
    )


def online(rule, loss, objective):
    """An online step whose meta-optimiser moves each weight by its gradient."""
    unet = networks.build("unet", 1, 1, SHAPE[2:], seed=3).double()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[rule]
    plain = Plain(unet, loss, kind(unet.parameters(), lr=RATES[rule]), Precision(torch.device("cpu")), None)
    return Online(plain, objective, torch.optim.SGD(loss.parameters(), lr=1.0))


def unrolled(unet, loss, objective, pair, rule, moments, number):
    """dO/dphi by differentiating through the network's gradient; the optimisers' rules from their papers."""
    weights = {name: weight.detach().clone().requires_grad_() for name, weight in unet.named_parameters()}
    value = batch_loss(loss, functional_call(unet, weights, pair.batch.image), pair.batch)
    gradients = torch.autograd.grad(value, list(weights.values()), create_graph=True)
    moved = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        if rule == "sgd":
            moved[name] = weight - RATES[rule] * gradient
            continue
        mean, square = moments.get(name, (torch.zeros_like(weight), torch.zeros_like(weight)))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        mean_now, square_now = mean / (1 - 0.9**number), square / (1 - 0.999**number)
        # The root of a weight that has no gradient has no slope.
        root = torch.where(square_now > 0, square_now, 1).sqrt() * (square_now > 0)
        moved[name] = weight - RATES[rule] * mean_now / (root + 1e-8)
        moments[name] = mean.detach(), square.detach()
    judged = batch_loss(objective, functional_call(unet, moved, pair.other.image), pair.other)
    return torch.autograd.grad(judged, list(loss.parameters())), moved


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize(("objective", "mixed"), [("dice_cross_entropy", False), ("tversky_focal", True)])
def test_the_meta_gradient_is_that_of_the_unrolled_step(rule, mixed, objective):
    loss, objective = MetaLoss(seed=1).double(), parse(objective)
    step = online(rule, loss, objective)
    moments = {}
    for number in (1, 2, 3):
        (pair, _) = pairs([batch(number, mixed), batch(number + 10)])
        before = [weight.detach().clone() for weight in loss.parameters()]
        expected, moved = unrolled(step.network, loss, objective, pair, rule, moments, number)
        step(pair)
        scale = max(gradient.abs().max() for gradient in expected)
        for old, weight, gradient in zip(before, loss.parameters(), expected, strict=True):
            torch.testing.assert_close(old - weight, gradient, rtol=1e-5, atol=1e-5 * scale.item())
        for name, weight in step.network.named_parameters():
            torch.testing.assert_close(weight, moved[name], rtol=1e-7, atol=1e-9)


def test_an_optimiser_of_unknown_slope_is_refused():
    weight = torch.zeros(3, requires_grad=True)
    for optimiser in (torch.optim.SGD([weight], lr=0.1, momentum=0.9), torch.optim.AdamW([weight], lr=0.1)):
        with pytest.raises(ValueError, match="not known"):
            step_slope(optimiser, weight)


def test_every_batch_is_stepped_on_and_judges_once():
    batches = [batch(seed) for seed in range(3)]
    found = list(pairs(batches))
    assert [pair.batch for pair in found] == batches
    assert [pair.other for pair in found] == [*batches[1:], batches[0]]


def test_a_state_given_back_goes_on_alike():
    pair = next(pairs([batch(1), batch(2)]))
    first = online("sgd", MetaLoss(seed=1).double(), parse("dice"))
    first(pair)
    second = online("sgd", MetaLoss(seed=2).double(), parse("dice"))
    second.load(first.state())
    second.network.load_state_dict(first.network.state_dict())
    assert second(pair) == first(pair)
    torch.testing.assert_close(second.plain.loss.state_dict(), first.plain.loss.state_dict(), rtol=0, atol=0)
