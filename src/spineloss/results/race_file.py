"""The file of a race in a study's folder: who races, in which rounds, by which rules, and who was dropped."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic's, before Python 3.12

from spineloss.errors import UserError
from spineloss.files import read_json, write_json


class RaceFile(TypedDict):
    """What `race.json` holds: who starts, the (repeat, fold) of each round, the rules; who left in which round.

    The last is for reading alone: it is recomputed from the runs, and written again.
    """

    methods: list[str]
    rounds: list[tuple[int, int]]
    level: float
    margin: float
    dropped: dict[str, int]


RACE = TypeAdapter(RaceFile)


def read_race_file(folder: Path) -> RaceFile | None:
    """What `race.json` of a study holds, or none where no race was run there.

    Raises:
        UserError: it is damaged.
    """
    path = folder / "race.json"
    if not path.exists():
        return None
    try:
        return RACE.validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is damaged: delete it, and `spineloss study race` writes it again.") from error


def write_race_file(folder: Path, content: RaceFile) -> None:
    """Write `race.json`."""
    write_json(folder / "race.json", content)


def dropped_methods(folder: Path) -> dict[str, int]:
    """The methods that a race has dropped, as far as its file says, and the round after which."""
    found = read_race_file(folder)
    return found["dropped"] if found else {}
