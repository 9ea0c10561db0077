"""The report in a real browser: Debian's chromium, headless."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox"]
BRIGHTNESS = (
    "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0)"
)


@pytest.fixture(scope="module")
def page(reported):
    """The report, opened; `page.complaints` gathers console errors and requests to a network."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WEBGL)
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.complaints = []
        opened.on("console", lambda line: opened.complaints.append(line.text) if line.type == "error" else None)
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:", "blob:"))
                else opened.complaints.append(request.url)
            ),
        )
        opened.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
        opened.goto(f"file://{reported / 'report.html'}")
        yield opened
        browser.close()


def methods(page):
    return page.locator("#table table").first.locator("tbody th").all_text_contents()


def test_it_opens_without_a_complaint_and_asks_no_network(page):
    page.wait_for_load_state()
    assert page.complaints == []


def test_hostile_names_are_shown(page, hostile):
    assert [name.strip() for name in methods(page)] == ["dice", "adaptive", *(name.strip() for name in hostile)]


def test_the_table_sorts(page):
    values = "row => Number(row.cells[2].dataset.value)"
    page.get_by_role("button", name="Dice", exact=True).click()
    down = page.locator("#table table").first.locator("tbody tr").evaluate_all(f"rows => rows.map({values})")
    assert down == sorted(down, reverse=True)
    page.get_by_role("button", name="Dice", exact=True).click()
    up = page.locator("#table table").first.locator("tbody tr").evaluate_all(f"rows => rows.map({values})")
    assert up == sorted(up)
    assert page.locator("#table th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_metrics_and_curves_switch(page):
    page.locator('select[data-shows="distribution"]').select_option("hd95")
    assert page.locator('[data-distribution="hd95"]').is_visible()
    assert not page.locator('[data-distribution="dice"]').is_visible()
    page.locator('select[data-shows="curve"]').select_option("train_loss")
    assert page.locator('[data-curve="train_loss"]').is_visible()
    page.locator('select[data-shows="distribution"]').select_option("dice")


def test_a_case_is_followed(page):
    page.locator("#distribution-dice-case-0-0").hover()
    assert page.locator("#case-choice").input_value() == "0"
    assert page.locator("#distribution-dice-line-0.chosen").count() == 1
    page.locator("#case-choice").select_option("case-3")
    assert page.locator("#distribution-dice-line-3.chosen, #distribution-dice-line-0.chosen").count() == 1


def test_the_3d_view_draws_pixels_and_switches(page):
    page.locator("#space").scroll_into_view_if_needed()
    page.wait_for_selector("canvas[data-ready=yes]", timeout=60_000)
    mask = pixels(page)
    assert len(np.unique(mask.reshape(-1, 3), axis=0)) > 50
    page.locator("#scene-layer").select_option("surface")
    page.wait_for_function("document.getElementById('scene-note').textContent.includes('distance')")
    surface = pixels(page)
    assert (surface != mask).any()
    # A thin surface on a faint image, and nothing over it all.
    assert (surface.max(axis=-1) < 128).mean() > 0.5
    page.locator("#scene").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    turned = pixels(page)
    assert (turned != surface).any()
    page.keyboard.press("PageUp")
    assert (pixels(page) != turned).any()
    assert page.complaints == []


def pixels(page):
    page.wait_for_timeout(500)
    return np.array(Image.open(io.BytesIO(page.locator("#scene").screenshot())).convert("RGB"))


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_is_no_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_dark_page_prints_light_and_whole(page):
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 between the margins
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate(BRIGHTNESS) < 100
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(BRIGHTNESS) == 3 * 255
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_keyboard_reaches_the_answer_and_sorts(page):
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#table th button").nth(3).focus()
    page.keyboard.press("Enter")
    assert page.locator("#table th").nth(3).get_attribute("aria-sort") == "descending"
