"""Docstrings of this project are plain text: `code` in single backticks, and signs that mean nothing else."""

import inspect
import re
from itertools import pairwise
from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature

CODE = re.compile(r"(`[^`]+`)")
SPECIAL = re.compile(r"([*|])|(?<=\w)(_)(?!\w)")
NAMED = re.compile(r"([\w, ]+?)(?: {2,}|: +)(\S.*)")


def as_text(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """What reStructuredText would take for markup is escaped; a doctest stays as it is."""
    in_doctest = False
    for number, line in enumerate(lines):
        in_doctest = line.lstrip().startswith(">>>") or (in_doctest and bool(line.strip()))
        if not in_doctest:
            parts = CODE.split(line)
            lines[number] = "".join(
                f"`{part}`" if part[:1] == "`" else SPECIAL.sub(r"\\\g<0>", part) for part in parts
            )
    _keep_lines(lines)


def _keep_lines(lines: list[str]) -> None:
    """A paragraph of which each line begins with a name, such as a formula for each variant, stays lines."""
    edges = [-1, *(number for number, line in enumerate(lines) if not line.strip()), len(lines)]
    for before, end in reversed([*pairwise(edges)]):
        whole = "\n".join(lines[before + 1 : end])
        named = [NAMED.match(line) for line in re.sub(r"\n {2,}", " ", whole).splitlines()]
        if len(named) > 1 and all(named):
            lines[before + 1 : end] = [f"| **{one[1]}** {' '.join(one[2].split())}" for one in named if one]


def as_called(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """A class is shown as it is called: autodoc would look at `__new__`, which takes anything."""
    if what != "class":
        return None
    return stringify_signature(inspect.signature(found), show_annotation=False), None


def link_by_last_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """A name is documented where it is public, and named as where it is written: the last part counts."""
    if node.get("refdomain") != "py":
        return None
    last, python = node["reftarget"].rpartition(".")[2], env.domains["py"]
    known = {name for name, _, _, _, _, _ in python.get_objects() if name.rpartition(".")[2] == last}
    if len(known) != 1:
        return None
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], known.pop(), node, text)
