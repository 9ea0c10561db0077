"""Links of the Markdown pages lead somewhere; what `make docs` does not see itself."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for folder in ("", "docs", "benchmarks", "studies")
    for page in (ROOT / folder).glob("**/*.md" if folder else "*.md")
    if "generated" not in page.parts
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        place = target.partition("#")[0]
        if not place or ":" in place or place.startswith("/generated/"):
            continue
        assert (page.parent / place).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["tutorials/own-loop", "howto/monai", "howto/lightning", "howto/add-a-loss"])
def test_the_python_of_a_page_runs(name):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    exec(compile(code, name, "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", [page for page in PAGES if "docs" in page.parts], ids=lambda page: page.stem)
def test_code_fits_the_column_of_the_site(page):
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        assert not inside or line.startswith(":alt:") or len(line) <= 92, line
