"""What `import spineloss` gives, and what it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import spineloss
from spineloss import extras
from spineloss.cli.doctor import examine


@pytest.mark.parametrize("name", sorted(set(dir(spineloss)) - {"__version__"}))
def test_each_public_name_is_there(name):
    assert getattr(spineloss, name) is getattr(spineloss, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Dise'"):
        _ = spineloss.Dise
    with pytest.raises(ImportError):
        exec("from spineloss import Dise")


def test_the_import_loads_nothing_heavy():
    code = "import sys, spineloss as s; print(sorted({'torch', 'numpy'} & set(sys.modules)), s.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == f"[] {spineloss.__version__}"


def test_type_checkers_see_the_names_that_there_are():
    tree = ast.parse(Path(spineloss.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {f"{line.module}.{name.name}": name.asname for line in block.body for name in line.names}
    assert {path: name for path, name in seen.items() if name} == {
        f"spineloss.{path}": name for name, path in spineloss.SINGLE.items()
    }
    assert {path for path, name in seen.items() if not name} == {f"spineloss.{room}.*" for room in spineloss.WHOLE}


def test_a_missing_extra_is_named_in_one_sentence(monkeypatch):
    # Importing it anew also puts another package in the place of this one, which later tests patch.
    monkeypatch.setattr(spineloss, "study", importlib.import_module("spineloss.study"))
    for name in [
        name for name in sys.modules if name.split(".")[0] == "SimpleITK" or name.startswith("spineloss.study")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    monkeypatch.delitem(vars(spineloss), "Predictor", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'spineloss\[study\]'"):
        _ = spineloss.Predictor


def test_each_extra_is_in_the_project_file():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        extra: {line.split(">")[0] for line in lines} for extra, lines in project["optional-dependencies"].items()
    }
    names = {"pil": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    for extra, modules in extras.EXTRAS.items():
        assert {names.get(module.lower(), module.lower()) for module in modules} == asked[extra]


def test_the_doctor_needs_ten_lines():
    lines = list(examine())
    assert len(lines) == 10 and lines[0].startswith("spineloss") and "study" in lines[6]
