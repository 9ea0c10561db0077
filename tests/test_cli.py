import csv
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest
import yaml

from spineloss.cli import main
from spineloss.cli.application import app

HEAVY = ("torch", "matplotlib", "monai", "SimpleITK", "sklearn", "scipy")


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def spineloss(capsys, monkeypatch):
    """The command line, called in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["spineloss", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        return Done(code or 0, *capsys.readouterr())

    return call


def test_help_imports_nothing_heavy():
    code = f"import sys, spineloss.cli.application; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_command_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "spineloss.cli", "losses", "show", "nothing"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("spineloss: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_in_one_line_and_the_handlers_are_put_back(spineloss, monkeypatch, number, code):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("spineloss.cli._run", lambda: signal.raise_signal(number))
    done = spineloss("doctor")
    assert done.returncode == code and done.stderr == f"spineloss: stopped by {number.name}\n"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def every_command(group=app, words=()):
    """The words of every command and of every group."""
    found = [list(words)]
    for command in group.registered_commands:
        found.append([*words, command.name or command.callback.__name__])
    for inner in group.registered_groups:
        found += every_command(
            inner.typer_instance, [*words, inner.name] if isinstance(inner.name, str) else words
        )
    return [command for number, command in enumerate(found) if command not in found[:number]]


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(spineloss, command):
    done = spineloss(*command, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout or "Commands" in done.stdout


def test_from_volumes_to_masks(spineloss, small_data, tmp_path):
    study = tmp_path / "study.yaml"
    settings = {"data": "volumes", "methods": ["dice"], "grid": [16, 16, 32], "width": 2, "folds": 2, "epochs": 1}
    study.write_text(yaml.safe_dump(settings | {"batch": 2}))
    assert "6 cases, 0 problems" in spineloss("data", "check", small_data).stdout
    done = spineloss("study", "run", study, "-o", tmp_path / "out")
    assert done.returncode == 0 and "Surface Dice" in done.stdout
    assert "Whether training had converged is unknown" in done.stdout
    assert "2 of 2 runs done" in spineloss("study", "status", tmp_path / "out").stdout
    assert r"\toprule" in spineloss("study", "table", tmp_path / "out", "--format", "latex").stdout
    image = small_data / "images" / "case-0.mha"
    done = spineloss("predict", tmp_path / "out", image, "-o", tmp_path / "masks")
    assert done.returncode == 0 and (tmp_path / "masks" / "case-0.mha").exists()


def test_a_race_in_which_a_run_failed_has_its_result(spineloss, small_data, tmp_path):
    study = tmp_path / "study.yaml"
    settings = {"data": "volumes", "grid": [16, 16, 32], "width": 2, "folds": 2, "epochs": 1}
    settings |= {"learning_rate": 0.01, "methods": ["dice", "iou", "study.foreign_losses.Raises"]}
    study.write_text(yaml.safe_dump(settings))
    done = spineloss("study", "race", study, "-o", tmp_path / "race")
    assert done.returncode == 1 and "1 run(s) failed" in done.stdout
    assert "of 3 methods were dropped." in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["data", "check", "nowhere"],
        ["study", "run", "nowhere.yaml"],
        ["study", "run", "a" * 300],
        ["study", "run", "demo", "-o", "a" * 300],
        ["study", "run", "lumbar"],
        ["study", "status", "."],
        ["study", "table", "."],
        ["study", "trajectories", ".", "-o", "pictures"],
        ["study", "compare", "."],
        ["study", "report", "."],
        ["study", "report", ".", "--metrics", "dise"],
        ["landscape", "."],
        ["landscape", "a" * 300],
        ["study", "compare", ".", "--margin", "small"],
        ["predict", ".", "x.mha", "-o", "y"],
        ["losses", "show", "dise"],
        ["meta", "nowhere", "-o", "out"],
        ["meta", ".", "-o", "out", "--grid", "16,20,20"],
        ["evolve", "nowhere", "-o", "out"],
        ["evolve", ".", "-o", "out", "--grid", "16,20,20"],
        ["losses", "check", "no.such.Loss"],
        ["shapes", "--loss", "dise", "-o", "toys"],
        ["shapes", "--shapes", "nowhere.txt", "-o", "toys"],
        ["shapes", "--convention", "mine", "-o", "toys"],
    ],
    ids=" ".join,
)
def test_bad_input_ends_in_one_sentence(spineloss, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = spineloss(*command)
    assert done.returncode == 1
    assert done.stderr.startswith("spineloss: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trainer", [["-tr", "nnUNetTrainer_250epochs"], ["-tr=nnUNetTrainer"], ["-t", "x"]])
def test_nnunets_own_option_for_a_trainer_is_refused(spineloss, trainer):
    done = spineloss("nnunet", "train", 4, "3d_fullres", 0, "--loss", "dice", "-p", "nnUNetPlans", *trainer)
    assert done.returncode == 1 and done.stderr.endswith("name nnU-Net's trainer by --trainer.\n")


def test_problems_in_the_data_end_in_a_non_zero_exit(spineloss, small_data):
    (small_data / "masks" / "case-1.mha").unlink()
    done = spineloss("data", "check", small_data)
    assert done.returncode == 1 and "case-1" in done.stdout


def test_losses_are_listed_and_shown(spineloss):
    listed = spineloss("losses", "list").stdout
    assert "tversky_focal" in listed and "distribution" in listed and "Milletari et al." in listed
    shown = spineloss("losses", "show", "tversky").stdout
    assert "T(alpha, beta)" in shown and "Salehi et al." in shown and "weight of false positives" in shown
    assert "Example: tversky(alpha=0.7, beta=0.3)" in shown


def test_a_loss_that_fails_a_check_ends_in_a_non_zero_exit(spineloss):
    passed = spineloss("losses", "check", "dice")
    assert passed.returncode == 0 and "0 fail" in passed.stdout
    failed = spineloss("losses", "check", "torch.nn.BCEWithLogitsLoss")
    assert failed.returncode == 1 and "1 fail" in failed.stdout
    assert "target = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]], dtype=torch.bool)" in failed.stdout


def test_the_thesis_toy_tables_are_printed_with_their_misprints(spineloss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = spineloss("shapes", "--convention", "thesis")
    assert printed.returncode == 0 and printed.stdout.count("*") == 6 + 1
    assert "Focal, fitting_2: 0.2263 is right, 0.1982 is printed" in printed.stdout
    assert not list(tmp_path.iterdir())


def test_own_shapes_and_losses_are_tabled_and_drawn(spineloss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("[red]:\n#-+.\n#...\n")
    spec = "tversky(alpha=0.5, beta=2.0)"
    done = spineloss("shapes", "--shapes", "mine.txt", "--loss", spec, "-o", "toys")
    assert done.returncode == 0 and "[red]" in done.stdout and "0.5556" in done.stdout
    with (tmp_path / "toys" / "shapes.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["loss"] == spec and float(row["[red]"]) == pytest.approx(1 - 2 / 4.5, abs=1e-5)
    pictures = {path.name for path in (tmp_path / "toys").iterdir()} - {"shapes.csv"}
    names = ("shapes", "losses", "curves", "gamma", "plane")
    assert pictures == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}


def test_a_study_of_a_stranger_imports_nothing(spineloss, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text("from pathlib import Path\nPath(__file__).with_name('executed').touch()")
    (tmp_path / "study.yaml").write_text("data: volumes\nmethods: [theirs.Loss]\n")
    done = spineloss("--no-imports", "study", "run", tmp_path / "study.yaml", "-o", tmp_path / "out")
    assert done.returncode == 1 and "theirs.Loss imports code, which --no-imports refuses" in done.stderr
    assert not (tmp_path / "executed").exists()
