"""Trainings and hours by hand."""

import pytest

from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.study.plan import ENOUGH, _planned, plan
from spineloss.study.settings import check
from study.test_engine import SETTINGS

ADAPTIVE = {"loss": "dice + focal", "name": "C", "weighting": "cov", "controls": True}


def test_trainings_and_hours_by_hand():
    methods = [{"loss": "dice", "learning_rate": [0.1, 0.01]}, ADAPTIVE]
    settings = {"methods": methods, "folds": 3, "repeats": 2, "epochs": 10, "validate_every": 5, "data": "v"}
    study = check(settings, "test")
    # Six runs of 10 epochs of 36 s and 2 validations of 18 s, and six candidates of 10 epochs of three quarters.
    dice = _planned(study, 0, training=36.0, validated=54.0)
    assert (dice.trainings, dice.hours) == (12, pytest.approx((6 * (360 + 36) + 6 * 270) / 3600))
    # A method and its three controls.
    adaptive = _planned(study, 1, training=36.0, validated=36.0)
    assert (adaptive.trainings, adaptive.hours) == (24, pytest.approx(24 * 360 / 3600))


def test_two_epochs_of_each_method_are_enough(small_data, tmp_path):
    study = check(SETTINGS | {"data": small_data, "methods": ["dice", ADAPTIVE], "epochs": 100}, "test")
    found = plan(study, lambda line: None, Cache(tmp_path))
    # Three training cases, two per batch.
    assert (found.steps, found.enough) == (2, ENOUGH // 2)
    assert [each.method for each in found.methods] == ["dice", "C"]
    assert all(each.hours > 0 for each in found.methods)
    failing = study.model_copy(
        update={"methods": check(SETTINGS | {"data": "v", "methods": [FAILS]}, "t").methods}
    )
    with pytest.raises(UserError, match="fails at once: KeyError"):
        plan(failing, lambda line: None, Cache(tmp_path))


FAILS = "study.foreign_losses.Raises"
