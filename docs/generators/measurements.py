"""Measured results, written by benchmarks and studies beside themselves, as pages of the site."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
WITHDRAWN = "\n> Withdrawn:"
FOLDERS = {"benchmarks": ROOT / "benchmarks" / "results", "studies": ROOT / "studies" / "results"}
# A link to such a result, from wherever the page stands in the repository.
FOLDER = re.compile(r"\]\((?:\.\./)*(?:benchmarks|studies)/results/?\)")
LINK = re.compile(r"\]\((?:\.\./)*(benchmarks|studies)/results/([\w-]+)\.md")


def write(folder: Path) -> None:
    """A page for each result, and one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Measurements", "", "Each page says the command that makes it again.", ""]
    groups: dict[str, list[str]] = {}
    for kind, source in FOLDERS.items():
        for result in sorted(source.glob("*.md")):
            text = result.read_text(encoding="utf-8")
            (folder / f"{kind}-{result.name}").write_text(text, encoding="utf-8")
            group = f"{kind.capitalize()} withdrawn, for the record" if WITHDRAWN in text else kind.capitalize()
            groups.setdefault(group, []).append(f"{kind}-{result.stem}")
    for group in sorted(groups):
        lines += ["```{toctree}", ":maxdepth: 1", f":caption: {group}", *groups[group], "```", ""]
    (folder / "measurements.md").write_text("\n".join(lines), encoding="utf-8")


def point_into_the_site(app: Sphinx, page: str, content: list[str]) -> None:
    """Links to results lead to their pages here."""
    content[0] = FOLDER.sub("](/generated/measurements.md)", LINK.sub(r"](/generated/\1-\2.md", content[0]))
