"""A study's networks scored on another data set: what holds there of what the study found."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset
from spineloss.data.labelling import Labelling
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError
from spineloss.files import read_json, write_json, write_text
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import finished_runs, study_file, write_folds
from spineloss.results.table import write_table
from spineloss.study.prediction import Predictor
from spineloss.study.preparation import prepare_study
from spineloss.study.settings import Study, load
from spineloss.study.yaml_text import yaml_text
from spineloss.training.validation import validate


def score_elsewhere(
    folder: Path,
    source: Path,
    output: Path,
    progress: Callable[[str], None],
    labels: Sequence[int] | None = None,
    cache: Cache | None = None,
) -> None:
    """Score every finished network of a study on every case of another data set.

    The output is a study's folder again, which tables, comparisons and pages are made of: the networks of a method
    are its trainings, and all of them score the same cases. A test that was stopped goes on.

    Args:
        folder: the study's.
        source: a folder of volumes with masks, or a CSV manifest.
        output: the test's folder.
        progress: receives a line about what is being done.
        labels: of the other data that are what the networks segment; those that the study was trained on if none.
        cache: of prepared cases; the user's by default.

    Raises:
        UserError: the study has no finished run, the data has problems or other labels, or the output is another
            study's folder.
    """
    study, runs = load(study_file(folder)), finished_runs(folder)
    if not runs:
        raise UserError(f"{folder} has no finished run yet: finish it with `spineloss study run`.")
    predictor = Predictor([runs[0][0]])
    labelling = predictor.labelling
    wanted = [label for structure in labelling.structures for label in structure.labels]
    frame = runs[0][1]
    # The median is that of the data that the networks were trained on.
    spacing = frame.get("spacing") or study.spacing
    others = {"labels": tuple(labels or wanted), "spacing": spacing, "leave_out": (), "held_out": None}
    if set(predictor.channels) <= set(find_cases(source).channels):
        others["channels"] = tuple(predictor.channels)
    tested = study.model_copy(update={"data": source} | others)
    data = prepare_study(tested, progress, cache, frame["orientation"])
    if data.labelling.outputs != labelling.outputs:
        raise UserError(
            f"{folder} was trained on {len(labelling.structures)} structures ({', '.join(labelling.names)}): "
            f"name as many labels of {source}."
        )
    if len(data.channels) != len(predictor.channels):
        raise UserError(
            f"{source} has {len(data.channels)} channel(s) ({', '.join(data.channels)}), and the networks of "
            f"{folder} take {len(predictor.channels)} ({', '.join(predictor.channels)}): bring those."
        )
    _begin(tested, folder, output, data, labelling)
    for trained, record in runs:
        run = Run.of(output, record["method"], record["fold"], record["repeat"])
        if run.record().get("tested", {}).get("files") != record["files"] or run.damage():
            progress(f"Testing {record['method']} fold {record['fold']} repeat {record['repeat']}")
            _test(trained, record, run, data, study)
    write_table(output)


def _begin(study: Study, folder: Path, output: Path, data: Dataset, labelling: Labelling) -> None:
    """Write what the folder is, or refuse one that is anything else."""
    # The digest is of what the files hold: which labels of it are scored, and against which structure, is beside it.
    labels = [list(structure.labels) for structure in data.labelling.structures]
    identity = {"study": str(folder.resolve()), "data": data.digest, "labels": labels}
    about = output / "test.json"
    if (output / "study.yaml").exists() and not (about.exists() and read_json(about) == identity):
        raise UserError(f"{output} holds another study or test: choose another folder.")
    write_json(about, identity)
    write_folds(
        output,
        {
            "seed": study.seed,
            "data": data.digest,
            "channels": labelling.names,
            "orientation": data.orientation,
            "groups": data.groups,
            "folds": [list(data.samples)] * study.folds,
        },
    )
    write_text(output / "study.yaml", yaml_text(study.plain() | {"data": str(study.data.resolve())}))


def _test(trained: Run, record: dict[str, Any], run: Run, data: Dataset, study: Study) -> None:
    predictor = Predictor([trained])
    found = validate(
        predictor.networks[0],
        list(data.samples.values()),
        # What nobody annotated is the other data's.
        replace(predictor.labelling, ignore=data.labelling.ignore),
        grid=study.metrics_grid,
        tolerance=study.tolerance,
        device=predictor.device,
        patch=predictor.patch,
    )
    epochs = trained.epochs()
    written: list[dict[str, Any]] = [
        {**each, "epoch": int(each["epoch"]), "steps": [], "validation": [], "picture": None} for each in epochs
    ]
    written[-1] |= {"validation": found.rows, "picture": found.example.picture}
    run.write_progress(record["signature"], {}, written)
    # By what it had where it was trained convergence is judged; by the files it is known again.
    run.finish(record | {"tested": {"epochs": epochs, "files": record["files"]}}, trained.network())
