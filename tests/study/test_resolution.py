"""Studies at a spacing: trained on patches, predicted with windows, scored on each case's own voxels."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ellipsoids import ellipsoids, write_small_data
from spineloss.data.augmentation import Augment
from spineloss.data.batches import seen, training_batches
from spineloss.data.cache import Cache
from spineloss.data.dataset import prepare
from spineloss.data.labelling import labelling_of
from spineloss.errors import UserError
from spineloss.kernels.distance_transform import signed_distance_maps
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import read_folds
from spineloss.study import settings
from spineloss.study.engine import run_study
from spineloss.study.landscape import write_landscape
from spineloss.study.prediction import Predictor, find_runs, predict
from spineloss.study.preparation import prepare_again
from spineloss.study.settings import check
from spineloss.text import parse

STILL = {"affine": 0, "noise": 0, "mixup": 0}
STUDY = {
    "methods": ["dice"],
    "spacing": "native",
    "patch": [16, 24, 32],
    "width": 4,
    "folds": 2,
    "epochs": 15,
    "batch": 2,
    "validate_every": 15,
    "learning_rate": 0.01,
    "augment": STILL,
}


def prepared(source, **changes):
    chosen = {"grid": None, "spacing": "native", "labels": "all", "target": "exclusive", "leave_out": ()} | changes
    return prepare(source, cache=Cache(), progress=lambda line: None, **chosen)


def batches(data, epoch, **changes):
    chosen = {"size": 3, "augment": Augment(0, 0, 0, 0.2), "needs": frozenset(), "patch": (16, 24, 24)} | changes
    samples = list(data.samples.values())
    made = training_batches(samples, labelling=data.labelling, key=(21, 0, epoch), **chosen)
    return [make() for make in made]


@pytest.fixture
def mixed_data(tmp_path):
    """Six cases, the first of which has voxels twice as fine along x."""
    source = write_small_data(tmp_path / "volumes")
    for kind in ("images", "masks"):
        path = source / kind / "case-0.mha"
        volume = sitk.ReadImage(path)
        size, spacing = list(volume.GetSize()), list(volume.GetSpacing())
        size[0], spacing[0] = 2 * size[0], spacing[0] / 2
        sitk.WriteImage(sitk.Resample(volume, size, sitk.Transform(), sitk.sitkNearestNeighbor,
                                      volume.GetOrigin(), spacing, volume.GetDirection()), path)  # fmt: skip
    return source


def test_native_cases_keep_their_voxels(mixed_data):
    data = prepared(mixed_data)
    fine, other = data.samples["case-0"], data.samples["case-1"]
    assert (fine.image.shape, fine.spacing) == ((1, 12, 40, 72), (3.0, 1.0, 0.5))
    assert (other.image.shape, other.spacing) == ((1, 12, 40, 36), (3.0, 1.0, 1.0))
    assert torch.equal(fine.target, fine.own_target())


def test_median_and_given_spacings_keep_the_field_of_view(mixed_data):
    for spacing in ("median", (3.0, 1.0, 1.0)):
        data = prepared(mixed_data, spacing=spacing)
        assert data.resolution.spacing == (3.0, 1.0, 1.0)
        fine = data.samples["case-0"]
        assert (fine.image.shape, fine.spacing) == ((1, 12, 40, 36), (3.0, 1.0, 1.0))
        assert fine.own_target().shape == (1, 12, 40, 72) and fine.own_spacing() == (3.0, 1.0, 0.5)
        # The same structures in half the voxels.
        assert fine.target.bool().sum() == pytest.approx(fine.own_target().bool().sum() / 2, abs=2)


def test_a_spacing_in_metres_is_refused_before_memory_is_taken(small_data):
    with pytest.raises(UserError, match=r"A grid of \[9000, 40000, 36000\] voxels is larger .* in mm, larger"):
        prepared(small_data, spacing=(0.004, 0.001, 0.001))


def test_patches_depend_on_the_key_alone_and_on_no_method(small_data):
    data = prepared(small_data)
    first, again, later = (batches(data, epoch) for epoch in (1, 1, 2))
    mapped = batches(data, 1, needs=frozenset({"mm"}))
    for one, two, three in zip(first, again, mapped, strict=True):
        assert one.image.shape == (3, 1, 16, 24, 24)
        assert torch.equal(one.image, two.image) and torch.equal(one.image, three.image)
        assert torch.equal(one.targets[0][1].truth, three.targets[0][1].truth)
    assert not torch.equal(first[0].image, later[0].image)


def test_maps_are_of_the_patch_in_its_spacing(small_data):
    target = batches(prepared(small_data, target="merged"), 1, needs=frozenset({"mm"}))[0].targets[0][1]
    assert torch.equal(target.spacing, torch.tensor([[3.0, 1.0, 1.0]] * 3))
    assert torch.equal(target.maps["mm"], signed_distance_maps(target.truth, target.spacing))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spacing")
    chosen = STUDY | {"data": write_small_data(folder / "volumes")}
    list(run_study(check(chosen, "test"), folder / "study", lambda line: None, Cache(folder / "cache")))
    return folder / "study"


def test_it_learns_and_is_scored_on_the_cases_own_voxels(study):
    for fold in (0, 1):
        run = Run.of(study, "dice", fold)
        assert run.record()["status"] == "done" and run.record()["spacing"] is None
        (scores,) = run.scores().values()
        assert np.mean([each["dice"] for each in scores.values()]) > 0.7


def test_prediction_of_other_sizes_lies_on_the_input(study, tmp_path):
    image, label_map = ellipsoids(99)
    # More around it than the network saw, in z and x: noise as in the background.
    noise = np.random.default_rng(1).normal(100, 20, (20, 40, 70)).astype(np.float32)
    noise[4:16, :, 17:53] = image
    volume = sitk.GetImageFromArray(noise)
    volume.SetSpacing((1.0, 1.0, 3.0))
    sitk.WriteImage(volume, tmp_path / "new.nii.gz")
    (done,) = predict(Predictor(find_runs(study)), [tmp_path / "new.nii.gz"], tmp_path / "out")
    mask = sitk.ReadImage(done.mask)
    assert mask.GetSize() == volume.GetSize() and mask.GetSpacing() == volume.GetSpacing()
    found = sitk.GetArrayFromImage(mask)[4:16, :, 17:53]
    assert 2 * (found * (label_map > 0)).sum() > 0.7 * (found.sum() + (label_map > 0).sum())


def test_the_landscape_is_of_patches(study):
    run = Run.of(study, "dice", 0)
    list(write_landscape(run.folder, [], points=3, span=0.5, progress=lambda line: None))
    data = prepare_again(settings.load(study / "study.yaml"), study, lambda line: None)
    (network,) = Predictor([run]).networks
    values = []
    for case in read_folds(study)["folds"][0]:
        image, target = seen(data.samples[case], (16, 24, 32), data.labelling, (21, 0, 1, case))
        with torch.no_grad():
            values.append(parse("dice")(network(image[None]), target[None]).item())
    assert run.landscape().losses["dice"][1, 1] == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"grid": [16, 32, 32]}, "a grid or a spacing"),
        ({"patch": None}, "belong together"),
        ({"spacing": None}, "belong together"),
        ({"patch": [16, 24, 24]}, "make an axis 32"),
        ({"patch": [16, 24, 20]}, "multiple of 8"),
        ({"spacing": "finest"}, "spacing"),
        ({"spacing": [1, 0, 1]}, "spacing"),
        ({"spacing": None, "patch": None, "grid": None}, "needs `spacing` and `patch`"),
    ],
)
def test_what_does_not_go_together_is_told(change, told):
    with pytest.raises(UserError, match=told):
        check(STUDY | {"data": "x"} | change, "test")


def test_a_spacing_takes_the_place_of_a_presets_grid_and_is_read_back(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("preset: lumbar\ndata: x\nmethods: [dice]\nspacing: median\npatch: [16, 64, 64]\n")
    study = settings.load(path)
    assert (study.grid, study.spacing, study.input) == (None, "median", (16, 64, 64))
    assert check(study.plain(), "test").plain() == study.plain()


def test_a_target_has_one_meaning(small_data):
    assert prepared(small_data).labelling == labelling_of("exclusive", [1, 2])
