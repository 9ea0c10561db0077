"""The report of a small study: what it says, and that nothing in it is taken for markup."""

import csv
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from spineloss.errors import UserError
from spineloss.files import read_json, write_csv
from spineloss.report.content import read_content
from spineloss.report.gallery import Gallery, Scan
from spineloss.report.page import write_report
from spineloss.report.scene import centre, scene_of
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import read_folds, write_folds
from spineloss.study.prediction import Predictor


def keep(study, wanted):
    """Take out the runs, but those of methods and folds wanted."""
    for path in study.glob("runs/*/*/run.json"):
        run = read_json(path)
        if run["fold"] not in wanted.get(run["method"], ()):
            shutil.rmtree(path.parent)


def rescore(study, change):
    """Give every row of the runs' scores the changes that a function makes of it."""
    for path in study.glob("runs/*/*/validation.csv"):
        run = Run(path.parent)
        record, network = run.record(), run.network()
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        write_csv(path, [row | change(row) for row in rows], list(rows[0]))
        run.finish(record, network)


def test_hostile_names_are_text(reported):
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "脊椎" in page


def test_the_page_needs_nothing_else(reported):
    page = (reported / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]+"', markup)


def test_every_section_is_there(reported):
    page = (reported / "report.html").read_text(encoding="utf-8")
    for section in (
        "answer",
        "table",
        "cases",
        "balance",
        "training",
        "weights",
        "landscape",
        "series",
        "extremes",
        "space",
        "data",
        "made",
    ):
        assert f'<section id="{section}">' in page
    ids = re.findall(r'\bid="([^"]+)"', re.sub(r"<script.*?</script>", "", page, flags=re.S))
    assert len(ids) == len(set(ids))


def test_figures_alone(reported):
    names = {path.name for path in (reported / "figures").iterdir()}
    assert {
        "distribution-dice.svg",
        "precision-recall.png",
        "curve-dice.svg",
        "ranks.png",
        "foreground.svg",
        "labels.svg",
        "landscape-0.png",
        "time-series.png",
        "extremes.svg",
        "augmentation.png",
    } <= names


def test_the_table_is_the_studys_and_the_seeds_row_stands_beside(reported, hostile):
    content = read_content(reported / "study")
    assert [row.method for row in content.table] == ["dice", "adaptive", *hostile]
    dice = content.table[0]
    assert dice.published["dice"] == "88.63 ± 1.08"  # Table 8.1, lumbar
    assert dice.published["hausdorff"] == "11.44 ± 1.74"
    twins = [row.scores["dice"].text for row in content.table[2:]]
    assert len(set(twins)) == 1


def test_without_the_volumes_the_page_says_so(reported, study, tmp_path):
    keep(study, {"dice": (0,)})
    settings = (study / "study.yaml").read_text(encoding="utf-8")
    (study / "study.yaml").write_text(
        settings.replace(str(reported / "lumbar"), str(tmp_path / "gone")), encoding="utf-8"
    )
    write_report(read_content(study), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gone does not exist" in page and 'id="series"' not in page and 'id="table"' in page


def test_dice_decides_unless_told_otherwise(study):
    content = read_content(study)
    means = {
        metric: {name: np.nanmean(list(values.values())) for name, values in found.items()}
        for metric, found in content.values.items()
    }
    assert "by Dice, " in " ".join(content.answer) and "by HD95, " not in " ".join(content.answer)
    reference = content.results["accuracy"].comparison.reference
    assert means["dice"][reference] == max(means["dice"].values())
    content = read_content(study, ["hd95", "dice"], margins=[0.5, 1])
    assert "by HD95, " in " ".join(content.answer)
    reference = content.results["dice"].comparison.reference
    assert means["hd95"][reference] == min(means["hd95"].values())
    margins = [content.results[metric].comparison.margin for metric in ("hd95", "dice", "recall")]
    assert margins == [0.5, 0.01, None]
    assert read_content(study, reference="adaptive").results["dice"].comparison.reference == "adaptive"


def test_what_decides_is_checked(study):
    with pytest.raises(UserError, match="no metric 'dise'"):
        read_content(study, ["dise"])
    with pytest.raises(UserError, match="2 margins do not fit 1 metrics"):
        read_content(study, margins=[1, 2])
    keep(study, {"dice": (0, 1)})
    rescore(study, lambda row: {"hd95": ""})
    with pytest.raises(UserError, match="No run has a value of HD95"):
        read_content(study, ["dice", "hd95"])


def test_a_study_partly_finished(study, tmp_path):
    keep(study, {"dice": (0, 1), "adaptive": (0,)})
    failed = Run.of(study, "adaptive", 1)
    failed.write_record(
        {"method": "adaptive", "order": 1, "fold": 1, "status": "failed", "reason": "<b>no</b> memory"}
    )
    write_report(read_content(study, ["dice", "assd"], margins=[1, 0.5]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ", = equivalent within ±1 percentage point of Dice and ±0.5 mm of ASSD: paired" in page
    assert "1 of 2 folds" in page and "1 failed, 4 unfinished of 8 runs" in page
    assert "adaptive, fold 1 failed: &lt;b&gt;no&lt;/b&gt; memory" in page
    assert "nan" not in re.sub(r"<(script|style).*?</\1>|base64,[^\"]*", "", page, flags=re.S).lower().replace(
        'data-value="nan"', ""
    )


def test_patients_are_those_of_all_methods(study):
    keep(study, {"dice": (0,), "adaptive": (1,)})
    content = read_content(study, reference="dice")
    assert content.patients == len(content.cases) == 6


def test_a_study_of_one_method(study, tmp_path):
    keep(study, {"dice": (0, 1)})
    settings = (study / "study.yaml").read_text(encoding="utf-8")
    settings = settings.replace("thesis-lumbar", "thesis-cervical").replace("repeats: 1", "repeats: 2")
    (study / "study.yaml").write_text(settings, encoding="utf-8")
    once, again = (Run.of(study, "dice", 0, repeat) for repeat in range(2))
    shutil.copytree(once.folder, again.folder)
    again.write_record(once.record() | {"repeat": 1})
    Run.of(study, "dice", 1, 1).write_record({"status": "failed", "reason": "no memory"})
    write_report(read_content(study), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Only dice is finished" in page and "Wilcoxon" not in page and 'id="extremes"' in page
    assert "trained at [32, 224, 224] for 150 epochs" in page
    assert "dice, fold 1, repeat 1 failed: no memory" in page and "<td>1, repeat 0</td><td>done</td>" in page
    # The picture is of one network, the number of both.
    assert "%<br>mean of 2 trainings</figcaption>" in page


def test_a_case_is_predicted_by_the_first_run_that_is_finished(study):
    """As of a test on other data, where every fold lists every case, with a first training that failed."""
    keep(study, {"dice": (1,)})
    folds = read_folds(study)
    write_folds(study, folds | {"folds": [sum(folds["folds"], [])] * 2})
    failed, finished = (Run.of(study, "dice", 1, repeat) for repeat in range(2))
    failed.folder.rename(finished.folder)
    finished.write_record(finished.record() | {"repeat": 1})
    gallery = Gallery(read_content(study), lambda line: None)
    predicted = gallery.prediction("dice", "case-0")
    scan = gallery.scan("case-0")
    expected = Predictor([finished]).probabilities(scan.channels)
    assert np.array_equal(predicted, gallery.data.labelling.decide(expected).any(0))


def test_the_3d_view_shows_the_case_asked_for(study, tmp_path):
    keep(study, {"dice": (0, 1)})
    content = read_content(study)
    with pytest.raises(UserError, match="has no case 'case-99'; it has case-0, case-1"):
        write_report(content, tmp_path / "report.html", case="case-99")
    write_report(content, tmp_path / "report.html", case="case-1")
    assert "Case case-1, as chosen." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def scan():
    """A case of 3 x 4 x 5 voxels with three of a structure."""
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), dtype=np.float32))
    image.SetOrigin((10.0, 20.0, 30.0))
    image.SetSpacing((1.0, 2.0, 3.0))
    truth = np.zeros((3, 4, 5), dtype=bool)
    truth[1, 2, 1:4] = True
    return Scan("a", image, [image], truth.astype(np.float32), truth, 1, (3.0, 2.0, 1.0))


def test_the_3d_view_opens_at_the_middle_of_the_truth(scan):
    # Index (x, y, z) = (2, 2, 1), so (12, 24, 33) mm; NIfTI counts x and y the other way.
    assert centre(scan) == [-12.0, -24.0, 33.0]


def test_without_the_structure_the_3d_view_opens_at_the_middle_of_the_image(scan):
    gallery = SimpleNamespace(scan=lambda case: empty, prediction=lambda method, case: scan.truth)
    empty = replace(scan, truth=np.zeros_like(scan.truth))
    scene = scene_of(gallery, "a", ["dice"])
    # Index (x, y, z) = (2, 1.5, 1); what is found there is as far off as can be: 9 x 8 x 5 mm.
    assert scene["centre"] == [-12.0, -23.0, 33.0]
    assert scene["far"] == pytest.approx(170**0.5)


def test_a_folder_without_a_study_is_said(tmp_path):
    with pytest.raises(UserError, match="holds no study"):
        read_content(tmp_path)
