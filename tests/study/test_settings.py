from pathlib import Path

import pytest

from spineloss.data.augmentation import NNUNET, Augment
from spineloss.errors import UserError
from spineloss.study.settings import PRESETS, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_studies_load(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert load(path).methods


def test_defaults_are_the_lumbar_training_of_the_thesis(write):
    study = load(write("data: volumes\nmethods: [dice]"))
    assert (study.epochs, study.batch, study.rates(study.methods[0]), study.folds) == (100, 4, (0.001,), 3)
    assert study.grid == (32, 224, 224)
    assert study.augment.affine == 0.3


def test_data_is_relative_to_the_file(write, tmp_path):
    assert load(write("data: volumes\nmethods: [dice]")).data == tmp_path / "volumes"


@pytest.mark.parametrize(
    ("preset", "epochs", "learning_rate", "affine", "noise"),
    [("lumbar", 100, 0.001, 0.3, 0.2), ("cervical", 150, 0.002, 0.4, 0.3)],
)
def test_presets_are_table_a6(preset, epochs, learning_rate, affine, noise):
    study = load(preset, {"data": "volumes", "methods": ["dice"]})
    assert (study.folds, study.batch, study.validate_every) == (3, 4, 5)
    assert (study.epochs, study.learning_rate) == (epochs, learning_rate)
    assert (study.augment.affine, study.augment.noise, study.augment.mixup) == (affine, noise, 1.0)


def test_nnunets_protocol_is_a_preset():
    study = load("nnunet", {"data": "volumes", "methods": ["dice + cross_entropy"]})
    assert (study.epochs, study.steps_for(7), study.batch, study.folds) == (1000, 250, 2, 5)
    assert (study.optimiser, study.rates(study.methods[0]), study.clip_gradient) == ("sgd", (0.01,), 12)
    assert Augment(**study.augment.model_dump()) == NNUNET


def test_nnunets_augmentations_by_their_name(write):
    study = load(write("data: volumes\nmethods: [dice]\naugment: nnunet"))
    assert Augment(**study.augment.model_dump()) == NNUNET
    assert load(write(f"data: volumes\nmethods: [dice]\naugment: {study.plain()['augment']}")) == study


def test_what_is_signed_is_what_differs_from_the_defaults(write):
    assert load(write("data: volumes\nmethods: [dice]\nepochs: 100")).signed() == {}
    changed = load(write("data: volumes\nmethods: [dice]\nepochs: 3\naugment: {affine: 0.3, noise: 0.5}"))
    assert changed.signed() == {"epochs": 3, "augment": {"noise": 0.5}}


def test_a_file_builds_on_a_preset(write):
    study = load(write("preset: cervical\ndata: volumes\nmethods: [dice]\nepochs: 3"))
    assert (study.epochs, study.learning_rate) == (3, 0.002)
    assert set(PRESETS) == {"cervical", "demo", "lumbar", "nnunet"}


def test_a_presets_learning_rate_is_for_its_own_width(write):
    narrow = load(write("preset: cervical\ndata: volumes\nmethods: [dice]\nwidth: 8"))
    assert narrow.learning_rate == "auto" and narrow.rates(narrow.methods[0]) == (0.008,)
    kept = load(write("preset: cervical\ndata: v\nmethods: [dice]\nwidth: 8\nlearning_rate: 0.002"))
    assert kept.learning_rate == 0.002


def test_a_methods_learning_rate_wins_over_the_studys(write):
    text = "data: v\nlearning_rate: [0.01, 1e-3]\nmethods: [dice, {loss: iou, learning_rate: 0.1}, focal]"
    study = load(write(text))
    assert [study.rates(method) for method in study.methods] == [(0.001, 0.01), (0.1,), (0.001, 0.01)]


def test_methods_are_texts_or_mappings(write):
    study = load(write('data: v\nmethods: [dice, {loss: "0.8*dice + 0.2*boundary", name: B}]'))
    assert [(method.name, method.loss) for method in study.methods] == [
        ("dice", "dice"),
        ("B", "0.8*dice + 0.2*boundary"),
    ]


def test_controls_follow_their_method(write):
    text = "data: v\nmethods: [dice, {loss: dice + boundary, weighting: rebalance, controls: true}, iou]"
    name = "dice + boundary / rebalance"
    assert [trial.name for trial in load(write(text)).trials] == [
        "dice",
        name,
        f"{name} (uniform weights)",
        f"{name} (random weights)",
        f"{name} (average weights)",
        "iou",
    ]


def test_controls_of_a_tuning(write):
    text = "data: v\nmethods: [{loss: tversky, name: T/G, tuning: greedy(every=2), controls: true}]"
    assert [trial.name for trial in load(write(text)).trials] == [
        "T/G",
        "T/G (random parameters)",
        "T/G (average parameters)",
    ]


PHASED = "data: v\nepochs: 4\nmethods: [{{loss: dice, phases: [{{{}}}]}}]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: v\nmethods: [dice]\nepoch: 3", "unknown key 'epoch'; the nearest known one is 'epochs'"),
        ("data: v\nmethods: [dice]\naugment: {afine: 1}", "the nearest known one is 'affine'"),
        ("data: v\nmethods: [{loss: dice, nam: x}]", "the nearest known one is 'name'"),
        ("data: v\nmethods: [dise]", "dice"),
        ("data: v\nmethods: [dice, dice]", "two methods are named 'dice'"),
        ("data: v\nmethods: []", "methods"),
        ("data: v\nmethods: [{loss: dice + focal, weighting: cog}]", "the nearest known one is 'cov'"),
        ("data: v\nmethods: [{loss: dice, weighting: cov}]", "a weighting needs a sum of two or more"),
        ("data: v\nmethods: [{loss: 2*dice, weighting: cov}]", "two or more terms"),
        ("data: v\nmethods: [{loss: dice + focal, weighting: cov(minimum=0.6)}]", "minimum=0.6 is out of range"),
        ("data: v\nmethods: [{loss: boundary + dice, weighting: rebalance}]", "write the distance loss last"),
        ("data: v\nmethods: [{loss: dice + focal, controls: true}]", "controls are of an adaptive weighting"),
        (
            "data: v\nmethods: [{loss: dice + focal, weighting: static, controls: true}]",
            "controls are of an adaptive",
        ),
        ("data: v\nmethods: [{loss: focal, tuning: greedy(total=kept)}]", "total=kept is of alpha and beta"),
        (
            "data: v\nmethods: [{loss: dice, tuning: greedy}]",
            "greedy searches the parameters of a loss, and dice has",
        ),
        ("data: v\nmethods: [{loss: tversky, tuning: greed}]", "greedy"),
        (
            "data: v\nmethods: [{loss: tversky + focal, tuning: greedy, weighting: cov}]",
            "it has a weighting and a tuning",
        ),
        (PHASED.format("train: all, epochs: 3"), "have 3 epochs and the study 4"),
        (PHASED.format("train: encoder, epochs: 4"), "no decoder learns"),
        (PHASED.format("train: al, epochs: 4"), "methods.0.phases.0.train"),
        (PHASED.format("train: all, epochs: 4, los: dice"), "the nearest known one is 'loss'"),
        (PHASED.format("train: all, epochs: 4, loss: dise"), "dise"),
        (PHASED.format("train: all, epochs: 4") + "\nnetwork: SegResNet", "phases are of `network: unet`"),
        (
            PHASED.format("train: all, epochs: 2}, {train: all, epochs: 2") + "\nwarm_up: 2",
            "warm_up is 2 epochs of",
        ),
        (
            PHASED.format("train: all, epochs: 4").replace("dice,", "dice + focal, weighting: cov,"),
            "it has phases and",
        ),
        ("data: v\nmethods: [dice]\nlearning_rate: fast", "'fast' is no learning rate; write auto, a number"),
        ("data: v\nmethods: [dice]\nlearning_rate: [0.1]", "two or more"),
        ("data: v\nmethods: [dice]\nlearning_rate: [0.1, 0]", "0 is no learning rate"),
        ("data: v\nmethods: [{loss: dice, learning_rate: .nan}]", "nan is no learning rate"),
        ("data: v\nmethods: [dice]\nleave_out: [3]", "put each id in quotes, as in ['03']"),
        ("data: v\nmethods: [dice]\nrepeats: 0", "repeats"),
        ("data: v\nmethods: [dice]\ntarget: regions\nlabels: [1]", "leave `labels` out"),
        ("data: v\nmethods: [dice]\nlabels: [1, 2, 2]", "line 3: labels: 2 is named twice"),
        ("data: v\nmethods: [dice]\ngroups: 'a('", "is not a regular expression"),
        ("data: v\nmethods: [dice]\nbeside: thesis", "beside"),
        ("methods: [dice]", "the key 'data' is missing"),
        ("data: v\nmethods: [dice]\ngrid: [15, 64, 64]", "grid"),
        ("data: v\nmethods: [dice]\ngrid: [16, 16, 16]", "one voxel at the network's coarsest level"),
        ("data: v\nmethods: [dice]\naugment: {affine: 2}", "augment.affine"),
        ("data: v\nmethods: [dice]\nepochs: 3\nwarm_up: 3", "warm_up is 3 of 3 epochs"),
        ("data: v\nmethods: [dice]\noptimiser: adamw", "optimiser"),
        ("data: v\nmethods: [dice]\naugment: nnunett", "there is no list 'nnunett'; write nnunet"),
        ("data: v\nmethods: [dice]\npreset: lumbr", "lumbar"),
        ("data: [v\nmethods", "not valid YAML at line"),
        ("", "holds no settings"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_that_names_the_file(write, text, told):
    with pytest.raises(UserError) as error:
        load(write(text))
    assert told in str(error.value)
    assert "study.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_the_presets(tmp_path):
    for name in ("none.yaml", "a" * 300):
        with pytest.raises(UserError, match="lumbar"):
            load(tmp_path / name)
