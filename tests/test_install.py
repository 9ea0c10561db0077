"""The smallest install: a wheel, and an environment that holds its dependencies and nothing else."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ("numpy", "safetensors", "torch")
NAME = re.compile(r"[A-Za-z0-9._-]+")


def with_dependencies(names):
    """The names of distributions and of all that they need here, without any extra."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or []:
            requirement, _, marker = line.partition(";")
            if "extra ==" not in marker and "platform" not in marker:
                waiting.append(NAME.match(requirement)[0].lower())
    return found


def build_wheel(folder, **environment):
    """The package built as a user's pip does, from a copy: an earlier build leaves nothing in it."""
    source = folder / "source"
    built_before = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", source / "src", ignore=built_before)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "-w", folder / "wheel", source], check=True, capture_output=True, env={**os.environ, **environment}
    )
    (built,) = (folder / "wheel").iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """The Python of an environment with the wheel and its dependencies, which are links to those here."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for name in with_dependencies(CORE):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (packages / top).symlink_to(distribution(name).locate_file(top))
    zipfile.ZipFile(wheel).extractall(packages)
    return folder / "bin" / "python"


def run(python, *arguments, **environment):
    # Isolated: neither PYTHONPATH nor the working directory lends a module.
    command = [python, "-I", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **environment})


def test_one_wheel_serves_every_python(wheel):
    assert re.search(r"-cp311-abi3-|-py3-none-", wheel.name)
    inside = zipfile.ZipFile(wheel).namelist()
    assert {"spineloss/py.typed", "spineloss/presets/demo.yaml", "spineloss/report/page.html"} <= set(inside)


def test_without_a_compiler_the_wheel_is_plain(tmp_path):
    inside = zipfile.ZipFile(build_wheel(tmp_path, CC="false")).namelist()
    assert "spineloss/kernels/native.py" in inside
    assert not [name for name in inside if name.endswith((".so", ".pyd"))]


def test_the_core_holds_no_more_than_it_says(core):
    for module in ("monai", "SimpleITK", "scipy", "matplotlib", "rich", "typer", "pytest"):
        assert run(core, "-c", f"import {module}").returncode == 1


def test_the_examples_of_the_readme_run_in_the_core(core, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## The losses in your own training")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert len(examples) == 3
    script = tmp_path / "examples.py"
    script.write_text("\n".join(examples))
    done = run(core, script)
    assert done.returncode == 0, done.stderr


def test_a_command_that_needs_an_extra_names_it(core):
    done = run(core, "-m", "spineloss.cli", "study", "run", "study.yaml")
    assert done.returncode == 1
    assert done.stderr == "spineloss: This needs typer, which is not installed: pip install 'spineloss[study]'.\n"
    done = run(core, "-c", "from spineloss import Predictor")
    assert done.stderr.splitlines()[-1].endswith("pip install 'spineloss[study]'.")


def test_the_doctor_runs_in_the_core(core, tmp_path):
    done = run(core, "-m", "spineloss.cli", "doctor", SPINELOSS_CACHE=str(tmp_path))
    assert done.returncode == 0 and "missing    study: " in done.stdout
