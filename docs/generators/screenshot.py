"""A report's first screen by day and by night: `python docs/generators/screenshot.py report.html folder`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(page: Path, folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for shade in ("light", "dark"):
            opened = browser.new_page(viewport={"width": 1200, "height": 1050}, color_scheme=shade)
            opened.goto(page.resolve().as_uri())
            opened.wait_for_load_state("networkidle")
            opened.screenshot(path=folder / f"report-{shade}.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
