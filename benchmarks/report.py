"""How large a report is, and how long a browser takes to open it: python benchmarks/report.py study/report.html"""

import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
TIMES = 5


def main(page: Path) -> None:
    print(f"{page.stat().st_size / 1e6:.1f} MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        seconds = []
        for _ in range(TIMES):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(page.resolve().as_uri())
            tab.wait_for_function(f"{OPENED} > 0")
            seconds.append(tab.evaluate(OPENED) / 1000)
            tab.close()
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    print(f"opened in {statistics.median(seconds):.2f} s (median of {TIMES}, {spread})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
