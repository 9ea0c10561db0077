"""Run the linter on our losses and those of other packages; write into docs/reference/linter.md, below its words.

.venv/bin/python benchmarks/linter.py

Those of segmentation-models-pytorch are left out where it is not installed.
"""

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from spineloss.lossbook.judging import Outcome
from spineloss.lossbook.linter import CHECKS, Finding, lint
from spineloss.losses import LOSSES
from spineloss.text import parse

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "linter.md"
BEGIN = "<!-- From here on written by benchmarks/linter.py -->\n"
MARKS = {Outcome.PASS: "✓", Outcome.NOTE: "○", Outcome.FAIL: "**✗**", Outcome.SKIPPED: "–"}

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
    "monai.losses.DiceLoss(sigmoid=true, squared_pred=true)",
    "monai.losses.AsymmetricUnifiedFocalLoss",
]
TORCH = ["torch.nn.BCEWithLogitsLoss"]
SMP = [  # those that are given logits
    "segmentation_models_pytorch.losses.DiceLoss(mode=multilabel)",
    "segmentation_models_pytorch.losses.JaccardLoss(mode=multilabel)",
    "segmentation_models_pytorch.losses.TverskyLoss(mode=multilabel)",
    "segmentation_models_pytorch.losses.FocalLoss(mode=multilabel)",
    "segmentation_models_pytorch.losses.LovaszLoss(mode=binary)",
    "segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss",
]


def main() -> None:
    others = SMP if find_spec("segmentation_models_pytorch") else []
    found = {spec: list(lint(parse(spec))) for spec in [*OURS, *MONAI, *TORCH, *others]}
    words = PAGE.read_text(encoding="utf-8").split(BEGIN)[0]
    PAGE.write_text(words + BEGIN + "\n".join(sections(found)) + "\n", encoding="utf-8")


def sections(found: dict[str, list[Finding]]) -> Iterator[str]:
    packages = ["torch", "monai", *(["segmentation_models_pytorch"] if any(spec in found for spec in SMP) else [])]
    yield f"With {', '.join(f'{package} {version(package)}' for package in packages)}.\n"
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
                yield from row(short(spec), finding.check.name, seen(finding.detail), shape)


def row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"


def seen(detail: str) -> str:
    """Of what PyTorch raises the first sentence: the second is advice to who wrote the loss."""
    return detail.split(". ")[0].replace("|", r"\|")


def short(spec: str) -> str:
    return f"`{spec.replace('monai.losses.', 'monai.').replace('segmentation_models_pytorch.losses.', 'smp.')}`"


if __name__ == "__main__":
    main()
