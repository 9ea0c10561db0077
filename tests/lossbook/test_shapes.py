import pytest

from spineloss.errors import UserError
from spineloss.lossbook.shapes import library_table, read_shapes, toy_shapes


def test_overlaps_are_those_counted_by_hand():
    table = library_table(toy_shapes(), ["dice", "iou", "tversky"])
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
def test_a_malformed_file_is_named(text, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=r"mine\.txt"):
        read_shapes(file)
