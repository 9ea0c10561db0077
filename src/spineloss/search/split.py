"""Which cases a search may look at, and which are left for the final comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from spineloss.data import dataset, folds
from spineloss.data.cache import Cache
from spineloss.data.dataset import Dataset
from spineloss.errors import UserError
from spineloss.files import read_json, write_json

THIRDS, QUARTERS = 3, 4


@dataclass(frozen=True)
class Split:
    """Case ids: to train on and to score by while searching, and those that no search sees."""

    training: list[str]
    validation: list[str]
    held_out: list[str]


def write_split(folder: Path, seed: int, cases: Split) -> None:
    """Write `split.json`, which says what a search sees; it is the same whenever the search goes on.

    Raises:
        UserError: the folder's search was begun with another division, as before a case was added or patients
            were named.
    """
    path, plain = folder / "split.json", {"seed": seed} | asdict(cases)
    before = read_json(path) if path.exists() else {}
    # One of another seed is of no search that has begun: that refuses other settings itself.
    if before.get("seed") == seed and before != plain:
        raise UserError(
            f"{path} divides the cases otherwise than it would now, as where a case or a patient was added: "
            "choose another folder."
        )
    write_json(path, plain)


def hold_out(cases: Sequence[str], seed: int, groups: Mapping[str, str] | None = None) -> Split:
    """A third of the cases held out, a quarter of the others to score by.

    Args:
        cases: case ids, in any order.
        seed: of the shuffle; a study of three folds with the same seed has the held-out third as its first fold.
        groups: from case to patient, who is in one part alone; each case is a patient of its own by default.

    Raises:
        UserError: too few cases.

    >>> [len(part) for part in vars(hold_out([f"case-{i}" for i in range(30)], seed=21)).values()]
    [15, 5, 10]
    """
    held_out = folds.split(cases, THIRDS, seed, groups)[0]
    seen = sorted(set(cases) - set(held_out))
    validation = folds.split(seen, QUARTERS, seed, groups)[0]
    return Split([case for case in seen if case not in validation], validation, held_out)


def prepare_search(
    source: Path, grid: tuple[int, int, int], seed: int, *, cache: Cache | None, progress: Callable[[str], None]
) -> tuple[Dataset, Split]:
    """The cases of a folder, all labels merged, and their split.

    Args:
        source: folder of volumes, or a CSV manifest.
        grid: (Z, Y, X) voxels.
        seed: of the shuffle.
        cache: of prepared cases; the user's if none is given.
        progress: called with a line about what is being done.

    Raises:
        UserError: the data has problems or too few cases, or is annotated in part.
    """
    data = dataset.prepare(
        source,
        grid=grid,
        labels="all",
        target="merged",
        leave_out=(),
        cache=cache or Cache(),
        progress=progress,
    )
    if data.labelling.ignore is not None:
        raise UserError(
            f"{source} has voxels that nobody annotated (label {data.labelling.ignore}), and a search learns from "
            "whole masks: leave those cases out of a folder of its own."
        )
    return data, hold_out(list(data.samples), seed, data.groups)
