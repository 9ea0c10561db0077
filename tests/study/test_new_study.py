"""A study file written for the data that are there, and the schema of study files."""

import json

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from spineloss.errors import UserError
from spineloss.study import settings
from spineloss.study.new_study import SCHEMA_NAME, schema, write_new_study
from spineloss.study.proposal import Proposed


def test_the_file_is_a_study_of_the_data(small_data, tmp_path):
    path = tmp_path / "new" / "study.yaml"
    write_new_study(small_data, path)
    study = settings.load(path)
    assert study.data == small_data.resolve() and study.folds == 3
    assert "dice + cross_entropy" in [method.loss for method in study.methods]
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_NAME}\n")
    assert json.loads((path.parent / SCHEMA_NAME).read_text(encoding="utf-8")) == schema()


def test_every_key_has_its_comment(small_data, tmp_path):
    path = tmp_path / "study.yaml"
    write_new_study(small_data, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    for key, field in settings.Study.model_fields.items():
        place = next(number for number, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{key}:"))
        assert lines[place - 1].startswith(f"# {field.description}")
    # Without the signs of comment, what is written is the default.
    defaults = yaml.safe_load("\n".join(line[2:] for line in lines if line.startswith("# seed:")))
    assert defaults == {"seed": settings.Study.model_fields["seed"].default}


def test_as_many_labels_as_there_are_are_written(tmp_path):
    labels = np.zeros((6, 10, 8), np.int32)
    labels.ravel()[::2] = np.arange(10000, 10240)
    for case in range(2):
        for kind, array in (("images", labels + case), ("masks", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / kind / f"{case}.mha")
    write_new_study(tmp_path, tmp_path / "study.yaml")
    assert settings.load(tmp_path / "study.yaml").labels == tuple(range(10000, 10240))


def test_a_name_from_the_data_writes_no_key(small_data, tmp_path, monkeypatch):
    reason = "dataset.json has tumour\npreset: demo\n#"
    monkeypatch.setattr("spineloss.study.new_study.propose", lambda found: [Proposed("target", "merged", reason)])
    write_new_study(small_data, tmp_path / "study.yaml")
    assert "preset" not in yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))


def test_an_existing_file_is_kept(small_data, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_new_study(small_data, path)
    assert path.read_text() == "mine"


def test_the_schema_takes_the_committed_studies_and_refuses_a_typo():
    check = jsonschema.Draft202012Validator(schema())
    check.validate({"data": "x", "methods": ["dice", {"loss": "tversky", "name": "t"}], "preset": "lumbar"})
    check.validate({"data": "x", "methods": ["dice"], "augment": "nnunet"})
    check.validate({"data": "x", "methods": ["dice"], "augment": {"mirror": 0.5}})
    assert not check.is_valid({"data": "x", "methods": ["dice"], "augment": "unet"})
    assert not check.is_valid({"data": "x", "methods": ["dice"], "epoch": 3})
    assert not check.is_valid({"data": "x", "methods": ["dice"], "width": 0})
