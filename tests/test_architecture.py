"""Imports point down the floors of docs/architecture.md, between rooms and inside the large ones."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "spineloss"
FLOORS = [
    {"errors", "extras", "seeding"},
    {"cluster", "files", "grammar", "kernels"},
    {"data", "losses", "metrics", "networks", "weighting"},
    {"learned"},
    {"text"},
    {"lossbook", "training"},
    {"results"},
    {"figures"},
    {"thesis"},
    {"integrations", "search", "study"},
    {"report"},
    {"cli"},
]
# The order inside a room, each module below the ones after it.
INSIDE = {
    "cli": [
        {"cluster_options", "doctor", "stopping", "terminal", "status_view"},
        {"data_commands", "loss_commands", "nnunet_commands", "results_commands", "search_commands"},
        {"study_commands"},
        {"application"},
        {"__main__"},
    ],
    "data": [
        {"guards", "deformation", "folds", "groups", "prefetch", "preprocessing"},
        {"intensity", "patches", "resolution"},
        {"augmentation"},
        {"dicom", "metaimage", "nifti", "nrrd"},
        {"volumes"},
        {"cases", "phantom"},
        {"labelling", "manifest", "nnunet_layout"},
        {"layouts", "unsegmented"},
        {"check"},
        {"cache", "fingerprint"},
        {"dataset"},
        {"batches"},
    ],
    "results": [
        {"averages", "race_file", "sample_size", "score_text", "surface", "text_table", "trajectories"},
        {"run_folder"},
        {"study_folder"},
        {"learning_rates", "records", "statistics", "trained_on"},
        {"convergence", "ranking", "rate_ranges", "selection", "table", "variance"},
        {"comparison", "racing"},
        {"comparison_export", "race_course", "sentences"},
        {"comparison_table", "race_table"},
    ],
    "study": [
        {"claims", "failures", "hardware", "method", "proposal", "yaml_text"},
        {"settings"},
        {"jobs", "learned_files", "new_study", "preparation", "recipe", "prediction", "controls", "courses"},
        {"elsewhere", "training_run", "landscape", "status"},
        {"ray_cluster", "trackers", "workers"},
        {"engine"},
        {"plan", "race", "slurm"},
    ],
}  # fmt: skip
LONGEST = 400  # lines of a module
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path: Path) -> tuple[str, ...]:
    """`data/volumes.py` is ("data", "volumes"), `data/__init__.py` is ("data",)."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path) -> set[tuple[str, ...]]:
    """The modules of the package that a module imports: absolutely, relatively, or by a name in a string."""
    found: set[tuple[str, ...]] = set()
    known = {name_of(module) for module in MODULES}
    here = name_of(path) if path.name == "__init__.py" else name_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            names = [
                tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("spineloss.")
            ]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                start = here[: len(here) - node.level + 1]
            elif (node.module or "").split(".")[0] == "spineloss":
                start = ()
            else:
                continue
            module = (node.module or "").removeprefix("spineloss").strip(".") if not node.level else node.module
            start = (*start, *(module.split(".") if module else ()))
            names = [(*start, alias.name) if (*start, alias.name) in known else start for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = tuple(node.value.split("."))
            names = [parts[1 : stop + 1] for stop in range(1, len(parts)) if parts[0] == "spineloss"][-1:]
            names = [name if name in known else name[:-1] for name in names]
        found |= {name for name in names if name}
    return found - {name_of(path)}


def floor(name: str, floors: list[set[str]]) -> int | None:
    return next((number for number, names in enumerate(floors) if name in names), None)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    room, *rest = name_of(path)
    assert floor(room, FLOORS) is not None, f"{room} has no floor: add it here and in docs/architecture.md"
    for other, *inside in imported(path):
        if other != room:
            below = floor(other, FLOORS) < floor(room, FLOORS)
            assert below, f"{path.name} imports {other}, which is not below {room}"
        elif room in INSIDE and rest and inside:
            below = floor(inside[0], INSIDE[room]) < floor(rest[0], INSIDE[room])
            assert below, f"{path.name} imports {inside[0]}, which is not below it in {room}"


@pytest.mark.parametrize("room", INSIDE)
def test_each_module_of_an_ordered_room_has_a_place(room):
    modules = {path.stem for path in (SOURCE / room).glob("*.py")} - {"__init__"}
    assert modules == set.union(*INSIDE[room])


def test_no_two_modules_share_a_name():
    names = Counter(name_of(path)[-1] for path in MODULES)
    assert [name for name, times in names.items() if times > 1] == []


def test_no_two_public_classes_share_a_name():
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_training_reads_no_statistics():
    """What trains (the engine and everything below it) never loads the statistics."""
    waiting, seen = [("study", "engine")], set()
    by_name = {name_of(path): path for path in MODULES}
    while waiting:
        name = waiting.pop()
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        waiting += imported(by_name[name])
    assert not seen & {("results", "statistics"), ("results", "ranking"), ("results", "comparison")}


def test_the_page_draws_the_floors_as_they_are():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", page, flags=re.MULTILINE)
    drawn = {int(number): set(re.findall(r"(?:^|· )`(\w+)`", rooms)) for number, rooms in rows}
    assert drawn == dict(enumerate(FLOORS))
