"""The campaign: every subject for its share of the minutes; prints counts, and each input that went wrong.

`make fuzz` takes two minutes, `make fuzz MINUTES=120` a night, `make fuzz INPUTS=1700` 10,000 inputs.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from fuzz.harness import OUTCOMES, Tally, outcomes

FOLDER = Path(__file__).parent
SUBJECTS = sorted(
    path.stem for path in FOLDER.glob("*.py") if "\ndef attempt(" in path.read_text(encoding="utf-8")
)
SHOWN = 3  # inputs of a subject that went wrong, shown in full


def main() -> int:
    """Run it; 1 where an input ended in anything but a result or a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--minutes", type=float, default=2.0, help="of all subjects together")
    size.add_argument("--inputs", type=int, help="of each subject, however long they take")
    parser.add_argument("--seed", type=int, default=0, help="of every draw; another one gives other inputs")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="a subject; more than one may be named")
    parser.add_argument("--replay", metavar="SUBJECT:NUMBER", help="one input again, with its traceback")
    given = parser.parse_args()
    if given.replay:
        return _replay(given.replay, given.seed)
    chosen = given.only or SUBJECTS
    wrong = 0
    print(f"{'subject':16}" + "".join(f"{kind:>14}" for kind in OUTCOMES), flush=True)
    for subject in chosen:
        tally = Tally()
        seconds = 60 * given.minutes / len(chosen) if given.inputs is None else None
        for outcome in outcomes(subject, given.seed, most=given.inputs, seconds=seconds):
            tally.add(outcome)
        print(f"{subject:16}" + "".join(f"{tally.counts[kind]:14}" for kind in OUTCOMES), flush=True)
        for outcome in tally.bad[:SHOWN]:
            print(f"\n{outcome.kind}: --seed {given.seed} --replay {subject}:{outcome.number}\n{outcome.detail}")
        wrong += len(tally.bad)
    return 1 if wrong else 0


def _replay(name: str, seed: int) -> int:
    subject, _, number = name.partition(":")
    (outcome,) = outcomes(subject, seed, first=int(number), most=1)
    print(f"{outcome.kind}\n{outcome.detail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
