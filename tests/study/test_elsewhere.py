import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from data.test_cases import save
from ellipsoids import ellipsoids
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.learned.meta_loss import MetaLoss
from spineloss.results.comparison import compare_study
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.study.elsewhere import score_elsewhere
from spineloss.study.engine import run_study
from spineloss.study.prediction import Predictor
from spineloss.study.preparation import prepare_again
from spineloss.study.settings import check, load

HERE, ELSEWHERE = range(4), range(10, 13)


def quiet(line):
    return None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study of two losses; other volumes, turned another way, with another label; a test on them."""
    place = tmp_path_factory.mktemp("elsewhere")
    for name, cases, factor, orientation in (("volumes", HERE, 1, "LPS"), ("other", ELSEWHERE, 7, "RAI")):
        for case in cases:
            image, label_map = ellipsoids(case)
            for kind, array in (("images", image), ("masks", label_map * factor)):
                (place / name / kind).mkdir(parents=True, exist_ok=True)
                volume = sitk.DICOMOrient(sitk.GetImageFromArray(array), orientation)
                sitk.WriteImage(volume, place / name / kind / f"{case}.mha")
    settings = {"data": place / "volumes", "grid": [16, 16, 32], "width": 2, "epochs": 3, "folds": 2}
    study = check(settings | {"validate_every": 1, "methods": ["dice", "cross_entropy"]}, "a test")
    list(run_study(study, place / "study", quiet, Cache(place / "cache")))
    score_elsewhere(place / "study", place / "other", place / "test", quiet, [7], Cache(place / "cache"))
    return place


def test_each_networks_scores_are_those_of_the_masks_that_it_predicts(place):
    records = read_records(place / "test")
    assert len(records) == 4
    for record in records:
        predictor = Predictor([Run.of(place / "study", record.method, record.fold)])
        assert {case for case, _ in record.scores[3]} == {str(case) for case in ELSEWHERE}
        for (case, label), scores in record.scores[3].items():
            mask = sitk.GetArrayFromImage(predictor.mask(place / "other" / "images" / f"{case}.mha")) > 0
            truth = sitk.GetArrayFromImage(sitk.ReadImage(place / "other" / "masks" / f"{case}.mha")) == 7
            assert label == "all"
            assert scores["dice"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


def test_convergence_is_judged_where_the_networks_were_trained(place):
    trained, tested = (
        compare_study(read_records(place / name), ["dice"])[0].convergence for name in ("study", "test")
    )
    assert tested.trends["dice"].state == trained.trends["dice"].state
    assert np.isclose(tested.trends["dice"].final, trained.trends["dice"].final, atol=1e-6)


def test_a_test_goes_on_where_it_was_and_is_no_place_to_train(place):
    lines = []
    score_elsewhere(place / "study", place / "other", place / "test", lines.append, [7], Cache(place / "cache"))
    assert not [line for line in lines if line.startswith("Testing")]
    with pytest.raises(UserError, match="holds a test of trained networks"):
        list(run_study(load(place / "test" / "study.yaml"), place / "test", quiet, Cache(place / "cache")))


def test_other_labels_and_other_folders_are_refused(place):
    cache = Cache(place / "cache")
    with pytest.raises(UserError, match="no case holds label 1"):
        score_elsewhere(place / "study", place / "other", place / "new", quiet, cache=cache)
    assert not (place / "new").exists()
    with pytest.raises(UserError, match="holds another study or test"):
        score_elsewhere(place / "study", place / "other", place / "study", quiet, [7], cache)


def test_a_test_of_other_labels_is_another_test(place):
    with pytest.raises(UserError, match="holds another study or test: choose another folder"):
        score_elsewhere(place / "study", place / "other", place / "test", quiet, [14], Cache(place / "cache"))
    assert load(place / "test" / "study.yaml").labels == (7,)
    with pytest.raises(UserError, match="--labels names 7 twice"):
        score_elsewhere(place / "study", place / "other", place / "test", quiet, [7, 7], Cache(place / "cache"))


def train(folder, data, **settings):
    """One network of one epoch for each of two folds."""
    fixed = {"data": data, "grid": [16, 16, 32], "width": 2, "epochs": 1, "folds": 2, "methods": ["dice"]}
    list(run_study(check(fixed | settings, "a test"), folder, quiet))
    return folder


def write_raw(folder, numbers, description=None):
    """Three cases as nnU-Net has them, whose structures 1 and 2 are called by other numbers."""
    for case in range(3):
        image, label_map = ellipsoids(case)
        save(sitk.GetImageFromArray(image), folder / "imagesTr" / f"{case}_0000.nii.gz")
        masks = np.array([0, *numbers], np.uint8)[label_map]
        save(sitk.GetImageFromArray(masks), folder / "labelsTr" / f"{case}.nii.gz")
    if description is not None:
        (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_a_test_keeps_the_files_that_losses_were_learned_into(tmp_path):
    MetaLoss().write(tmp_path / "meta.safetensors")
    own = write_raw(tmp_path / "own", (1, 2))
    study = train(tmp_path / "study", own, labels=[1], methods=[f'meta("{tmp_path}/meta.safetensors")'])
    score_elsewhere(study, own, tmp_path / "test", quiet, [2])
    kept = [list((folder / "losses").iterdir()) for folder in (study, tmp_path / "test")]
    assert [file.name for file in kept[0]] == [file.name for file in kept[1]]
    assert load(tmp_path / "test" / "study.yaml").methods == load(study / "study.yaml").methods


def test_structures_are_scored_against_the_labels_in_the_order_that_these_are_named_in(tmp_path):
    own, other = (write_raw(tmp_path / name, numbers) for name, numbers in (("own", (1, 2)), ("other", (20, 10))))
    study = train(tmp_path / "study", own, target="per-label", labels=[2, 1])
    score_elsewhere(study, own, tmp_path / "here", quiet)
    score_elsewhere(study, other, tmp_path / "there", quiet, [20, 10])
    here, there = (read_records(tmp_path / name)[0].scores[1] for name in ("here", "there"))
    assert set(here) == {(str(case), label) for case in range(3) for label in "12"}
    assert {key: row["dice"] for key, row in there.items()} == {key: row["dice"] for key, row in here.items()}
    assert here["0", "1"]["dice"] != here["0", "2"]["dice"]
    again = prepare_again(load(tmp_path / "there" / "study.yaml"), tmp_path / "there", quiet)
    assert [structure.labels for structure in again.labelling.structures] == [(20,), (10,)]


def test_regions_are_scored_against_those_of_the_same_names_in_the_same_order(tmp_path):
    regions = {"both": [1, 2], "lower": [2]}
    described = {"labels": {"background": 0} | regions, "regions_class_order": [1, 2]}
    turned = described | {"labels": {"background": 0} | dict(reversed(regions.items()))}
    own, other = (
        write_raw(tmp_path / name, (1, 2), text) for name, text in (("own", described), ("other", turned))
    )
    study = train(tmp_path / "study", own, target="regions")
    with pytest.raises(UserError, match=r"regions both, lower, and .*other has lower, both: list the same ones"):
        score_elsewhere(study, other, tmp_path / "there", quiet)
    with pytest.raises(UserError, match="leave --labels out"):
        score_elsewhere(study, own, tmp_path / "there", quiet, [1, 2])
    score_elsewhere(study, own, tmp_path / "here", quiet)
    assert load(tmp_path / "here" / "study.yaml").labels == "all"


def test_what_is_ignored_is_what_the_other_description_says_and_without_one_what_the_study_says(place, tmp_path):
    study = tmp_path / "study"
    shutil.copytree(place / "study" / "runs" / "dice" / "fold-0", study / "runs" / "dice" / "fold-0")
    shutil.copy(place / "study" / "study.yaml", study)
    (study / "study.yaml").write_text((study / "study.yaml").read_text().replace("ignore: null", "ignore: 2"))
    described = write_raw(tmp_path / "described", (2, 1), {"labels": {"background": 0, "ignore": 1, "bone": 2}})
    bare = write_raw(tmp_path / "bare", (1, 2))
    for data, label, ignored in ((described, 2, 1), (bare, 1, 2)):
        score_elsewhere(study, data, tmp_path / f"of-{data.name}", quiet, [label])
        again = prepare_again(
            load(tmp_path / f"of-{data.name}" / "study.yaml"), tmp_path / f"of-{data.name}", quiet
        )
        assert again.labelling.ignore == ignored


def test_what_nobody_annotated_of_the_other_data_counts_nowhere_and_its_channels_are_counted(place, tmp_path):
    for case in ELSEWHERE:
        image, label_map = ellipsoids(case)
        label_map[:, 20:] = 2
        images = {"imagesTr": sitk.GetImageFromArray(image), "labelsTr": sitk.GetImageFromArray(label_map)}
        for kind, volume in images.items():
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            suffix = "_0000.nii.gz" if kind == "imagesTr" else ".nii.gz"
            sitk.WriteImage(volume, tmp_path / "data" / kind / f"{case}{suffix}")
    (tmp_path / "data" / "dataset.json").write_text('{"labels": {"background": 0, "bone": 1, "ignore": 2}}')
    score_elsewhere(place / "study", tmp_path / "data", tmp_path / "test", quiet, [1], Cache(tmp_path / "cache"))
    record = read_records(tmp_path / "test")[0]
    predictor = Predictor([Run.of(place / "study", record.method, record.fold)])
    for (case, _), scores in record.scores[3].items():
        mask = sitk.GetArrayFromImage(predictor.mask(tmp_path / "data" / "imagesTr" / f"{case}_0000.nii.gz")) > 0
        truth = ellipsoids(int(case))[1][:, :20] == 1
        assert scores["accuracy"] == pytest.approx((mask[:, :20] == truth).mean())
    for path in list((tmp_path / "data" / "imagesTr").iterdir()):
        sitk.WriteImage(sitk.ReadImage(path), str(path).replace("_0000", "_0001"))
    with pytest.raises(UserError, match=r"has 2 channel\(s\) .*take 1 \(image\)"):
        score_elsewhere(place / "study", tmp_path / "data", tmp_path / "other", quiet, [1], Cache(tmp_path / "c"))
