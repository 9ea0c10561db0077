"""A study's networks scored on another data set: what holds there of what the study found."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from spineloss.data.cache import Cache
from spineloss.data.cases import Labels
from spineloss.data.dataset import Dataset
from spineloss.data.labelling import Labelling
from spineloss.data.layouts import find_cases
from spineloss.errors import UserError
from spineloss.files import read_json, write_json, write_text
from spineloss.results.run_folder import Run
from spineloss.results.study_folder import finished_runs, study_file, write_folds
from spineloss.results.table import write_table
from spineloss.study.learned_files import keep_learned
from spineloss.study.prediction import Predictor
from spineloss.study.preparation import prepare_study
from spineloss.study.settings import Study, load
from spineloss.study.yaml_text import yaml_text
from spineloss.training.steps import LossNotFinite
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
        labels: of the other data that are what the networks segment, in the order of their structures; those that
            the study was trained on if none.
        cache: of prepared cases; the user's by default.

    Raises:
        UserError: the study has no finished run, the data has problems or other labels, or the output is another
            study's folder.
    """
    study, runs = load(study_file(folder)), finished_runs(folder)
    if not runs:
        raise UserError(f"{folder} has no finished run yet: finish it with `spineloss study run`.")
    predictor, frame = Predictor([runs[0][0]]), runs[0][1]
    # The median is that of the data that the networks were trained on.
    tested = _tested(study, source, predictor, labels, frame.get("spacing") or study.spacing)
    data = prepare_study(tested, progress, cache, frame["orientation"], tested.labels)
    _refuse_other_outputs(folder, source, data, predictor)
    _begin(tested, folder, output, data, predictor.labelling)
    for trained, record in runs:
        run = Run.of(output, record["method"], record["fold"], record["repeat"])
        if run.record().get("tested", {}).get("files") != record["files"] or run.damage():
            progress(f"Testing {record['method']} fold {record['fold']} repeat {record['repeat']}")
            _test(trained, record, run, data, study)
    write_table(output)


def _tested(study: Study, source: Path, predictor: Predictor, labels: Sequence[int] | None, spacing: Any) -> Study:
    """The study's settings as they hold for the other data."""
    layout = find_cases(source)
    others = {"data": source, "labels": _labels(predictor.labelling, labels), "spacing": spacing}
    others |= {"leave_out": (), "held_out": None}
    if layout.labels != Labels():
        others["ignore"] = None  # what nobody annotated there is said there, and its numbers mean other things
    if set(predictor.channels) <= set(layout.channels):
        others["channels"] = tuple(predictor.channels)
    return study.model_copy(update=others)


def _labels(labelling: Labelling, labels: Sequence[int] | None) -> Literal["all"] | tuple[int, ...]:
    """Those of the other data, in the order of the networks' structures."""
    for label in labels or ():
        if labels.count(label) > 1:
            raise UserError(f"--labels names {label} twice: name each label once.")
    if labelling.kind != "regions":
        return tuple(labels or (label for structure in labelling.structures for label in structure.labels))
    if labels:
        raise UserError("The networks segment regions, and dataset.json says of which labels: leave --labels out.")
    return "all"


def _refuse_other_outputs(folder: Path, source: Path, data: Dataset, predictor: Predictor) -> None:
    """Refuse data with other structures or channels than the networks were trained on."""
    trained, there = predictor.labelling, data.labelling
    if trained.kind == "regions" and there.names != trained.names:
        raise UserError(
            f"{folder} was trained on the regions {', '.join(trained.names)}, and {source} has "
            f"{', '.join(there.names)}: list the same ones in its dataset.json, in the same order."
        )
    if there.outputs != trained.outputs:
        raise UserError(
            f"{folder} was trained on {len(trained.structures)} structures ({', '.join(trained.names)}): "
            f"name as many labels of {source}."
        )
    if len(data.channels) != len(predictor.channels):
        raise UserError(
            f"{source} has {len(data.channels)} channel(s) ({', '.join(data.channels)}), and the networks of "
            f"{folder} take {len(predictor.channels)} ({', '.join(predictor.channels)}): bring those."
        )


def _begin(study: Study, folder: Path, output: Path, data: Dataset, labelling: Labelling) -> None:
    """Write what the folder is, or refuse one that is anything else."""
    # The digest is of what the files hold, whichever of their labels the structures are scored against.
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
    kept = keep_learned(study, output)
    write_text(output / "study.yaml", yaml_text(kept.plain() | {"data": str(study.data.resolve())}))


def _test(trained: Run, record: dict[str, Any], run: Run, data: Dataset, study: Study) -> None:
    predictor = Predictor([trained])
    try:
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
    except LossNotFinite as error:
        raise UserError(f"{trained.folder}: {error}: leave that case out of the data.") from error
    epochs = trained.epochs()
    written: list[dict[str, Any]] = [
        {**each, "epoch": int(each["epoch"]), "steps": [], "validation": [], "picture": None} for each in epochs
    ]
    written[-1] |= {"validation": found.rows, "picture": found.example.picture}
    run.write_progress(record["signature"], {}, written)
    # By what it had where it was trained convergence is judged; by the files it is known again.
    run.finish(record | {"tested": {"epochs": epochs, "files": record["files"]}}, trained.network())
