"""The reference of the command line, from the commands themselves."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from spineloss.cli.application import app

BOLD = re.compile(r"\[/?bold\]")


def write(folder: Path) -> None:
    """One page: every command with its arguments, options and example."""
    folder.mkdir(parents=True, exist_ok=True)
    commands = list(_commands(app, "spineloss"))
    lines = ["# The command line", "", "| command | |", "| --- | --- |"]
    lines += [
        f"| [`{name}`](#{name.replace(' ', '-')}) | {_text(function).splitlines()[0]} |"
        for name, function in commands
    ]
    lines += [""]
    for name, function in commands:
        lines += _section(name, function)
    (folder / "command-line.md").write_text("\n".join(lines), encoding="utf-8")


def _commands(group: typer.Typer, name: str) -> Iterator[tuple[str, Any]]:
    for inner in group.registered_groups:
        yield from _commands(inner.typer_instance, f"{name} {inner.name}" if isinstance(inner.name, str) else name)
    for command in group.registered_commands:
        yield f"{name} {command.name or command.callback.__name__.replace('_', '-')}", command.callback


def _section(name: str, function: Any) -> list[str]:
    text, _, example = _text(function).partition("Example:")
    rows, usage, rest = [], [name], []
    hints = get_type_hints(function, include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        if hints[key] is typer.Context:
            rest = ["..."]
            continue
        kind, info = get_args(hints[key])
        if isinstance(info, typer.models.ArgumentInfo):
            title = info.metavar or key.upper()
            usage.append(title)
        else:
            # In an annotation typer keeps the first flag where a default would stand.
            flags = [info.default, *(info.param_decls or [])]
            title = ", ".join(flag for flag in flags if isinstance(flag, str)) or f"--{key.replace('_', '-')}"
        rows.append(f"| `{title}` | {_meaning(info, kind)} | {_default(parameter.default)} |")
    lines = [
        f"## `{name}`",
        "",
        text.strip(),
        "",
        "```",
        " ".join([*usage, *(["[OPTIONS]"] if any("`-" in row for row in rows) else []), *rest]),
        "```",
        "",
    ]
    lines += ["| | meaning | default |", "| --- | --- | --- |", *rows, ""] if rows else []
    return [*lines, f"Example: {example.strip()}", ""] if example else lines


def _text(function: Any) -> str:
    return BOLD.sub("`", inspect.getdoc(function))


def _meaning(info: Any, kind: Any) -> str:
    values = ", ".join(f"`{value}`" for value in get_args(kind)) if get_origin(kind) is Literal else ""
    return " ".join(filter(None, [" ".join((info.help or "").split()), values])).replace("|", r"\|")


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or value is False else f"`{value}`"
