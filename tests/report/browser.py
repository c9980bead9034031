"""A browser for the pages, and what is done and seen in it."""

import contextlib
import pathlib
import re
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PROGRAMS = [shutil.which(name) for name in ("chromium", "chromedriver")]
needed = pytest.mark.skipif(None in PROGRAMS, reason="chromium and chromedriver are not installed")


@contextlib.contextmanager
def browsing(folder: pathlib.Path):
    """A browser whose profile stands in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAMS[0]
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={folder / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(PROGRAMS[1]))
    try:
        yield browser
    finally:
        browser.quit()


def load(browser, path: pathlib.Path, width=1280):
    resize(browser, width)
    browser.get(path.as_uri())
    drawn(browser)


def resize(browser, width):
    """A window of any width; a real one is at least 500 pixels wide."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def drawn(browser):
    """Waits until the gallery shows what it was told last."""
    script = "const v = document.querySelector('.viewer'); return !v || v.dataset.drawn !== undefined"
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(script))


@contextlib.contextmanager
def redrawing(browser):
    """What is done inside makes the gallery draw itself anew; waits for it."""
    browser.execute_script("delete document.querySelector('.viewer').dataset.drawn")
    yield
    drawn(browser)


def find(browser, selector, number=0):
    return browser.find_elements(By.CSS_SELECTOR, selector)[number]


def named(browser, selector, text):
    return next(found for found in browser.find_elements(By.CSS_SELECTOR, selector) if found.text.strip() == text)


def texts(browser, selector):
    return [found.text.strip() for found in browser.find_elements(By.CSS_SELECTOR, selector)]


def pixel(browser, selector, x, y):
    """RGB of a canvas, read from a copy: the browser warns of reading one that is only meant to be seen."""
    canvas = find(browser, selector)
    script = """
        const [canvas, x, y] = arguments;
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        return [...context.getImageData(x, y, 1, 1).data];
    """
    return browser.execute_script(script, canvas, x, y)[:3]


def luminance(colour):
    """Of "rgb(...)", as WCAG has it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def point(browser, selector, x, y, size):
    """Moves the pointer to a pixel of a map of a size (height, width) that an element shows."""
    shown = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", shown)
    # Offsets are from the middle, and whole.
    across, down = (
        int((place + 0.5) * shown.size[side] / count - shown.size[side] / 2)
        for place, count, side in ((x, size[1], "width"), (y, size[0], "height"))
    )
    ActionChains(browser).move_to_element_with_offset(shown, across, down).perform()
