"""Run the linter on our losses, MONAI's and torch's; write into docs/reference/linter.md, below its words.

python benchmarks/linter.py
"""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from spineloss.lossbook.checks import CHECKS, Outcome
from spineloss.lossbook.linter import Finding, lint
from spineloss.losses import LOSSES
from spineloss.text import parse

PAGE = Path(__file__).parents[1] / "docs" / "linter.md"
BEGIN = "<!-- From here on written by benchmarks/linter.py -->\n"
MARKS = {Outcome.PASS: "✓", Outcome.NOTE: "note", Outcome.FAIL: "**fail**", Outcome.SKIPPED: "–"}

OURS = [*LOSSES, "dice(over=batch)", "0.8*dice + 0.2*boundary", "0.7*dice + 0.3*hausdorff"]
# Those of independent channels; their Hausdorff losses leave out the first channel unless told.
MONAI = [
    "monai.losses.FocalLoss",
    "monai.losses.DiceLoss(sigmoid=true)",
    "monai.losses.DiceLoss(sigmoid=true, batch=true)",
    "monai.losses.GeneralizedDiceLoss(sigmoid=true)",
    "monai.losses.TverskyLoss(sigmoid=true)",
    "monai.losses.MCCLoss(sigmoid=true)",
    "monai.losses.BoundaryLoss(sigmoid=true)",
    "monai.losses.HausdorffDTLoss(sigmoid=true, include_background=true)",
    "monai.losses.LogHausdorffDTLoss(sigmoid=true, include_background=true)",
    "monai.losses.DiceCELoss(sigmoid=true)",
    "monai.losses.DiceFocalLoss(sigmoid=true)",
    "monai.losses.GeneralizedDiceFocalLoss(sigmoid=true)",
    "monai.losses.SoftclDiceLoss(sigmoid=true)",
    "monai.losses.SoftDiceclDiceLoss(sigmoid=true)",
]
TORCH = ["torch.nn.BCEWithLogitsLoss"]


def main() -> None:
    found = {spec: list(lint(parse(spec))) for spec in [*OURS, *MONAI, *TORCH]}
    words = PAGE.read_text(encoding="utf-8").split(BEGIN)[0]
    PAGE.write_text(words + BEGIN + "\n".join(sections(found)) + "\n", encoding="utf-8")


def sections(found: dict[str, list[Finding]]) -> Iterator[str]:
    yield f"With torch {version('torch')} and MONAI {version('monai')}.\n"
    yield "## The checks\n"
    yield from row("", "check", "meaning")
    yield from row("---:", "---", "---")
    for number, check in enumerate(CHECKS, 1):
        yield from row(str(number), check.name, check.meaning)
    yield "\n## Which loss passes which check\n"
    yield from row("loss", *(str(number) for number in range(1, len(CHECKS) + 1)))
    yield from row("---", *(":---:" for _ in CHECKS))
    for spec, findings in found.items():
        yield from row(short(spec), *(MARKS[finding.outcome] for finding in findings))
    yield "\n## What failed\n"
    yield from row("loss", "check", "what was seen", "smallest input")
    yield from row("---", "---", "---", "---")
    for spec, findings in found.items():
        for finding in findings:
            if finding.outcome is Outcome.FAIL:
                shape = str(tuple(finding.given.logits.shape))
                yield from row(short(spec), finding.check.name, finding.detail.replace("|", r"\|"), shape)


def row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"


def short(spec: str) -> str:
    return f"`{spec.replace('monai.losses.', 'monai.')}`"


if __name__ == "__main__":
    main()
