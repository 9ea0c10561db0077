import math

import pytest
import torch

from spineloss.data import dataset
from spineloss.data.cache import Cache
from spineloss.grammar import Text
from spineloss.search import fresh
from spineloss.search.fitness import TrainingFitness
from spineloss.search.fresh import Budget
from spineloss.training.steps import LossNotFinite
from spineloss.training.validation import Validation

DICE = Text("formula", "complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y))))").formula()
GRID = (16, 16, 32)


@pytest.fixture
def training(small_data) -> TrainingFitness:
    data = dataset.prepare(
        small_data, grid=GRID, labels="all", target="merged", leave_out=(), cache=Cache(), progress=print
    )
    return TrainingFitness(
        list(data.samples.values()), Budget(GRID, width=1, batch=2, epochs=1, seed=21), data.groups
    )


@pytest.fixture
def validated(monkeypatch) -> list[set[str]]:
    """The cases of each validation, which finds one case without a Dice and one of a half."""
    seen = []

    def told(network, samples, *rest, **settings) -> Validation:
        seen.append({sample.case for sample in samples})
        return Validation([{"dice": math.nan}, {"dice": 0.5}], None, 0.0)

    monkeypatch.setattr(fresh, "validate", told)
    return seen


def test_any_number_of_threads_gives_the_same(training):
    alone = training(DICE, 0)
    torch.set_num_threads(2)
    try:
        assert training(DICE, 0) == alone
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_an_undefined_dice_counts_as_none(training, validated):
    assert training(DICE, 0) == 0.25


def test_each_repeat_validates_on_another_quarter(training, validated):
    for repeat in range(5):
        training(DICE, repeat)
    assert sorted(case for cases in validated[:4] for case in cases) == [f"case-{case}" for case in range(6)]
    assert validated[4] == validated[0]


def test_a_training_that_breaks_off_is_worth_nothing(training, monkeypatch):
    def broken(self):
        raise LossNotFinite("epoch 1")
        yield

    monkeypatch.setattr(fresh.Training, "epochs", broken)
    assert training(DICE, 0) == 0.0
