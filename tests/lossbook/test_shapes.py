"""The toy tables against the seed's published numbers."""

import math

import pytest

from spineloss.errors import UserError
from spineloss.lossbook.shapes import MISPRINTS, library_table, read_shapes, seed_shapes, seed_table

# Tables 3.1 and 3.2, as printed.
PUBLISHED = """
loss         large_1 large_2 small_1 small_2 awareness_1 awareness_2 fitting_1 fitting_2
Asymmetric   0.0175  0.0354  0.1887  0.4110  0.5000      0.5000      0.6767    0.2740
BCE          1.0614  1.0804  0.7470  0.7660  0.9490      0.9490      1.0600    0.9568
Focal        0.1162  0.1179  0.1840  0.1861  0.1982      0.1982      0.1982    0.1982
Dice         0.0126  0.0256  0.1428  0.3332  0.4999      0.4999      0.5999    0.3846
DiceFocal    0.0377  0.0640  0.2323  0.4386  0.5945      0.5945      0.6817    0.4883
Tversky      0.0176  0.0355  0.1891  0.4117  0.4999      0.4999      0.6774    0.2727
TverskyFocal 0.0258  0.0440  0.1655  0.3329  0.5945      0.5945      0.5709    0.5646
Boundary     0.5146  0.5146  1.5868  1.5868  1.1806      1.1898      0.2800    0.4399
Hausdorff    0.1000  0.2000  0.0199  0.0399  0.2599      0.4900      1.0098    1.0599
"""


def published():
    header, *rows = [line.split() for line in PUBLISHED.strip().splitlines()]
    return {
        (row[0], place): float(value) for row in rows for place, value in zip(header[1:], row[1:], strict=True)
    }


def test_all_but_the_misprints_are_the_seeds():
    table = seed_table(seed_shapes())
    cells = {key: value for key, value in published().items() if key not in MISPRINTS}
    assert len(cells) == 66
    for (loss, place), value in cells.items():
        tolerance = 1.1e-3 if loss == "BCE" else 3e-4
        assert table[loss][place] == pytest.approx(value, abs=tolerance), (loss, place)


def test_the_misprints_are_what_the_seed_prints_and_are_wrong():
    table = seed_table(seed_shapes())
    for (loss, place), printed in MISPRINTS.items():
        assert published()[loss, place] == printed
        assert abs(table[loss][place] - printed) > 0.01
    for place in ("fitting_1", "fitting_2"):  # two rows are swapped
        assert table["Boundary"][place] == pytest.approx(published()["Hausdorff", place], abs=3e-4)
        assert table["Hausdorff"][place] == pytest.approx(published()["Boundary", place], abs=3e-4)


def test_the_library_says_by_hand_what_overlaps_are():
    table = library_table(seed_shapes(), ["dice", "iou", "tversky"])
    # small_1: one of four voxels missed.
    assert table["dice"]["small_1"] == pytest.approx(1 - 6 / 7, abs=1e-5)
    assert table["iou"]["small_1"] == pytest.approx(1 - 3 / 4, abs=1e-5)
    assert table["tversky"]["small_1"] == pytest.approx(1 - 3 / 3.3, abs=1e-5)


def test_shapes_of_ones_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("bar:\n#-+.\n")
    (shape,) = read_shapes(file)
    assert shape.truth.tolist() == [[True, True, False, False]]
    assert shape.prediction.tolist() == [[True, False, True, False]]
    assert library_table([shape], ["dice"])["dice"]["bar"] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("gap", ["\n\n", "\n \n", "\n\n\n", "\r\n\r\n"])
def test_blocks_are_apart_by_any_empty_lines(gap, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(f"one:\n#-{gap}two:\n#+\n".encode())
    assert [(shape.name, shape.truth.tolist()) for shape in read_shapes(file)] == [
        ("one", [[True, True]]),
        ("two", [[True, False]]),
    ]


def test_the_seed_leaves_an_overlap_of_nothing_undefined(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("empty:\n...\n")
    assert math.isnan(seed_table(read_shapes(file))["Dice"]["empty"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no colon\n##\n",
        "uneven:\n##\n#\n",
        "letters:\n#a\n",
        "empty:\n",
        "twice:\n#\n\ntwice:\n-\n",
        "loss:\n#\n",
    ],
)
def test_a_malformed_file_is_told(text, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=r"mine\.txt"):
        read_shapes(file)
