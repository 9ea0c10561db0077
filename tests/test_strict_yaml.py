import os

import pytest

from spineloss.errors import UserError
from spineloss.strict_yaml import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: [1, 2\nc: 3", "line 3: "),
        ("a: &x [1]\nb: *x", "line 1: anchors and aliases"),
        ("a: 1\nb: *x", "line 2: anchors and aliases"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice"),
        ("a:\n  <<: {b: 1}", "line 2: a key is a word"),
        ("a: 1\nb: " + "9" * 5000, "line 2: '9999"),
        ("a: 2001-99-99", "line 1: '2001-99-99' is no value"),
        ("a: 1\nb: " + "[" * 5000, "line 2: lists and mappings are nested more than 30 levels deep"),
        ("a: 1\nb: " + "[" * 100 + "]" * 100, "line 2: lists and mappings are nested"),
        ('a: "\\ud800"', "holds half a character"),
        ("a: 1\nb: \x07", "line 2: the character '\\x07' is not allowed"),
        ("? [1, 2]\n: 3", "line 1: a key is a word"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        ("a: !!int x", "line 1: 'x' is no value"),
        ("a: !!float x", "line 1: 'x' is no value"),
        ("a: !!binary é", "line 1: "),
        ("a: 1\n--- \nb: 2", "line 2: "),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(text, told):
    with pytest.raises(UserError) as error:
        parse_yaml(text, "study.yaml")
    sentence = str(error.value)
    assert sentence.startswith("study.yaml") and told in sentence
    assert sentence.isprintable() and len(sentence) < 400


def test_plain_settings_are_read():
    text = "data: é/x\nmethods: [dice, {loss: focal, controls: true}]\nrate: 0.001\nnothing:\n"
    assert parse_yaml(text, "s") == {
        "data": "é/x",
        "methods": ["dice", {"loss": "focal", "controls": True}],
        "rate": 0.001,
        "nothing": None,
    }


def test_a_file_is_read_with_a_byte_order_mark_as_without(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(file) == {"a": 1}


def test_what_is_no_text_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "huge").write_bytes(b"a" * (1 << 20) + b"aa")
    for name, told in (
        ("pipe", "is no file"),
        (".", "is no file"),
        ("absent", "is no file"),
        ("latin", "line 2: the text is not UTF-8"),
        ("huge", "larger than 1 MiB"),
    ):
        with pytest.raises(UserError, match=told):
            read_yaml(tmp_path / name)
