"""Studies of several structures: trained, tabled, looked at and predicted."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.losses import DiceLoss

from data.test_cases import save, volume
from ellipsoids import ellipsoids
from spineloss.data.batches import Target
from spineloss.data.labelling import labelling_of
from spineloss.errors import UserError
from spineloss.report.content import read_content
from spineloss.report.gallery import Gallery
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.results.table import summarise
from spineloss.search.split import prepare_search
from spineloss.study.engine import run_study
from spineloss.study.landscape import write_landscape
from spineloss.study.prediction import Predictor, find_runs, predict
from spineloss.study.preparation import prepare_study
from spineloss.study.recipe import convention
from spineloss.study.settings import check
from spineloss.text import parse
from spineloss.training.validation import Example

SETTINGS = {"grid": [16, 16, 32], "width": 2, "folds": 2, "batch": 2, "epochs": 1}
VALUES = np.array([0, 7, 1024])  # the labels of the ellipsoids
METHODS = [
    "dice + cross_entropy",
    {"loss": "dice + boundary", "name": "B", "weighting": "cov", "controls": True},
    {"loss": "tversky", "name": "T", "tuning": "greedy(every=2, moves=single)"},
    {"loss": "monai.losses.DiceCELoss(softmax=true, to_onehot_y=true)", "name": "MONAI's"},
]


def write_volumes(folder, cases=6):
    for case in range(cases):
        image, label_map = ellipsoids(case)
        for kind, array in (("images", image), ("masks", VALUES[label_map].astype(np.uint16))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), folder / kind / f"case-{case}.mha")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    settings = SETTINGS | {
        "data": write_volumes(folder / "volumes", cases=4),
        "target": "exclusive",
        "methods": METHODS,
    }
    list(run_study(check(settings, "test"), folder / "study", lambda line: None))
    return folder / "study"


def test_every_kind_of_method_trains_on_exclusive_structures(study):
    records = read_records(study)
    names = {record.method for record in records}
    assert names == {
        "dice + cross_entropy",
        "B",
        "B (uniform weights)",
        "B (random weights)",
        "B (average weights)",
        "T",
        "MONAI's",
    }
    rows = [row for row in summarise(records) if row.metric == "dice" and row.method == "T"]
    assert [row.label for row in rows] == ["mean", "7", "1024"]
    with (Run.of(study, "T", 0).folder / "cases.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["7", "1024"] * 2


def test_label_maps_of_large_labels_are_predicted(study):
    predictor = Predictor(find_runs(study, "dice + cross_entropy"))
    image = sitk.GetImageFromArray(ellipsoids(99)[0])
    found = sitk.GetArrayFromImage(predictor.mask(image))
    assert found.dtype == np.uint16 and set(np.unique(found)) <= {0, 7, 1024}
    oriented = sitk.DICOMOrient(image, predictor.orientation)
    likeliest = VALUES[predictor.probabilities([oriented]).argmax(0).numpy()]
    assert np.array_equal(
        found, sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.GetImageFromArray(likeliest), "LPS"))
    )


def test_its_landscape_and_its_pictures_read_the_same_targets(study):
    run = Run.of(study, "B", 1)
    assert list(write_landscape(run.folder, ["dice"], points=3, span=0.5, progress=lambda line: None))
    gallery = Gallery(read_content(study), lambda line: None)
    scan = gallery.scan("case-1")
    assert scan.truth.sum() == (ellipsoids(1)[1] > 0).sum()
    assert gallery.prediction("B", "case-1").shape == scan.truth.shape


def test_the_background_counts_in_no_overlap_as_in_monai():
    labelling = labelling_of("exclusive", [1, 2])
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 8, 8)
    targets = [torch.randint(3, (1, 4, 8, 8), dtype=torch.uint8) for _ in range(2)]
    target = Target.of(targets, torch.ones(2, 3), frozenset({"mm"}), labelling)
    ours = parse("dice").with_convention(convention(labelling))(logits, target.truth, **target.context())
    monais = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=0, smooth_dr=0)
    assert ours.item() == pytest.approx(monais(logits, target.truth).item(), abs=1e-6)
    boundary = parse("boundary").with_convention(convention(labelling))
    maps = target.maps["mm"]
    by_hand = (logits.softmax(1) * maps)[:, 1:].mean()
    assert boundary(logits, target.truth, **target.context()).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert (maps[:, 1] <= 0).equal(torch.stack(targets)[:, 0] == 1)


@pytest.mark.parametrize("target", ["merged", "exclusive"])
def test_what_nobody_annotated_counts_in_no_score(target, tmp_path):
    data = write_volumes(tmp_path / "volumes", cases=4)
    for path in (data / "masks").iterdir():
        array = sitk.GetArrayFromImage(sitk.ReadImage(path))
        array[:, 14:24] = 3  # across both structures, and between them
        sitk.WriteImage(sitk.GetImageFromArray(array), path)
    settings = SETTINGS | {"data": data, "target": target, "ignore": 3, "methods": ["dice + boundary"]}
    list(run_study(check(settings, "test"), tmp_path / "study", lambda line: None))
    run = Run.of(tmp_path / "study", "dice + boundary", 0)
    predictor = Predictor([run])
    ((_, scores),) = run.scores().items()
    for case in {case for case, _ in scores}:
        found, truth = (
            sitk.GetArrayFromImage(image)
            for image in (
                predictor.mask(data / "images" / f"{case}.mha"),
                sitk.ReadImage(data / "masks" / f"{case}.mha"),
            )
        )
        for label in ["all"] if target == "merged" else ["7", "1024"]:
            sides = (found == 1, truth > 3) if label == "all" else (found == int(label), truth == int(label))
            counted = [side[truth != 3] for side in sides]
            assert scores[case, label]["accuracy"] == pytest.approx((counted[0] == counted[1]).mean())


def test_an_ignored_label_is_read_from_dataset_json_and_no_search_learns_from_it(tmp_path):
    for case in range(3):
        save(volume(case), tmp_path / "imagesTr" / f"c{case}_0000.nii.gz")
        save(volume(labels=True), tmp_path / "labelsTr" / f"c{case}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "bone": 1, "ignore": 2}}))
    data = prepare_study(check(SETTINGS | {"data": tmp_path, "methods": ["dice"]}, "test"), lambda line: None)
    assert data.labelling.ignore == 2 and data.labelling.structures[0].labels == (1,)
    with pytest.raises(UserError, match="label 2"):
        prepare_search(tmp_path, (16, 16, 32), 0, cache=None, progress=lambda line: None)


def test_channels_are_predicted_in_the_order_that_they_were_trained_in(tmp_path):
    for case in range(4):
        image, label_map = ellipsoids(case)
        for channel, array in enumerate((image, -image)):
            save(sitk.GetImageFromArray(array), tmp_path / "data" / "imagesTr" / f"c{case}_{channel:04d}.nii.gz")
        save(sitk.GetImageFromArray(label_map), tmp_path / "data" / "labelsTr" / f"c{case}.nii.gz")
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}}))
    settings = SETTINGS | {"data": tmp_path / "data", "methods": ["dice"]}
    list(run_study(check(settings, "test"), tmp_path / "study", lambda line: None))
    predictor = Predictor(find_runs(tmp_path / "study"))
    assert predictor.channels == ["T1", "T2"]
    images = tmp_path / "data" / "imagesTr"
    done = list(predict(predictor, [images], tmp_path / "masks"))
    assert sorted(one.mask.name for one in done) == [f"c{case}.nii.gz" for case in range(4)]
    together, apart = sitk.ReadImage(images / "c0_0000.nii.gz"), sitk.ReadImage(images / "c0_0001.nii.gz")
    written = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "masks" / "c0.nii.gz"))
    for given in ([together, apart], sitk.JoinSeries([together, apart])):
        assert np.array_equal(sitk.GetArrayFromImage(predictor.mask(given)), written)
    with pytest.raises(UserError, match=r"has 1 channel\(s\), and the networks take 2 \(T1, T2\)"):
        predictor.mask(images / "c0_0000.nii.gz")
    apart.SetSpacing((1, 1, 2))
    with pytest.raises(UserError, match="another spacing"):
        predictor.mask([together, apart])
    content = read_content(tmp_path / "study")
    first, second = (Gallery(content, lambda line: None, name).scan("c0").intensities for name in (None, "T2"))
    assert np.array_equal(first, -second)
    with pytest.raises(UserError, match="no channel 'T3': choose T1, T2"):
        Gallery(content, lambda line: None, "T3")


def test_networks_that_predict_maps_segment_by_their_sign(tmp_path):
    methods = ["dice", "signed_distance", {"loss": "dice_signed_distance", "name": "C", "weighting": "cov"}]
    settings = SETTINGS | {"target": "per-label", "methods": methods, "metrics_grid": "network"}
    settings |= {"data": write_volumes(tmp_path / "volumes", cases=4)}
    list(run_study(check(settings, "test"), tmp_path / "study", lambda line: None))
    records = {record.method for record in read_records(tmp_path / "study")}
    assert records == {"dice", "signed_distance", "C"}
    runs = [Run.of(tmp_path / "study", method, 0) for method in ("dice", "signed_distance", "C")]
    assert [run.record()["labelling"].get("predicts") for run in runs] == [None, "distance", "distance"]
    predictor = Predictor([runs[1]])
    assert predictor.labelling.predicts == "distance"
    image = sitk.GetImageFromArray(ellipsoids(99)[0])
    found = sitk.GetArrayFromImage(predictor.mask(image))
    assert set(np.unique(found)) <= {0, 7, 1024}
    (scores,) = runs[1].scores().values()
    assert scores
    for row in scores.values():
        # What a steep function of the map says is 0 or 1 nearly everywhere: its squared error is that of the mask.
        assert row["brier"] == pytest.approx(1 - row["accuracy"], abs=0.02)


def test_regions_are_trained_over_one_another_and_predicted_in_their_order(tmp_path):
    for case in range(4):
        image, label_map = ellipsoids(case)
        # One slice holds most voxels, another most of the two regions, one within the other.
        label_map[2, :, :20], label_map[9, :, :18] = 1, 2
        save(sitk.GetImageFromArray(image), tmp_path / "data" / "imagesTr" / f"c{case}_0000.nii.gz")
        save(sitk.GetImageFromArray(label_map), tmp_path / "data" / "labelsTr" / f"c{case}.nii.gz")
    labels = {"background": 0, "both": [1, 2], "lower": [2]}
    description = {"labels": labels, "regions_class_order": [5, 300]}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(description))
    settings = SETTINGS | {"data": tmp_path / "data", "target": "regions", "methods": ["dice"]}
    list(run_study(check(settings, "test"), tmp_path / "study", lambda line: None))
    records = read_records(tmp_path / "study")
    assert [row.label for row in summarise(records) if row.metric == "dice"] == ["mean", "both", "lower"]
    predictor = Predictor(find_runs(tmp_path / "study"))
    found = sitk.GetArrayFromImage(predictor.mask(sitk.GetImageFromArray(ellipsoids(99)[0])))
    assert found.dtype == np.uint16 and set(np.unique(found)) <= {0, 5, 300}
    content = read_content(tmp_path / "study")
    for grid in ("case", "network"):
        shown = replace(content, study=content.study.model_copy(update={"metrics_grid": grid}))
        gallery = Gallery(shown, lambda line: None)
        sample, masks = gallery.data.samples["c0"], gallery.data.labelling.masks
        truth = masks(sample.own_target() if grid == "case" else sample.target)
        # What validation keeps of a perfect prediction is the truth that the page draws.
        kept = Example(sample, truth, truth, sample.spacing).picture.any(0)
        assert np.array_equal(gallery.series_view("c0")[1], kept)
    (tmp_path / "data" / "dataset.json").unlink()
    with pytest.raises(UserError, match="needs regions"):
        prepare_study(check(settings, "test"), lambda line: None)
