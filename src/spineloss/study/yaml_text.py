"""YAML as studies are written in: plain data of the 1.2 core schema, and the line that each part of it stands on.

PyYAML follows YAML 1.1, where `010` is 8, `1:30` is 90, `on` is true and 1e-3 is a text, and of two equal keys it
takes the last without a word. Anchors are refused: nine lines of them can stand for a billion.
"""

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from spineloss.errors import UserError

LONGEST = 256 * 1024  # bytes of a file
DEEPEST = 30  # levels of lists and mappings inside each other
Place = tuple[int | str, ...]
RESOLVERS = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, "an alias is not read; write its content out", mark)
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, f"it is nested more than {DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                raise yaml.MarkedYAMLError(None, None, "a key is not a word", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_scalar(node))

    def construct_text(self, node: yaml.ScalarNode) -> str:
        text = self.construct_scalar(node)
        text.encode("utf-8")  # a lone surrogate, written as an escape, could not be written again
        return text


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict = {}


for _tag, _pattern, _first in RESOLVERS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_text)


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """The settings in a file, and the line (from 1) of each of their places, such as ("methods", 0, "loss").

    Raises:
        UserError: it cannot be read, is too long, is not YAML, or holds no mapping.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LONGEST else None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    if content is None:
        raise UserError(f"{path} is longer than {LONGEST // 1024} kB: a study file is not.")
    try:
        loader = _Loader(content.decode("utf-8-sig"))
        root = loader.get_single_node()
        found = loader.construct_document(root) if root is not None else None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not valid YAML{_reason(error)}: fix it there.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings: write `key: value` lines, such as `data: path/to/volumes`.")
    return found, dict(_lines(root))


def yaml_text(settings: dict[str, Any]) -> str:
    """Settings as YAML that `read_yaml` reads as the same."""
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = "" if mark is None else f" at line {mark.line + 1}"
    problem = " ".join((getattr(error, "problem", None) or "").split())[:200]
    return f"{line} ({problem})" if problem else line


def _lines(root: yaml.Node) -> Iterator[tuple[Place, int]]:
    waiting: list[tuple[Place, yaml.Node]] = [((), root)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield (*place, key.value), key.start_mark.line + 1
                waiting.append(((*place, key.value), value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                yield (*place, number), value.start_mark.line + 1
                waiting.append(((*place, number), value))
