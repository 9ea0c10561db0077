"""What is proposed for data of known shapes, by the rules that the documentation gives."""

import json
import math
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from spineloss.cli.application import app
from spineloss.data.cases import Labels
from spineloss.data.check import check
from spineloss.data.fingerprint import Fingerprint, Share, fingerprint
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError
from spineloss.study.proposal import MOST_VOXELS, look, patch_for, propose


def found(shapes, spacings, patients=None):
    cases = len(shapes)
    intensities, labels = ((0, 255),) * cases, (Share(1, "organ", cases, 0.02),)
    sizes = {"shapes": tuple(shapes), "spacings": tuple(spacings), "intensities": intensities}
    described = {"layout": "test", "channels": ("image",), "orientation": "LPS", "regions": (), "ignored": None}
    return Fingerprint(**sizes, **described, labels=labels, patients=patients or cases)


def settings(*given):
    return {each.key: each.value for each in propose(found(*given))}


def test_regions_are_trained_as_such():
    given = replace(found([(32, 64, 64)] * 3, [(1, 1, 1)] * 3), regions=("whole", "core"))
    proposed = {each.key: each.value for each in propose(given)}
    assert (proposed["labels"], proposed["target"]) == ("all", "regions")


def test_volumes_that_fit_a_grid_get_the_grid():
    proposed = settings([(30, 60, 60), (34, 66, 62), (32, 64, 64)], [(1, 1, 1)] * 3)
    assert proposed["grid"] == [32, 64, 64] and "spacing" not in proposed and "patch" not in proposed


def test_volumes_of_one_spacing_keep_their_voxels():
    proposed = settings([(10, 160, 160)] * 17, [(10, 1.5, 1.5)] * 17)
    assert (proposed["spacing"], proposed["patch"]) == ("native", [16, 128, 128]) and "grid" not in proposed


@pytest.mark.parametrize(("shape", "spacing"), [((300, 512, 512), (2, 0.8, 0.8)), ((40, 600, 600), (4, 0.5, 0.5))])
def test_huge_volumes_get_a_coarser_spacing_whose_patch_covers_a_quarter(shape, spacing):
    proposed = settings([shape] * 3, [spacing] * 3)
    coarse = [n * own / new for n, own, new in zip(shape, spacing, proposed["spacing"], strict=True)]
    covered = math.prod(min(1, size / n) for size, n in zip(proposed["patch"], coarse, strict=True))
    assert 0.24 < covered < 0.35
    # As in nnU-Net: what is finer than half of the coarsest is made coarser first.
    assert (proposed["spacing"][0] == spacing[0]) == (spacing[0] > 4 * spacing[1])


def test_spacings_that_differ_give_their_median():
    proposed = settings([(20, 150, 150), (10, 300, 300), (20, 150, 150)], [(4, 1, 1), (8, 0.5, 0.5), (4, 1, 1)])
    assert proposed["spacing"] == "median"


def test_volumes_of_many_sizes_keep_their_voxels_though_each_is_small():
    proposed = settings([(35, 50, 35), (24, 40, 30), (45, 60, 46)], [(1, 1, 1)] * 3)
    assert (proposed["spacing"], proposed["patch"]) == ("native", [40, 56, 40])


@pytest.mark.parametrize("shape", [(20, 300, 300), (300, 20, 300), (8, 8, 8), (500, 500, 500), (1000, 16, 16)])
def test_a_patch_fits_the_network_and_the_machine(shape):
    patch = patch_for(shape)
    assert (
        all(size % 8 == 0 and size >= 16 for size in patch)
        and max(patch) >= 32
        and math.prod(patch) <= MOST_VOXELS
    )


def test_epochs_make_six_hundred_steps():
    # 20 of 30 cases a fold, two a step: ten steps an epoch.
    assert settings([(32, 64, 64)] * 30, [(1, 1, 1)] * 30)["epochs"] == 60


def test_folds_never_outnumber_patients():
    proposed = propose(found([(32, 64, 64)] * 4, [(1, 1, 1)] * 4, patients=2))
    assert {each.key: each.value for each in proposed}["folds"] == 2 and all(each.reason for each in proposed)


def test_several_labels_are_told_apart(small_data):
    proposed = {each.key: each.value for each in propose(look(small_data))}
    assert (proposed["labels"], proposed["target"]) == ([1, 2], "exclusive")
    assert settings([(32, 64, 64)] * 4, [(1, 1, 1)] * 4)["target"] == "merged"


def test_what_nobody_annotated_is_no_label_to_segment(small_data):
    layout = replace(find_cases(small_data), labels=Labels({1: "upper"}, ignore=2))
    report = check(layout)
    seen = fingerprint(layout, report, {row.case: row.case for row in report.rows})
    proposed = {each.key: each for each in propose(seen)}
    assert (seen.labels[0].name, proposed["labels"].value, proposed["target"].value) == ("upper", [1], "merged")
    assert "label 2 is what nobody annotated" in proposed["labels"].reason


def test_the_fingerprint_of_small_data_by_hand(small_data):
    seen = look(small_data)
    assert (seen.cases, seen.patients, seen.orientation) == (6, 6, "LPS")
    assert set(seen.shapes) == {(12, 40, 36)} and set(seen.spacings) == {(3.0, 1.0, 1.0)}
    assert [(share.label, share.cases) for share in seen.labels] == [(1, 6), (2, 6)]
    ellipsoid = 4 / 3 * math.pi * 4 * 6 * 8 / (12 * 40 * 36)
    assert seen.labels[0].share == pytest.approx(ellipsoid, rel=0.05)


def test_the_command_prints_fingerprint_and_proposal(small_data):
    done = CliRunner().invoke(app, ["data", "plan", str(small_data)])
    assert done.exit_code == 0, done.output
    for part in ("6 cases of 6 patients", "spacing z, mm", "all that occur", "native"):
        assert part in done.output


def test_names_are_printed_as_they_are_written(small_data):
    for old, new in (("images", "imagesTr"), ("masks", "labelsTr")):
        (small_data / old).rename(small_data / new)
    labels = {"background": 0, "disc [/l5]": [1, 2], "kidney [left] :100:": 2}
    described = {"labels": labels, "channel_names": {"0": "T1 [red]"}, "file_ending": ".mha"}
    (small_data / "dataset.json").write_text(json.dumps(described | {"regions_class_order": [1, 2]}))
    for command in ("plan", "check"):
        done = CliRunner().invoke(app, ["data", command, str(small_data)])
        assert done.exit_code == 0, done.output
        for name in list(labels)[1:]:
            assert name in done.output


def test_too_few_cases_are_refused(small_data):
    for path in [*small_data.rglob("case-[1-5].mha")]:
        path.unlink()
    with pytest.raises(UserError, match="1 readable case"):
        look(small_data)


def test_cases_of_one_patient_are_refused(small_data):
    for path in [*small_data.rglob("case-[0-5].mha")]:
        number = int(path.stem[-1])
        path.rename(path.with_name(f"7_t{number + 1}.mha")) if number < 2 else path.unlink()
    with pytest.raises(UserError, match="one patient: a study needs two patients or more"):
        look(small_data)
