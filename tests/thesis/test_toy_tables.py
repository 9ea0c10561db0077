"""The toy tables against the published numbers."""

import math

import pytest

from spineloss.lossbook.shapes import read_shapes, toy_shapes
from spineloss.thesis.toy_tables import MISPRINTS, thesis_table

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


def test_all_but_the_misprints_are_as_printed():
    table = thesis_table(toy_shapes())
    cells = {key: value for key, value in published().items() if key not in MISPRINTS}
    assert len(cells) == 66
    for (loss, place), value in cells.items():
        tolerance = 1.1e-3 if loss == "BCE" else 3e-4
        assert table[loss][place] == pytest.approx(value, abs=tolerance), (loss, place)


def test_the_misprints_are_as_printed_and_wrong():
    table = thesis_table(toy_shapes())
    for (loss, place), printed in MISPRINTS.items():
        assert published()[loss, place] == printed
        assert abs(table[loss][place] - printed) > 0.01
    for place in ("fitting_1", "fitting_2"):  # two rows are swapped
        assert table["Boundary"][place] == pytest.approx(published()["Hausdorff", place], abs=3e-4)
        assert table["Hausdorff"][place] == pytest.approx(published()["Boundary", place], abs=3e-4)


def test_an_overlap_of_nothing_is_undefined(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("empty:\n...\n")
    assert math.isnan(thesis_table(read_shapes(file))["Dice"]["empty"])
