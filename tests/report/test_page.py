"""The report of a small study: what it says, and that nothing in it is taken for markup."""

import re
import shutil

import pytest

from spineloss.errors import UserError
from spineloss.report.content import read_content
from spineloss.report.page import write_report


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
    } <= names


def test_the_table_is_the_studys_and_the_seeds_row_stands_beside(reported, hostile):
    content = read_content(reported / "study")
    assert [row.method for row in content.table] == ["dice", "adaptive", *hostile]
    dice = content.table[0]
    assert dice.published["dice"] == "88.63 ± 1.08"  # Table 8.1, lumbar
    assert dice.published["hausdorff"] == "11.44 ± 1.74"
    twins = [row.cells["dice"].text for row in content.table[2:]]
    assert len(set(twins)) == 1


def test_without_the_volumes_the_page_says_so(reported, tmp_path):
    shutil.copytree(reported / "study", tmp_path / "study")
    settings = (tmp_path / "study" / "study.yaml").read_text(encoding="utf-8")
    (tmp_path / "study" / "study.yaml").write_text(
        settings.replace(str(reported / "lumbar"), str(tmp_path / "gone")), encoding="utf-8"
    )
    write_report(tmp_path / "study", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gone does not exist" in page and 'id="series"' not in page and 'id="table"' in page


def test_a_folder_without_a_study_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no study"):
        write_report(tmp_path, tmp_path / "report.html")
