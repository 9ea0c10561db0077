import numpy as np
import pytest
import SimpleITK as sitk

from ellipsoids import ellipsoids
from spineloss.data.cache import Cache
from spineloss.errors import UserError
from spineloss.results.comparison import compare_study
from spineloss.results.records import read_records
from spineloss.results.run_folder import Run
from spineloss.study.elsewhere import score_elsewhere
from spineloss.study.engine import run_study
from spineloss.study.prediction import Predictor
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
