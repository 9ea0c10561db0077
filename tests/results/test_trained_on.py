from pathlib import Path

import pytest

from spineloss.results import trained_on


@pytest.fixture
def sentences(monkeypatch):
    """What is said of runs of dice, fold by fold: each is its parts, or a record from before there were parts."""

    def said(*runs):
        records = [
            {"method": "dice", "fold": fold, **run} if isinstance(run, dict) else run_of(fold, *run)
            for fold, run in enumerate(runs)
        ]
        monkeypatch.setattr(trained_on, "finished_runs", lambda folder: [(None, record) for record in records])
        return trained_on.hardware_in_words(Path())

    return said


def run_of(fold, *parts):
    keys = ("from_epoch", "device", "threads")
    hardware = [dict(zip(keys, part, strict=True)) | {"precision": "float32", "versions": {}} for part in parts]
    return {"method": "dice", "fold": fold, "hardware": hardware}


AVX2 = "x86_64 (AVX2)"


def test_nothing_is_said_of_one_kind_of_hardware(sentences):
    assert sentences([(1, AVX2, 2)], [(1, AVX2, 2)]) == []


def test_different_hardware_is_said_with_how_many_runs_it_trained(sentences):
    assert sentences([(1, AVX2, 2)], [(1, AVX2, 2)], [(1, AVX2, 1)]) == [
        "Not all runs were trained on the same hardware, so their last digits are not comparable: "
        "x86_64 (AVX2), float32, 2 threads (2 runs); x86_64 (AVX2), float32, 1 thread (1 run)."
    ]


def test_a_run_resumed_on_other_hardware_is_named(sentences):
    found = sentences([(1, AVX2, 2)], [(1, AVX2, 2), (31, "NVIDIA H200", 16)])
    assert found[1] == "Resumed on other hardware or versions: dice fold 1 from epoch 31."


def test_runs_from_before_parts_were_recorded_are_of_their_device(sentences):
    before = {"device": "x86_64", "threads": 1, "versions": {"torch": "2.13.0"}}
    assert sentences(before, before) == []
