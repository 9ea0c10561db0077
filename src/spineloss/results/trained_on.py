"""What the runs of a study were trained on, in words where it was not the same throughout."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spineloss.results.study_folder import finished_runs

NAMED = 3  # resumed runs that are named


def hardware_in_words(folder: Path) -> list[str]:
    """Sentences on runs that were trained on different hardware, or resumed on other; none where all are alike.

    Raises:
        UserError: no study is there, or the record of a run is damaged.
    """
    found = [record for _, record in finished_runs(folder)]
    kinds = Counter(kind for record in found for kind in {_kind(part) for part in _parts(record)})
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{kind} ({number} run{'s' * (number > 1)})" for kind, number in kinds.most_common())
    sentences = [
        f"Not all runs were trained on the same hardware, so their last digits are not comparable: {listed}."
    ]
    resumed = [
        f"{record['method']} fold {record['fold']} from epoch {part['from_epoch']}"
        for record in found
        for part in _parts(record)[1:]
    ]
    if resumed:
        more = f" and {len(resumed) - NAMED} more" if len(resumed) > NAMED else ""
        sentences.append(f"Resumed on other hardware or versions: {', '.join(resumed[:NAMED])}{more}.")
    return sentences


def _parts(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Runs that were finished before parts were recorded have one."""
    return record.get("hardware") or [{"from_epoch": 1, **record}]


def _kind(part: Mapping[str, Any]) -> str:
    threads = part.get("threads")
    details = [part.get("precision"), threads and f"{threads} thread{'s' * (threads > 1)}"]
    torch = part.get("versions", {}).get("torch")
    return ", ".join(str(each) for each in [part.get("device"), *details, torch and f"torch {torch}"] if each)
