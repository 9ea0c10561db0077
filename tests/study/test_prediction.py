import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ellipsoids import ellipsoids
from results.test_table import make_run
from spineloss.data.labelling import Labelling, Structure
from spineloss.errors import UserError
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import study_file
from spineloss.study.engine import run_study
from spineloss.study.prediction import Failure, Predictor, find_runs, predict
from spineloss.study.settings import check


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prediction")
    data = folder / "volumes"
    for case in range(6):
        image, label_map = ellipsoids(case)
        for kind, array in (("images", image), ("masks", label_map)):
            (data / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), data / kind / f"{case}.mha")
    settings = {
        "data": data,
        "methods": ["dice"],
        "grid": [16, 16, 32],
        "width": 4,
        "folds": 2,
        "epochs": 25,
        "batch": 2,
        "learning_rate": 0.01,
        "augment": {"affine": 0, "noise": 0, "mixup": 0},
    }
    list(run_study(check(settings, "test"), folder / "study", progress=lambda line: None))
    return folder / "study"


def new_volume(path, orientation="LPS"):
    image, label_map = ellipsoids(99)
    volume, truth = (sitk.DICOMOrient(sitk.GetImageFromArray(array), orientation) for array in (image, label_map))
    for turned in (volume, truth):
        turned.SetOrigin((3.0, -7.0, 11.0))
    sitk.WriteImage(volume, path)
    return volume, sitk.GetArrayFromImage(truth) > 0


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "PIR", "SLA"])
def test_masks_lie_on_the_input_in_its_own_geometry(study, tmp_path, orientation):
    path = tmp_path / "new.nii.gz"
    new_volume(path, orientation)
    volume = sitk.ReadImage(path)
    _, truth = new_volume(tmp_path / "again.nii.gz", orientation)
    done = list(predict(Predictor(find_runs(study)), [path], tmp_path / "out"))
    assert [prediction.mask.name for prediction in done] == ["new.nii.gz"]
    mask = sitk.ReadImage(done[0].mask)
    for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(mask, part)(), getattr(volume, part)())
    predicted = sitk.GetArrayFromImage(mask) > 0
    assert 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()) > 0.8


def test_a_single_run_and_a_file_name(study, tmp_path):
    new_volume(tmp_path / "new.mha")
    predictor = Predictor(find_runs(Run.of(study, "dice", 0).folder))
    assert len(predictor.networks) == 1
    (done,) = predict(predictor, [tmp_path / "new.mha"], tmp_path / "mask.nrrd")
    assert done.mask == tmp_path / "mask.nrrd" and done.mask.exists()


def test_inputs_are_never_overwritten(study, tmp_path):
    new_volume(tmp_path / "new.mha")
    before = (tmp_path / "new.mha").read_bytes()
    with pytest.raises(UserError, match="overwrite"):
        list(predict(Predictor(find_runs(study)), [tmp_path / "new.mha"], tmp_path))
    assert (tmp_path / "new.mha").read_bytes() == before


def test_one_bad_file_does_not_stop_a_folder(study, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        new_volume(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"")
    (tmp_path / "in" / "c.nii.gz").rename(tmp_path / "in" / "C.NII.GZ")
    done = list(predict(Predictor(find_runs(study)), [tmp_path / "in"], tmp_path / "out"))
    (failure,) = [one for one in done if isinstance(one, Failure)]
    assert failure.source.name == "b.nii.gz" and "empty" in failure.reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["C.nii.gz", "a.nii.gz"]
    with pytest.raises(UserError, match="empty"):
        list(predict(Predictor(find_runs(study)), [tmp_path / "in" / "b.nii.gz"], tmp_path / "out"))


def test_two_inputs_for_one_mask_are_refused_by_both_names(study, tmp_path):
    new_volume(tmp_path / "a.mha")
    new_volume(tmp_path / "a.mhd")
    with pytest.raises(UserError, match="a.mha and .*a.mhd would both"):
        list(predict(Predictor(find_runs(study)), [tmp_path], tmp_path / "out"))


def test_images_in_memory_pass_the_checks_of_files(study, tmp_path):
    predictor = Predictor(find_runs(study))
    image, truth = new_volume(tmp_path / "v.mha")
    array = sitk.GetArrayFromImage(image)
    mask = predictor.mask(sitk.JoinSeries([image]))
    assert mask.GetSize() == image.GetSize() and mask.GetDirection() == image.GetDirection()
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(predictor.mask(tmp_path / "v.mha")))
    array[0] = np.nan
    bad = {
        "NaN": sitk.GetImageFromArray(array),
        "2 channel.s., and the networks take 1 .image.": sitk.Compose([image, image]),
        "2D": image[:, :, 3],
        "2 channel": sitk.JoinSeries([image, image]),
    }
    for reason, one in bad.items():
        with pytest.raises(UserError, match=reason):
            predictor.mask(one)


def test_channels_that_differ_by_rounding_are_turned_alike_and_stay_as_they_are(study):
    predictor, seen = Predictor(find_runs(study)), []
    predictor.channels = ["T1", "T2"]
    channels = [sitk.GetImageFromArray(ellipsoids(99)[0]) for _ in predictor.channels]
    for channel, degrees in zip(channels, (44.99, 45.01), strict=True):
        x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        channel.SetDirection((x, -y, 0, y, x, 0, 0, 0, 1))
    before = [channel.GetDirection() for channel in channels]

    def probabilities(turned):
        seen.extend(sitk.GetArrayFromImage(channel) for channel in turned)
        return torch.zeros(1, *seen[0].shape)

    predictor.probabilities = probabilities
    assert predictor.mask(channels).GetDirection() == before[0]
    assert np.array_equal(*seen) and [channel.GetDirection() for channel in channels] == before


def test_labels_of_any_size_are_written(study, tmp_path):
    predictor = Predictor(find_runs(study))
    for label, kind in ((255, np.uint8), (1024, np.uint16), (70000, np.uint32)):
        predictor.labelling = Labelling("per-label", (Structure(str(label), (label,), label),))
        new_volume(tmp_path / "v.nii.gz")
        (done,) = predict(predictor, [tmp_path / "v.nii.gz"], tmp_path / "out")
        written = sitk.GetArrayFromImage(sitk.ReadImage(done.mask))
        assert set(np.unique(written)) == {0, label} and written.dtype == kind


@pytest.mark.parametrize(
    ("method", "told"), [("focal", "no finished run of 'focal'; it has dice"), (None, "neither a study nor a run")]
)
def test_what_is_not_there_is_told(study, tmp_path, method, told):
    with pytest.raises(UserError, match=told):
        find_runs(study if method else tmp_path, method)


@pytest.mark.parametrize("look", [find_runs, study_file])
def test_a_name_that_is_too_long_is_no_study(tmp_path, look):
    with pytest.raises(UserError, match="neither a study nor a run|holds no study"):
        look(tmp_path / ("a" * 300))


def test_a_method_dropped_after_an_easy_fold_is_not_the_best(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for fold, dice in enumerate((0.92, 0.80, 0.81)):
        make_run(tmp_path, "winner", fold, {1: {str(fold): dice}})
    make_run(tmp_path, "dropped", 0, {1: {"0": 0.90}}, order=1)
    assert find_runs(tmp_path) == [Run.of(tmp_path, "winner", fold) for fold in range(3)]
    assert find_runs(tmp_path, "dropped") == [Run.of(tmp_path, "dropped", 0)]
