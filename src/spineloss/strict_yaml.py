"""YAML of anyone: small, plain and unambiguous, or refused in one sentence with the line."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from spineloss.errors import UserError

LARGEST = 1 << 20  # bytes of a file
DEEPEST = 30  # levels of lists and mappings inside each other


def read_yaml(path: Path) -> Any:
    """The plain data of a YAML file; nothing in it is executed.

    Refused beyond what is no YAML: anchors and aliases (a few lines of them stand for gigabytes), a key given
    twice, values that no number or date can have, text that no file could hold, too much depth or size.

    Raises:
        UserError: the file cannot be read, or what is wrong in it, at which line.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is no file: name a YAML file.")
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST >> 20} MiB: is it a YAML file?")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): is it the right file?") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: the text is not UTF-8; save the file as UTF-8.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """The plain data of a YAML text.

    Args:
        text: the YAML.
        source: what a message names.

    Raises:
        UserError: what is wrong, at which line.

    >>> parse_yaml("grid: [16, 64, 64]", "study.yaml")
    {'grid': [16, 64, 64]}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{line}: {_in_a_line(error.problem)}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{source}, line {line}: the character {chr(error.character)!r} is not allowed."
        ) from error


def _in_a_line(problem: str | None) -> str:
    return " ".join((problem or "this is not YAML").split())[:200]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error("anchors and aliases (& and *) are not read: write the value out", event)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _error(f"lists and mappings are nested more than {DEEPEST} levels deep", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise _error(f"{node.value[:50]!r} is no value ({error})", node) from error

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        value = super().construct_scalar(node)
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise _error(f"{value[:50]!r} holds half a character", node) from error
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                raise _error("a key is a word", key)
            if key.value in seen:
                raise _error(f"the key {key.value[:50]!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
