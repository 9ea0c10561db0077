import copy
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import spineloss
from spineloss.data.batches import Batch, BatchPair, Target, pairs
from spineloss.errors import UserError
from spineloss.text import parse
from spineloss.training.gradients import Forward, span
from spineloss.training.greedy import Greedy, GreedySearch, distance, first_best, parse_search
from spineloss.training.precision import Precision
from spineloss.training.steps import LossNotFinite, Plain

SHAPE = (2, 1, 4, 6, 8)
obvious_trials = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "obvious.py"))["obvious_trials"]
LOSSES = [
    "tversky",
    "tversky(over=batch)",
    "asymmetric",
    "effectiveness",
    "tversky_focal",
    "focal",
    "dice_cross_entropy",
    "0.5*focal + 0.5*tversky + 0.1*boundary(unit=voxel)",
]
TWO = torch.tensor([[3.0, 1.0, 1.0]] * 2)


def network_of(norm, channels=1):
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1),
        norm,
        torch.nn.LeakyReLU(),
        torch.nn.Conv3d(4, channels, 3, padding=1),
    )


def greedy_of(
    text,
    search=None,
    norm=None,
    clip=None,
    channels=1,
    optimiser=torch.optim.Adam,
    scaler=None,
    activation="sigmoid",
):
    """A greedy step of a small network in double precision."""
    torch.manual_seed(0)
    network = network_of(norm or torch.nn.InstanceNorm3d(4), channels).double()
    precision = Precision(torch.device("cpu"), torch.float32, scaler)
    plain = Plain(
        network,
        spineloss.loss(text, activation=activation),
        optimiser(network.parameters(), lr=0.02),
        precision,
        clip,
    )
    return Greedy(plain, search or GreedySearch(), (21, 0))


def batch_of(number, shares=(1.0,), shape=SHAPE):
    """A noisy image of its first target."""
    random = torch.Generator().manual_seed(number)
    masks = [(torch.rand(shape, generator=random) > 0.7).double() for _ in shares]
    noise = torch.randn(shape, generator=random, dtype=torch.float64)
    image = (masks[0] + noise)[:, :1]
    return Batch(image, tuple((share, Target(mask, TWO, {})) for share, mask in zip(shares, masks, strict=True)))


def pairs_of(count, **kwargs):
    return [BatchPair(batch_of(number, **kwargs), batch_of(number + 100, **kwargs)) for number in range(count)]


def weights(greedy):
    return torch.cat([value.flatten().clone() for value in greedy.network.state_dict().values()])


def assert_as_obvious(given, *args, **kwargs):
    """The same scores and choices as by stepping, restoring and stepping again; the network ends the same too."""
    greedy, other = greedy_of(*args, **kwargs), greedy_of(*args, **kwargs)
    for pair in given:
        candidates = greedy.candidates()
        before = weights(greedy)
        trials = greedy.trials(pair, candidates)
        assert torch.equal(weights(greedy), before)
        expected = obvious_trials(other, pair, candidates)
        assert trials.scores == pytest.approx(expected, rel=1e-9)
        assert trials.best == first_best(expected)
        greedy.take(trials)
        replace(other.plain, loss=other.plain.loss.tuned(candidates[trials.best]))(pair.batch)
        other.values, other.done = greedy.values, greedy.done
        torch.testing.assert_close(weights(greedy), weights(other), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("text", LOSSES)
def test_trials_equal_steps_that_are_taken_and_undone(text):
    assert_as_obvious(pairs_of(2), text)


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
def test_of_any_optimiser(optimiser):
    assert_as_obvious(pairs_of(3), "tversky", optimiser=optimiser)


def test_clipped_mixed_scored_on_the_batch_itself_and_of_two_channels():
    assert_as_obvious(pairs_of(3), "tversky", clip=0.01)
    assert_as_obvious(pairs_of(3, shares=(0.8, 0.2)), "tversky")
    assert_as_obvious(pairs_of(3), "tversky", GreedySearch(score="train"))
    assert_as_obvious(pairs_of(2, shape=(2, 2, 4, 6, 8)), "effectiveness", channels=2)


@pytest.mark.parametrize("text", ["tversky", "focal", "dice_cross_entropy"])
def test_of_exclusive_classes(text):
    given = pairs_of(2, shape=(2, 3, 4, 6, 8))
    assert_as_obvious(given, text, channels=3, activation="softmax")


def test_the_score_is_the_distance_of_prediction_and_target():
    loss, logits = parse("dice"), torch.zeros(1, 1, 2, 2)
    first, second = (Target(torch.tensor(mask).view(1, 1, 2, 2), TWO, {}) for mask in ([1.0] * 4, [0.5] * 4))
    assert distance(loss, logits, [(1.0, first)]).item() == pytest.approx(0.5)
    # sqrt(0.25 * 0.5^2 + 0.75 * 0^2)
    assert distance(loss, logits, [(0.25, first), (0.75, second)]).item() == pytest.approx(0.25)


def test_the_best_candidate_is_taken_and_recorded():
    greedy = greedy_of("tversky")
    for pair in pairs_of(4):
        trials = greedy.trials(pair, greedy.candidates())
        step = greedy(pair)
        assert step.record == trials.candidates[trials.scores.index(min(trials.scores))] == greedy.values
        assert step.loss == trials.losses[trials.best]


def test_a_search_of_every_third_step_leaves_the_values_between():
    greedy = greedy_of("tversky", GreedySearch(every=3, score="random"))
    found = [greedy(pair).record for pair in pairs_of(7)]
    assert found[0] == found[1] == found[2] and found[3] == found[4] == found[5]
    assert len({tuple(record.values()) for record in found}) > 1


def test_random_choices_are_a_function_of_the_key():
    search = GreedySearch(score="random")
    first, second = ([greedy(pair).record for pair in pairs_of(6)] for greedy in (
        greedy_of("tversky", search), greedy_of("tversky", search)
    ))  # fmt: skip
    assert first == second and len({tuple(record.values()) for record in first}) > 3


def test_a_state_given_back_goes_on_alike():
    whole, half, rest = (greedy_of("effectiveness", GreedySearch(every=2, moves="single")) for _ in range(3))
    given = pairs_of(4)
    expected = [whole(pair).record for pair in given]
    found = [half(pair).record for pair in given[:2]]
    rest.network.load_state_dict(half.network.state_dict())
    rest.plain.optimiser.load_state_dict(copy.deepcopy(half.plain.optimiser.state_dict()))
    rest.load(copy.deepcopy(half.state()))
    found += [rest(pair).record for pair in given[2:]]
    assert found == expected
    assert torch.equal(weights(rest), weights(whole))


def test_single_moves_change_one_parameter_at_a_time():
    parameters = parse("effectiveness").tunable()
    values = {name: parameter.default for name, parameter in parameters.items()}
    found = GreedySearch(moves="single").candidates(values, parameters)
    assert len(found) == 7
    assert all(sum(tried[name] != values[name] for name in values) == 1 for tried in found[1:])


def test_candidates_stay_in_their_ranges_and_keep_their_total():
    parameters = parse("tversky").tunable()
    assert GreedySearch().candidates({"alpha": 10.0, "beta": 0.0}, parameters) == [
        {"alpha": 10.0, "beta": 0.0}, {"alpha": 9.0, "beta": 0.0},
    ]  # fmt: skip
    for tried in GreedySearch(total="kept").candidates({"alpha": 0.7, "beta": 0.3}, parameters):
        assert tried["alpha"] + tried["beta"] == pytest.approx(1.0)


def test_a_loss_that_is_not_finite_is_told():
    greedy = greedy_of("tversky")
    pair = pairs_of(1)[0]
    broken = Batch(pair.batch.image * float("nan"), pair.batch.targets)
    with pytest.raises(LossNotFinite):
        greedy(BatchPair(broken, pair.other))


@pytest.mark.parametrize(
    ("text", "loss", "told"),
    [
        ("greedy", "dice", "has none"),
        ("greedy(total=kept)", "focal", "alpha and beta"),
        ("greedy", "dice_signed_distance", "trains a distance map"),
        ("greedy(up=1)", "tversky", "up=1 is out of range"),
        ("greedy(down=0)", "tversky", "down=0 is out of range"),
        ("greedy(every=0)", "tversky", "every=0 is out of range"),
        ("greedy(moves=all)", "tversky", "moves=all is unknown"),
        ("greedy(often=1)", "tversky", "often"),
    ],
)
def test_mistakes_are_told(text, loss, told):
    with pytest.raises(UserError, match=told):
        parse_search(text).check(parse(loss))


def test_a_search_is_a_text():
    search = GreedySearch(every=4, moves="single", score="train")
    assert parse_search(str(search)) == search


def test_few_backward_passes_serve_every_candidate():
    """Of region losses all slopes of a sample lie in a plane: two passes a sample."""
    batch = batch_of(0)
    greedy = greedy_of("tversky")
    forward = Forward(greedy.network, batch.image, greedy.plain.precision)
    candidates = greedy.candidates()
    _, slopes = greedy._slopes(forward.logits, batch, candidates)
    assert len(slopes) == 9 and len(forward.gradients(slopes).basis) <= 2 * len(batch.image)


def test_gradients_scaled_for_half_precision_are_the_same():
    """The scaler skips a step whose gradient overflows, and lowers its scale."""
    plain = greedy_of("tversky")
    scaled = greedy_of("tversky", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    for pair in pairs_of(3):
        assert scaled(pair).record == plain(pair).record
    torch.testing.assert_close(weights(scaled), weights(plain))


def test_statistics_of_normalisation_move_with_the_step_alone():
    greedy = greedy_of("tversky", norm=torch.nn.BatchNorm3d(4))
    norm = next(module for module in greedy.network.modules() if isinstance(module, torch.nn.BatchNorm3d))
    greedy(pairs_of(1)[0])
    assert norm.num_batches_tracked == 1


def test_an_epoch_of_one_batch_is_paired_with_itself():
    batch = batch_of(0)
    (pair,) = pairs([batch])
    assert pair.batch is batch and pair.other is batch
    greedy_of("tversky")(pair)


def test_a_basis_of_nothing_is_one_vector_of_zeros():
    basis, coordinates = span(torch.zeros(3, 5))
    assert basis.shape == (1, 5) and not (coordinates @ basis).any()
