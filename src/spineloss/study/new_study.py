"""A first study file for a folder of volumes, with a comment at each key; and the schema of study files."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from spineloss.data.check import Report, Row, check
from spineloss.data.groups import group_cases
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError
from spineloss.files import write_text
from spineloss.study.settings import PRESETS, Study

SCHEMA_NAME = "study.schema.json"
METHODS = ["cross_entropy", "dice", "dice + cross_entropy", "tversky(alpha=0.7, beta=0.3)"]
MOST_VOXELS = 2**18  # of the grid: a fold of 20 cases then trains in minutes on two cores


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
        UserError: the folder has no known layout or fewer than two cases, or `path` exists already.
    """
    if path.exists():
        raise UserError(f"{path} exists already: remove it, or choose another name with --output.")
    report = check(find_cases(source))
    if len(report.rows) < 2:
        raise UserError(f"{source} holds {len(report.rows)} readable cases: a study needs two or more.")
    write_text(path, _text(source, path, report))
    write_text(path.with_name(SCHEMA_NAME), json.dumps(schema(), indent=1) + "\n")


def _text(source: Path, path: Path, report: Report) -> str:
    rows = report.rows
    labels = sorted({label for row in rows for label in row.voxels})
    chosen: dict[str, Any] = {
        "data": str(source.resolve()),
        "labels": labels,
        "target": "merged",
        "grid": grid_for(rows),
        "width": 8,
        "folds": min(3, len(set(group_cases([row.case for row in rows], {}).values()))),
        "epochs": 60,
        "batch": 2,
        "learning_rate": "auto",
        "methods": METHODS,
    }
    fields = Study.model_fields
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_NAME}",
        f"# {report.layout}: {len(rows)} cases, {len(report.problems)} problems (spineloss data check).",
        f"# Train with: spineloss study run {path.name} -o {path.stem}/",
        "",
    ]
    for key, value in chosen.items():
        lines += [f"# {fields[key].description}", _yaml(key, value), ""]
    lines += ["# The other keys, with their defaults.", ""]
    for key, field in fields.items():
        if key not in chosen:
            default = Study.model_construct().model_dump(mode="json", include={key})[key]
            lines += [f"# {field.description}", f"# {_yaml(key, default)}", ""]
    return "\n".join(lines)


def _yaml(key: str, value: Any) -> str:
    if key == "methods":
        return yaml.safe_dump({key: value}, sort_keys=False).strip()
    flow = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=1000)
    return f"{key}: {flow.splitlines()[0]}"  # a second line is YAML's mark of an end


def grid_for(rows: Sequence[Row]) -> list[int]:
    """Multiples of 16 near the median shape, the coarsest axis first, shrunk to `MOST_VOXELS` or fewer.

    >>> row = Row("case", (400, 400, 20), (0.9, 0.9, 4.0), "LPS", 0, 1, {1: 9}, 0.1)
    >>> grid_for([row])
    [16, 128, 128]
    """
    axes = range(3)
    shape = [median(row.shape[axis] for row in rows) for axis in axes]
    spacing = [median(row.spacing[axis] for row in rows) for axis in axes]
    coarsest = max(axes, key=lambda axis: spacing[axis])
    sizes = [shape[coarsest], *(shape[axis] for axis in axes if axis != coarsest)]
    while True:
        grid = [max(16, round(size / 16) * 16) for size in sizes]
        if grid[0] * grid[1] * grid[2] <= MOST_VOXELS:
            return grid
        longest = max(sizes)
        sizes = [size * 0.9 if size > 0.5 * longest else size for size in sizes]
