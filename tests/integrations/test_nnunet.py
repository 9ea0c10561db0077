import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed; `make test-integrations` installs it")

import SimpleITK as sitk
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from spineloss.errors import UserError
from spineloss.integrations import nnunet

ROOT = Path(__file__).parents[2]
SHORT = Path(__file__).parent / "short_trainer"
LABELS = {"background": 0, "anterior": 1, "posterior": 2}
REGIONS = {"background": 0, "whole": [1, 2], "posterior": 2}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """nnU-Net's folders, and where it finds our trainers."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(SHORT), str(nnunet.FOLDER)]))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")  # worker processes take longer to start than these volumes take


def plans(batch_dice=False):
    """The least that a trainer reads before it builds its loss."""
    return {
        "continue_training": False,
        "dataset_name": "Dataset004_Hippocampus",
        "plans_name": "nnUNetPlans",
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {
                "data_identifier": "3d_fullres",
                "batch_size": 2,
                "batch_dice": batch_dice,
                "spacing": [3.0, 1.0, 1.0],
                "patch_size": [8, 16, 16],
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {"strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]},
                    "_kw_requires_import": [],
                },
            }
        },
    }


def loss_of(trainer, labels, batch_dice=False):
    description = {"labels": labels, "channel_names": {"0": "MRI"}, "regions_class_order": [1, 2]}
    made = trainer(plans(batch_dice), "3d_fullres", 0, description, torch.device("cpu"))
    return made._build_loss()


def outputs_and_targets(labels, seed=0):
    """What nnU-Net's loss is called with: two resolutions, the coarsest has no weight."""
    random = torch.Generator().manual_seed(seed)
    regions = any(isinstance(label, list) for label in labels.values())
    known = [name for name in labels if name != "ignore"]
    channels = len(known) - 1 if regions else len(known)
    outputs, targets = [], []
    for grid in ((8, 16, 16), (4, 8, 8)):
        outputs.append((3 * torch.randn(2, channels, *grid, generator=random)).requires_grad_())
        if regions:
            extra = "ignore" in labels
            targets.append(torch.rand(2, channels + extra, *grid, generator=random) < 0.3)
        else:
            target = torch.randint(len(labels), (2, 1, *grid), generator=random)
            # Ignored voxels are many in one sample, few in the other.
            target[1][(target[1] == 3) & (torch.rand(1, *grid, generator=random) < 0.7)] = 0
            targets.append(target.short())
    return outputs, targets


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("labels", [LABELS, LABELS | {"ignore": 3}, REGIONS, REGIONS | {"ignore": 3}])
def test_the_preset_is_nnunets_own_loss(labels, batch_dice):
    ours = loss_of(nnunet.trainer("nnUNetTrainer~nnunet"), labels, batch_dice)
    theirs = loss_of(nnUNetTrainer, labels, batch_dice)
    outputs, targets = outputs_and_targets(labels)
    values, slopes = [], []
    for loss in (ours, theirs):
        value = loss(outputs, [target.clone() for target in targets])
        values.append(value.item())
        slopes.append(torch.autograd.grad(value, outputs[0])[0])
    assert values[0] == pytest.approx(values[1], abs=2e-6)
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-8, rtol=1e-4)


def test_the_preset_is_nnunets_own_loss_where_nothing_is_annotated():
    labels = LABELS | {"ignore": 3}
    outputs, targets = outputs_and_targets(labels)
    targets = [torch.full_like(target, 3) for target in targets]
    for trainer in (nnunet.trainer("nnUNetTrainer~nnunet"), nnUNetTrainer):
        assert loss_of(trainer, labels)(outputs, targets).item() == pytest.approx(-1)


def run(code, *arguments, **variables):
    """Python code as a process of its own, with other environment variables."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def prepared(hippocampus, tmp_path_factory):
    """20 hippocampus cases as nnU-Net preprocesses them, with a network a hundredth of the planned size."""
    folder = tmp_path_factory.mktemp("nnunet")
    raw = folder / "raw" / "Dataset004_Hippocampus"
    description = json.loads((hippocampus / "dataset.json").read_text())
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (hippocampus / "labelsTr").iterdir())[:20]
    for case in cases:
        for name in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"):
            (raw / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(hippocampus / name, raw / name)
    (raw / "dataset.json").write_text(json.dumps(description | {"numTraining": len(cases)}))
    variables = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    planning = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import *; plan_and_preprocess_entry()"
    )
    run(planning, "-d", 4, "-c", "3d_fullres", "-np", 1, "-npfp", 1, nnUNet_n_proc_DA="1", **variables)
    path = folder / "preprocessed" / "Dataset004_Hippocampus" / "nnUNetPlans.json"
    planned = json.loads(path.read_text())
    planned["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 8, 8]
    path.write_text(json.dumps(planned))
    return folder


@pytest.fixture
def ready(prepared, monkeypatch, tmp_path):
    """The prepared data, with a folder of results of the test's own."""
    monkeypatch.setenv("nnUNet_raw", str(prepared / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(prepared / "preprocessed"))
    return prepared


def trained(name):
    """The trainer of a name after its training; no validation, which takes nnU-Net's processes long."""
    found = get_trainer_from_args("4", "3d_fullres", 0, name, device=torch.device("cpu"))
    found.run_training()
    return found


def test_every_step_of_the_preset_has_nnunets_own_loss(ready):
    theirs, ours = trained("nnUNetTrainerShort"), trained("nnUNetTrainerShort~nnunet")
    assert len(ours.steps) == 8
    assert ours.steps == pytest.approx(theirs.steps, abs=1e-5)


def test_a_loss_and_a_weighting_of_our_own_train(ready):
    plain, weighted = (
        trained("nnUNetTrainerShort~tversky+focal"),
        trained("nnUNetTrainerShort~dice+boundary@rebalance(start=0,end=1)"),
    )
    assert plain.steps[-1] < plain.steps[0]
    assert weighted.loss.loss.weights == {"dice": 0.0, "boundary": 1.0}


def test_training_goes_on_with_the_state_of_the_weighting(ready, tmp_path):
    name = "nnUNetTrainerShort~dice+cross_entropy@cov"
    first = trained(name)
    path = Path(first.output_folder) / "checkpoint_final.pth"
    again = get_trainer_from_args("4", "3d_fullres", 0, name, continue_training=True, device=torch.device("cpu"))
    again.load_checkpoint(str(path))
    assert again.loss.loss.state == first.loss.loss.state
    assert again.loss.loss.state["step"] == 8


def test_prediction_needs_no_spineloss(ready, tmp_path):
    ours = {"PYTHONPATH": str(Path(nnunet.__file__).parents[2]), "nnUNet_extTrainer": str(SHORT)}
    arguments = ["nnunet", "train", 4, "3d_fullres", 0, "--loss", "0.7*tversky + focal", "-device", "cpu"]
    print(run("from spineloss.cli import main; main()", *arguments, "--trainer", "nnUNetTrainerShort", **ours))
    name = "nnUNetTrainerShort~0.7xtversky+focal"
    images = tmp_path / "images"
    images.mkdir()
    image = next((ready / "raw" / "Dataset004_Hippocampus" / "imagesTr").iterdir())
    shutil.copyfile(image, images / image.name)
    code = """
import importlib.util
assert importlib.util.find_spec("spineloss") is None
from nnunetv2.inference.predict_from_raw_data import predict_entry_point
predict_entry_point()
"""
    arguments = ["-i", images, "-o", tmp_path / "masks", "-d", 4, "-c", "3d_fullres", "-f", 0, "-tr", name]
    arguments += ["-device", "cpu", "-npp", 1, "-nps", 1, "--disable_tta"]
    run(code, *arguments, nnUNet_extTrainer=str(SHORT), PYTHONPATH="")
    assert (tmp_path / "masks" / image.name.replace("_0000", "")).is_file()


def test_the_loss_can_be_compiled():
    outputs, targets = outputs_and_targets(LABELS)
    loss = loss_of(nnunet.trainer("nnUNetTrainer~dice+cross_entropy"), LABELS)
    assert torch.compile(loss, backend="eager")(outputs, targets).item() == pytest.approx(
        loss(outputs, targets).item()
    )


@pytest.mark.parametrize(
    "name, complaint",
    [("nnUNetTrainer~dise", "nearest"), ("nnUNetTrainer~dice@cov", "sum"), ("~dice", "not understood")],
)
def test_a_wrong_name_is_refused_in_one_sentence(name, complaint):
    with pytest.raises(UserError, match=complaint):
        nnunet.trainer(name)


def test_nnunet_finds_the_trainer_and_its_spelling_is_the_folder():
    found = recursive_find_trainer_class_by_name("nnUNetTrainer~0.8*dice + 0.2*boundary@rebalance")
    assert found.__name__ == "nnUNetTrainer~0.8xdice+0.2xboundary@rebalance"
    assert issubclass(found, nnUNetTrainer)


def test_scribbles_of_the_heart_through_nnunets_label_manager(acdc):
    labels = json.loads((acdc / "dataset_scribbles.json").read_text())["labels"]
    scribble = sitk.GetArrayFromImage(sitk.ReadImage(next((acdc / "scribblesTr").iterdir())))
    target = torch.from_numpy(scribble.astype("int16"))[None, None]
    output = torch.randn(1, 4, *target.shape[2:], generator=torch.Generator().manual_seed(0)).requires_grad_()
    pairs = []
    for trainer in (nnunet.trainer("nnUNetTrainer~nnunet"), nnUNetTrainer):
        value = loss_of(trainer, labels)([output, output[..., ::2, ::2]], [target, target[..., ::2, ::2]])
        pairs.append((value.item(), torch.autograd.grad(value, output)[0]))
    assert pairs[0][0] == pytest.approx(pairs[1][0], abs=1e-6)
    torch.testing.assert_close(pairs[0][1], pairs[1][1], atol=1e-8, rtol=1e-4)
    assert (pairs[0][1] * (target == 4)).abs().max() == 0
    assert 0.9 < (target == 4).float().mean() < 1
