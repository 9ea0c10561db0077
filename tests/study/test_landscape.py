"""The landscape of a finished run."""

import shutil

import pytest
import torch

from ellipsoids import write_small_data
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.files import read_json
from spineloss.results.run_folder import Run
from spineloss.study.engine import run_study
from spineloss.study.landscape import write_landscape
from spineloss.study.prediction import Predictor
from spineloss.study.preparation import prepare_again
from spineloss.study.settings import check
from spineloss.text import parse

SETTINGS = {"grid": [16, 16, 32], "width": 2, "folds": 2, "epochs": 1, "batch": 2, "validate_every": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landscape")
    settings = SETTINGS | {"data": write_small_data(folder / "volumes"), "methods": ["dice"]}
    list(run_study(check(settings, "test"), folder / "study", lambda line: None, Cache(folder / "cache")))
    return folder / "study"


def draw(run, *specs, points=3):
    return list(write_landscape(run.folder, specs, points=points, span=0.5, progress=lambda line: None))


def test_the_centre_is_the_loss_of_the_trained_network(study):
    run = Run.of(study, "dice", 1)
    specs = ["dice", "0.5*cross_entropy + 0.5*boundary"]
    written = draw(run, *specs)
    assert [path.name for path in written] == ["landscape.csv", "landscape.svg", "landscape.png"]
    found = run.landscape()
    settings = check(SETTINGS | {"data": study.parent / "volumes", "methods": ["dice"]}, "test")
    samples = prepare_again(settings, study, lambda line: None).samples
    (network,) = Predictor([run]).networks
    for spec in specs:
        values = []
        for case in read_json(study / "folds.json")["folds"][1]:
            sample = samples[case]
            with torch.no_grad():
                logits = network(sample.image[None])
            values.append(parse(spec)(logits, sample.target[None], spacing=torch.tensor([sample.spacing])).item())
        assert found.losses[spec][1, 1] == pytest.approx(sum(values) / len(values), abs=1e-6)
        assert found.losses[spec].std() > 0


def test_alone_it_is_the_runs_own_loss_and_the_same_again(study):
    run = Run.of(study, "dice", 0)
    first, second = ((draw(run)[0]).read_bytes() for _ in range(2))
    assert first == second and first.startswith(b"alpha,beta,dice\n")


def test_what_is_no_finished_run_is_told(study, tmp_path):
    with pytest.raises(UserError, match="is no run"):
        list(write_landscape(study, [], points=3, span=1.0, progress=lambda line: None))
    run = Run.of(study, "dice", 0)
    tried = shutil.copytree(run.folder, run.candidate(0.001).folder)
    with pytest.raises(UserError, match=r"rate-0.001 is no run of a study: name a folder such as"):
        draw(Run(tried))
    shutil.rmtree(tried)
    with pytest.raises(UserError, match="4 points"):
        draw(Run.of(study, "dice", 0), points=4)
