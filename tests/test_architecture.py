"""Dependencies point down the floors of docs/architecture.md."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "spineloss"
FLOORS = {
    "errors": 0, "seeding": 0, "compiled": 0, "counts": 0,
    "grammar": 1, "files": 1, "sums": 1, "fields": 1, "distance": 1,
    "evidence": 2,
    "losses": 3, "weighting": 3, "metrics": 3, "network": 3, "data": 3,
    "learned": 4, "training": 4, "analysis": 4,
    "search": 5, "study": 5,
    "report": 6,
    "cli": 7,
}  # fmt: skip
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "spineloss":
            parts = node.module.split(".")[1:]
            rooms |= {parts[0]} if parts else {alias.name for alias in node.names}
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    own = room(path)
    assert own in FLOORS, f"{own} has no floor: add it here and in docs/architecture.md"
    for other in imported_rooms(path) - {own}:
        assert FLOORS[other] < FLOORS[own], f"{path.name} imports {other}, which is not below {own}"
