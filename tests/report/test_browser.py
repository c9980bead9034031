"""The page in a browser: what is clicked, dragged and typed does what it says, as wide as a desk or a telephone."""

import dataclasses
import re

import numpy as np
import pytest

from mtl_tf.report.document import Answer, Cell, Chart, DataTable, Document, Figure, Line, Picture, write_document
from mtl_tf.tasks import Depth, Segmentation
from tests.report.browser import browsing, find, load, luminance, named, needed, pixel, redrawing, resize, texts

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = needed

HEIGHT, WIDTH = 24, 48
TASKS = (
    Segmentation(("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180))),
    Depth(1.0, 80.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5),
)
LONG = "a run with a rather long name: joint, ResNet50, squeeze and excitation, seed "


def sample():
    """A page with everything on it: a wide table, three runs' curves, two pictures."""
    values = (3.0, None, -20.0, 100.0)
    rows = tuple(
        (Cell(f"{LONG}{i}"), Cell("–" if value is None else f"{value:g}", value), *(Cell("12.34 ± 0.56", 1.0),) * 9)
        for i, value in enumerate(values)
    )
    heads = ("row", "total", *(f"SI-logRMSE, published {i}" for i in range(9)))
    table = DataTable("T1", "Table 1", heads, rows, ("The ordering holds here.",), "A note.")
    lines = tuple(
        Line(
            f"run {i}",
            {
                "step": [(s, 2.0 + i + 100 / s) for s in range(10, 210, 10)],
                "epoch": [(e, i + 1.0) for e in range(1, 4)],
            },
        )
        for i in range(3)
    )
    figure = Figure("F1", "Figure 1", (Chart("Loss", lines, log=True), Chart("Score", lines[:2])))
    labels = np.zeros((HEIGHT, WIDTH), int)
    labels[:, WIDTH // 2 :] = 1
    labels[:4] = 255
    depth = np.tile(np.linspace(2, 60, WIDTH), (HEIGHT, 1))
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    answers = tuple(
        Answer(
            f"run {i}",
            {"semseg": np.full_like(labels, i % 3), "depth": depth * (1 + i)} if i < 3 else {"depth": depth},
            {"semseg.miou": 30.0 + i, "depth.rmse": 3.0 - i} if i < 3 else {"depth.rmse": 9.0},
        )
        for i in range(4)
    )
    truth = {"semseg": labels, "depth": depth}
    pictures = tuple(Picture(f"image-{rank}", rank, image, truth, answers) for rank in ("worst", "best"))
    sections = (("Flags", "--option=value " * 40),)
    return Document("Study", ("2 runs",), (table,), (figure,), pictures, TASKS, sections)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with browsing(folder) as browser:
        browser.path = write_document(folder / "study.html", sample())
        yield browser


@pytest.fixture
def page(driver):
    """The page, fresh; the test fails if the page has complained."""
    load(driver, driver.path)
    yield driver
    assert driver.get_log("browser") == []


# === Tables ===


def test_heads_sort_by_value_with_missing_last(page):
    head = find(page, "#T1 ~ .scroll thead th", 1)
    column = "#T1 ~ .scroll tbody td:nth-child(2)"
    original = ["3", "–", "-20", "100"]
    assert texts(page, column) == original
    for order, expected in (
        ("ascending", ["-20", "3", "100", "–"]),
        ("descending", ["100", "3", "-20", "–"]),
        ("none", original),
    ):
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == order
        assert texts(page, column) == expected


def test_heads_sort_with_the_keyboard(page):
    buttons = page.find_elements(By.CSS_SELECTOR, "#T1 ~ .scroll thead button")
    buttons[1].send_keys(Keys.ENTER)
    buttons[0].send_keys(Keys.SPACE)
    buttons[0].send_keys(Keys.SPACE)
    states = [head.get_attribute("aria-sort") for head in page.find_elements(By.CSS_SELECTOR, "#T1 ~ .scroll thead th")]
    assert states[:2] == ["descending", "none"]
    assert [text[-1] for text in texts(page, "#T1 ~ .scroll tbody th")] == ["3", "2", "1", "0"]
    assert texts(page, ".verdict") == ["The ordering holds here."]


# === Charts ===


def test_legend_hides_a_run_in_every_chart(page):
    first, second = page.find_elements(By.CSS_SELECTOR, ".chart")
    assert len(first.find_elements(By.CSS_SELECTOR, ".line")) == 3
    colours = {
        line.get_attribute("data-label"): line.get_attribute("stroke")
        for line in second.find_elements(By.CSS_SELECTOR, ".line")
    }
    assert len(set(colours.values())) == 2
    for line in first.find_elements(By.CSS_SELECTOR, ".line")[:2]:
        assert colours[line.get_attribute("data-label")] == line.get_attribute("stroke")
    button = first.find_element(By.CSS_SELECTOR, ".legend button")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert second.find_element(By.CSS_SELECTOR, ".legend button").get_attribute("aria-pressed") == "false"
    assert [len(c.find_elements(By.CSS_SELECTOR, ".line")) for c in (first, second)] == [2, 1]
    button.send_keys(Keys.SPACE)
    assert [len(c.find_elements(By.CSS_SELECTOR, ".line")) for c in (first, second)] == [3, 2]


def test_axes(page):
    chart = find(page, ".chart")

    def axis_name():
        return chart.find_elements(By.CSS_SELECTOR, "text.y")[-1].text

    def path():
        return chart.find_element(By.CSS_SELECTOR, ".line").get_attribute("d")

    assert axis_name() == "step"
    assert named(chart, ".scale button", "log").get_attribute("aria-pressed") == "true"
    logarithmic = path()
    named(chart, ".scale button", "linear").click()
    assert path() != logarithmic
    assert named(chart, ".scale button", "log").get_attribute("aria-pressed") == "false"
    named(page, ".axis button", "epoch").click()
    assert axis_name() == "epoch"
    assert texts(chart, ".legend b") == ["1", "2", "3"]
    assert path().count("L") == 2


def test_pointing_tells_all_values(page):
    chart = find(page, ".chart")
    svg, tip = chart.find_element(By.TAG_NAME, "svg"), chart.find_element(By.CSS_SELECTOR, ".tip")
    assert not tip.is_displayed()
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    ActionChains(page).move_to_element_with_offset(svg, svg.size["width"] // 2 - 14, 0).perform()
    # Left of the right end, by two pixels: the last step is the nearest. The largest value comes first.
    assert tip.text.split("\n") == ["step 200", "run 2", "4.5", "run 1", "3.5", "run 0", "2.5"]
    page.execute_script("arguments[0].focus()", svg)
    ActionChains(page).send_keys(Keys.ARROW_LEFT).perform()
    assert tip.text.startswith("step 190")


@pytest.mark.parametrize(
    "ys", [[5.0], [5.0, 5.0], [0.0, 0.0], [-1e9, 1e9], [1e-30, 1e30], [1.0, 1.0001], [0.0, 1.0], [None], []]
)
def test_any_values_can_be_drawn(driver, tmp_path, ys):
    line = Line("a", {"epoch": list(enumerate(ys)), "step": []})
    charts = tuple(Chart("c", (line,), log=log, zero=zero) for log in (False, True) for zero in (False, True))
    load(driver, write_document(tmp_path / "page.html", Document("d", (), figures=(Figure("f", "f", charts),))))
    drawing = "".join(driver.execute_script("return arguments[0].innerHTML", svg) for svg in plots(driver))
    assert not re.search("NaN|Infinity|undefined", drawing)
    assert len(plots(driver)) == 4
    assert drawing.count('class="line"') == (4 if any(y is not None for y in ys) else 0)
    assert driver.get_log("browser") == []


def plots(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".plot > svg")


# === Gallery ===


def test_slider_uncovers_the_truth(page):
    def covered():
        over = find(page, "[data-task=semseg] .compare canvas", 1)
        return over.value_of_css_property("clip-path")

    slider = find(page, "[data-task=semseg] input[type=range]")
    assert covered() == "inset(0px 0px 0px 50%)"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert covered() == "inset(0px 0px 0px 51%)"
    slider.send_keys(Keys.END)
    assert covered() == "inset(0px 0px 0px 100%)"
    stack = find(page, "[data-task=semseg] .compare .stack")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stack)
    quarter = -stack.size["width"] // 4
    ActionChains(page).move_to_element(stack).click_and_hold().move_by_offset(quarter, 0).release().perform()
    assert slider.get_attribute("value") == "25"


def test_class_chips_show_and_hide(page):
    canvas = "[data-task=semseg] .compare canvas"
    grey = [200] * 3
    road = [round(0.7 * c + 0.3 * 200) for c in (128, 64, 128)]
    assert pixel(page, canvas, 2, 10) == pytest.approx(road, abs=1)
    unlabelled = pixel(page, canvas, 2, 1)
    assert unlabelled in ([226] * 3, [190] * 3)
    chip = named(page, ".chips button", "road")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    assert pixel(page, canvas, 2, 10) == grey
    assert pixel(page, canvas, 40, 10) != grey
    named(page, ".chips button", "None").click()
    assert pixel(page, canvas, 40, 10) == grey
    named(page, ".chips button", "All").click()
    assert pixel(page, canvas, 2, 10) == pytest.approx(road, abs=1)


def test_errors_of_both_tasks(page):
    # Run 0 says road everywhere and the true depth.
    assert pixel(page, "[data-task=semseg] .side canvas", 2, 10) == [44, 48, 58]
    assert pixel(page, "[data-task=semseg] .side canvas", 40, 10) == [230, 40, 40]
    assert "wrong pixels: 50.0 %" in find(page, "[data-task=semseg] .side").text
    assert pixel(page, "[data-task=depth] .side canvas", 20, 10) == [0x2C, 0x30, 0x3A]
    assert "mean 0.000" in find(page, "[data-task=depth] .side").text
    with redrawing(page):
        Select(find(page, ".controls select")).select_by_visible_text("run 1")
    assert pixel(page, "[data-task=depth] .side canvas", 20, 10) == [0xFF, 0xFB, 0xE0]  # wrong by a factor of two
    assert "mean 0.693" in find(page, "[data-task=depth] .side").text


def test_depth_tells_metres(page):
    with redrawing(page):
        Select(find(page, ".controls select")).select_by_visible_text("run 2")
    stack = find(page, "[data-task=depth] .compare .stack")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stack)
    ActionChains(page).move_to_element_with_offset(stack, 4 - stack.size["width"] // 2, 0).perform()
    assert find(page, "[data-task=depth] .readout").text == "truth 2 m, answer 6 m (×3.00)"
    ticks = texts(page, "[data-task=depth] .compare .bar span")
    assert (ticks[0], ticks[-1]) == ("2 m", "60 m")
    # Near is light, far is dark.
    near, far = (sum(pixel(page, "[data-task=depth] .compare canvas", x, 10)) for x in (0, WIDTH - 1))
    assert near > 600 > 100 > far


def test_run_without_a_task(page):
    with redrawing(page):
        named(page, ".viewer tbody th button", "run 3").click()
    assert Select(find(page, ".controls select")).first_selected_option.text == "run 3"
    assert find(page, "[data-task=semseg] .readout").text == "This run has no answer for this task."
    assert len(page.find_elements(By.CSS_SELECTOR, "[data-task=semseg] .compare canvas")) == 1
    assert len(page.find_elements(By.CSS_SELECTOR, "[data-task=depth] .compare canvas")) == 3  # with the bar


def test_scores_stay_sorted_from_picture_to_picture(page):
    rows = ".viewer tbody th"
    assert texts(page, rows) == ["run 0", "run 1", "run 2", "run 3"]
    named(page, ".viewer thead th", "RMSE \N{DOWNWARDS ARROW}").find_element(By.TAG_NAME, "button").click()
    assert texts(page, rows) == ["run 2", "run 1", "run 0", "run 3"]
    with redrawing(page):
        find(page, ".thumb", 1).click()
    assert [t.get_attribute("aria-pressed") for t in page.find_elements(By.CSS_SELECTOR, ".thumb")] == ["false", "true"]
    assert texts(page, rows) == ["run 2", "run 1", "run 0", "run 3"]
    assert find(page, ".viewer tr.chosen").text.startswith("run 0")


def test_all_runs_side_by_side(page):
    with redrawing(page):
        named(page, ".controls button", "All runs side by side").click()
    rows = page.find_elements(By.CSS_SELECTOR, ".viewer .row")
    assert len(rows) == 5  # the truth, and four runs
    assert [len(row.find_elements(By.TAG_NAME, "canvas")) for row in rows] == [2, 4, 4, 4, 2]
    assert "mIoU 31.00 %" in rows[2].text
    ActionChains(page).move_to_element(rows[2].find_elements(By.TAG_NAME, "canvas")[3]).perform()
    assert "(×2.00)" in rows[2].find_element(By.TAG_NAME, "output").text
    with redrawing(page):
        named(page, ".controls button", "One run").click()
    assert not page.find_elements(By.CSS_SELECTOR, ".viewer .row")


def test_the_run_with_the_most_tasks_is_shown_first(driver, tmp_path):
    whole = sample()
    picture = whole.pictures[0]
    picture = dataclasses.replace(picture, answers=picture.answers[::-1])  # run 3, of depth alone, is the first
    load(driver, write_document(tmp_path / "page.html", dataclasses.replace(whole, pictures=(picture,))))
    assert Select(find(driver, ".controls select")).first_selected_option.text == "run 2"
    assert texts(driver, ".viewer tbody th") == ["run 3", "run 2", "run 1", "run 0"]
    assert find(driver, ".viewer tr.chosen").text.startswith("run 2")
    assert len(driver.find_elements(By.CSS_SELECTOR, "[data-task=semseg] .compare canvas")) == 2


# === Layout ===


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out(page, width):
    resize(page, width)
    for view in ("All runs side by side", "One run"):
        with redrawing(page):
            named(page, ".controls button", view).click()
        content, room = page.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert content == room
        assert width - 20 <= room <= width  # but for a scroll bar
    # Wide tables and long lines scroll in boxes of their own.
    box = find(page, ".scroll")
    assert page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)


@pytest.mark.parametrize(
    ("theme", "medium", "dark"), [("light", "", False), ("dark", "", True), ("dark", "print", False)]
)
def test_the_page_is_as_dark_as_is_asked_for(page, theme, medium, dark):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
    try:
        paper, ink = (luminance(find(page, "body").value_of_css_property(f)) for f in ("background-color", "color"))
        assert (paper < ink) == dark
        words = [".lead", ".legend li", ".readout", ".task h3", ".bar span", ".segments button", ".chips button", "th"]
        for selector in words:
            found = luminance(find(page, selector).value_of_css_property("color"))
            # WCAG asks for 4.5 where text is small.
            pressed = find(page, selector).get_attribute("aria-pressed") == "true" and "segments" in selector
            under = luminance(find(page, selector).value_of_css_property("background-color")) if pressed else paper
            low, high = sorted((found, under))
            assert (high + 0.05) / (low + 0.05) > 4.5, selector
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_page_without_gallery(driver, tmp_path):
    load(driver, write_document(tmp_path / "plain.html", Document("plain", ("a fact",), sample().tables)))
    assert len(driver.find_elements(By.CSS_SELECTOR, "thead button")) == 11
    assert driver.get_log("browser") == []


@pytest.mark.parametrize(
    "name",
    [
        '</script><img class=smuggled src=x onerror="window.hacked=1"><b class=smuggled>',
        '"><svg class=smuggled onload="window.hacked=1">',
        "' onmouseover='window.hacked=1' class='smuggled",
        "javascript:window.hacked=1",
        "../../etc/passwd",
        "{{ 7 * 7 }} ${7 * 7} %s &lt;b class=smuggled&gt;",
        "two\nlines \u202e and more" + "x" * 3000,
    ],
)
def test_names_from_data_are_shown_and_nothing_else(driver, tmp_path, name):
    """Samples, classes, runs and experiments are called by others; on a page their names are text."""
    labels = np.zeros((HEIGHT, WIDTH), int)
    tasks = (Segmentation((name, "car"), ((128, 64, 128), (0, 0, 142))), TASKS[1])
    answers = tuple(Answer(label, {"semseg": labels}, {"semseg.miou": 30.0}) for label in (name, "b"))
    picture = Picture(name, "worst", np.zeros((HEIGHT, WIDTH, 3), np.uint8), {"semseg": labels}, answers)
    line = Line(name, {"step": [(1, 2.0), (2, 1.0)], "epoch": [(1, 1.0)]})
    table = DataTable(name, name, (name, "a"), ((Cell(name), Cell("1", 1.0)),) * 2, (name,), name)
    figure = Figure(f"{name}2", name, (Chart(name, (line,), name),), name)
    load(
        driver, write_document(tmp_path / "page.html", Document(name, (name,), (table,), (figure,), (picture,), tasks))
    )
    driver.find_element(By.CSS_SELECTOR, "table.sortable thead button").click()
    with redrawing(driver):
        named(driver, ".controls button", "All runs side by side").click()
    assert driver.execute_script("return [window.hacked, document.querySelectorAll('.smuggled').length]") == [None, 0]
    shown = driver.execute_script("return document.body.textContent")
    assert shown.count(name) > 10
    assert len(driver.find_elements(By.TAG_NAME, "script")) == 2
    assert driver.get_log("browser") == []


def test_a_smuggled_script_does_not_run(driver, tmp_path):
    """The policy of the page lets none but its own script run, even where an escape is missed."""
    path = write_document(tmp_path / "page.html", Document("UNSAFE", ()))
    path.write_text(
        path.read_text(encoding="utf-8").replace("UNSAFE</h1>", "</h1><script>document.title = 'run'</script>")
    )
    load(driver, path)
    assert driver.title == "UNSAFE"
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))
