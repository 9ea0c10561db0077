"""The files that a study's losses were learned into, kept with the study, so that its folder can be moved."""

from pathlib import Path

from spineloss.files import write_atomically
from spineloss.learned.meta_loss import MetaLoss
from spineloss.study.method import Method
from spineloss.study.settings import Study
from spineloss.text import parse

PLACE = Path("losses")


def keep_learned(study: Study, folder: Path) -> Study:
    """The same study, whose losses name copies of their files in its folder: `losses/sha256.0123456789abcdef`.

    Args:
        study: as its file has it.
        folder: the study's.

    Raises:
        UserError: a file cannot be copied.
    """
    methods = tuple(_with_copies(method, study.folder, folder) for method in study.methods)
    kept = study.model_copy(update={"methods": methods})
    kept._folder = folder
    return kept


def _with_copies(method: Method, source: Path, folder: Path) -> Method:
    phases = tuple(
        phase.model_copy(update={"loss": phase.loss and _kept(phase.loss, source, folder)})
        for phase in method.phases
    )
    return method.model_copy(update={"loss": _kept(method.loss, source, folder), "phases": phases})


def _kept(text: str, source: Path, folder: Path) -> str:
    loss = parse(text, source)
    learned = [part for part in loss.modules() if isinstance(part, MetaLoss) and part.file is not None]
    for part in learned:
        copy = PLACE / f"{part.digest}.safetensors"
        content = (source / part.file).read_bytes()
        if not (folder / copy).is_file() or (folder / copy).read_bytes() != content:
            write_atomically(folder / copy, lambda path, content=content: path.write_bytes(content))
        part.file = copy
    return str(loss) if learned else text
