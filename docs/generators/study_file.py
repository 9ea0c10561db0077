"""The reference of the study file, from its schema."""

import re
from pathlib import Path
from typing import Any

import yaml

from spineloss.study.method import PhaseSettings
from spineloss.study.settings import AugmentSettings, Method, Study

TITLES = {Study: "The study", Method: "A method", PhaseSettings: "A phase", AugmentSettings: "`augment`"}


def write(folder: Path) -> None:
    """One page: every key with its values, default and meaning."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# The study file",
        "",
        "YAML. Every key but `data` and `methods` has a default; an unknown key is refused. `preset: lumbar` (or",
        "`cervical`, `demo`, `nnunet`) starts from a preset. `spineloss study new DATA` writes a commented file;",
        "`spineloss study schema` prints a schema with which editors complete the keys.",
        "[Write a study](/howto/write-a-study.md) explains them.",
        "",
    ]
    for model, title in TITLES.items():
        schema = model.model_json_schema()
        lines += [f"## {title}", "", "| key | meaning | values | default |", "| --- | --- | --- | --- |"]
        lines += [_row(name, key, schema) for name, key in schema["properties"].items()] + [""]
    (folder / "study-file.md").write_text("\n".join(lines), encoding="utf-8")


def _row(name: str, key: dict[str, Any], schema: dict[str, Any]) -> str:
    default = "required" if name in schema.get("required", ()) else f"`{_yaml(key.get('default'))}`"
    if "$ref" in key:
        default = "those below"
    return f"| `{name}` | {key.get('description', '')} | {_values(key)} | {default} |"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()


NAMES = {
    "integer": "whole number",
    "null": "nothing",
    "string": "text",
    "boolean": "`true` or `false`",
    "object": "mapping",
}
REFERRED = {"Method": "method", "PhaseSettings": "phase", "AugmentSettings": "`nnunet`, or the keys below"}
NUMBERS = {2: "two", 3: "three"}
HUGE = 2**31  # a limit that only keeps numbers in their type
RANGES = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _values(key: dict[str, Any]) -> str:
    if "anyOf" in key:
        return " or ".join(_values(one) for one in key["anyOf"])
    if "const" in key or "enum" in key:
        return " or ".join(f"`{value}`" for value in key.get("enum", [key.get("const")]))
    if "$ref" in key:
        return REFERRED[key["$ref"].rpartition("/")[2]]
    if key.get("type") == "array":
        items = key.get("items") or key["prefixItems"][0]
        size = f"{NUMBERS[len(key['prefixItems'])]} " if "prefixItems" in key else "a list of "
        return size + re.sub(r"\b(number|text|method|phase)\b", r"\1s", _values(items), count=1)
    if key.get("format") == "path":
        return "path"
    name = NAMES.get(key["type"], key["type"])
    limits = [f"{words} {key[limit]:g}" for limit, words in RANGES.items() if abs(key.get(limit, HUGE)) < HUGE]
    limits += [f"a multiple of {key['multipleOf']}"] if "multipleOf" in key else []
    return " ".join([name, ", ".join(limits)]).strip()
