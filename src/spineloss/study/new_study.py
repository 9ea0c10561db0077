"""A first study file for a folder of volumes, with a comment at each key; and the schema of study files."""

import json
from pathlib import Path
from typing import Any

import yaml

from spineloss.data.fingerprint import Fingerprint
from spineloss.errors import UserError
from spineloss.files import write_text
from spineloss.study.proposal import look, propose
from spineloss.study.settings import PRESETS, Study

SCHEMA_NAME = "study.schema.json"
METHODS = ["cross_entropy", "dice", "dice + cross_entropy", "tversky(alpha=0.7, beta=0.3)"]


def schema() -> dict[str, Any]:
    """The JSON schema of a study file."""
    found = Study.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "spineloss study"
    found["properties"]["preset"] = {"enum": list(PRESETS), "description": "Settings to start from."}
    # A method is as well its loss alone.
    methods = found["properties"]["methods"]
    methods["items"] = {"anyOf": [{"type": "string"}, methods["items"]]}
    methods.pop("minItems", None)
    augment = found["properties"]["augment"]
    augment["anyOf"] = [{"const": "nnunet"}, {"$ref": augment.pop("$ref")}]
    found["required"] = ["data"]
    return found


def write_new_study(source: Path, path: Path) -> None:
    """Look at the volumes of a folder or manifest, and write a study file that fits them, its schema beside it.

    Raises:
        UserError: the folder has no known layout or fewer than two cases or patients, or `path` exists already.
    """
    if path.exists():
        raise UserError(f"{path} exists already: remove it, or choose another name with --output.")
    found = look(source)
    write_text(path, _text(source, path, found))
    write_text(path.with_name(SCHEMA_NAME), json.dumps(schema(), indent=1) + "\n")


def _text(source: Path, path: Path, found: Fingerprint) -> str:
    proposed = propose(found)
    chosen: dict[str, Any] = {"data": str(source.resolve())}
    chosen |= {each.key: each.value for each in proposed} | {"methods": METHODS}
    reasons = {each.key: f" Proposed: {' '.join(each.reason.split())}." for each in proposed}
    fields = Study.model_fields
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_NAME}",
        f"# {found.layout}: {found.cases} cases of {found.patients} patients (spineloss data plan).",
        f"# Train with: spineloss study run {path.name} -o {path.stem}/",
        "",
    ]
    for key, value in chosen.items():
        lines += [f"# {fields[key].description}{reasons.get(key, '')}", _yaml(key, value), ""]
    lines += ["# The other keys, with their defaults.", ""]
    for key, field in fields.items():
        if key not in chosen:
            default = Study.model_construct().model_dump(mode="json", include={key})[key]
            lines += [f"# {field.description}", f"# {_yaml(key, default)}", ""]
    return "\n".join(lines)


def _yaml(key: str, value: Any) -> str:
    if key == "methods":
        return yaml.safe_dump({key: value}, sort_keys=False).strip()
    flow = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10**9)
    return f"{key}: {flow.splitlines()[0]}"  # a second line is YAML's mark of an end
