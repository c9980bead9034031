"""Each kind of drawing in a browser: colours, words and errors are those that were worked out by hand."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mtl_tf import outlines, panoptic, pictures
from mtl_tf.report import embedding
from mtl_tf.report.document import Answer, Document, Picture, write_document
from mtl_tf.tasks import Depth, Instances, Segmentation
from tests.report.browser import browsing, find, load, named, needed, pixel, point, redrawing, texts
from tests.report.standins import Chances, Directions, Salience

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By

pytestmark = needed

SIZE = HEIGHT, WIDTH = 24, 48
TASKS = (
    Segmentation(("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180))),
    Depth(1.0, 80.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5),
    Directions(),
    Chances(),
)
CHECKERS = ([226] * 3, [190] * 3)
TO_CAMERA, TILTED = (0.0, 0.0, 1.0), (0.0, 0.6, 0.8)


def maps():
    """Truth and answer of each task; no pixel of the first four rows has a label, but for depth."""
    labels = np.zeros(SIZE, int)
    labels[:, WIDTH // 2 :] = 1
    labels[:4] = 255
    depth = np.tile(np.linspace(2, 60, WIDTH), (HEIGHT, 1))
    normals = np.tile(TO_CAMERA, (*SIZE, 1))
    normals[:4] = 0
    tilted = np.tile(TO_CAMERA, (*SIZE, 1))
    tilted[:, WIDTH // 2 :] = TILTED
    edges = np.tile(np.arange(WIDTH) < 12, (HEIGHT, 1)).astype(float)
    edges[:4] = np.nan
    sure = np.tile(np.select([np.arange(WIDTH) < end for end in (6, 12, 18)], [0.9, 0.2, 0.5]), (HEIGHT, 1))
    truth = {"semseg": labels, "depth": depth, "normals": normals, "edges": edges}
    answer = {"semseg": np.zeros(SIZE, int), "depth": 2 * depth, "normals": tilted, "edges": sure}
    return truth, answer


def board(tasks=TASKS):
    truth, answer = maps()
    image = np.full((*SIZE, 3), 200, np.uint8)
    scores = {"semseg.miou": 30.0, "depth.si_log_rmse": 20.0, "normals.mean_angle": 18.3, "edges.f_score": 50.0}
    answers = (Answer("all", answer, scores), Answer("depth alone", {"depth": truth["depth"]}, {}))
    shown = tuple(Picture(f"image-{rank}", rank, image, truth, answers) for rank in ("worst", "median", "best"))
    return Document("Four tasks", (), pictures=shown, tasks=tasks)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    with browsing(folder) as browser:
        browser.path = write_document(folder / "four.html", board())
        yield browser


@pytest.fixture
def page(driver):
    """The page, fresh; the test fails if the page has complained."""
    load(driver, driver.path)
    yield driver
    assert driver.get_log("browser") == []


def degrees(a, b):
    """The angle between two vectors as they come out of the bytes that they travel in."""
    a, b = (2 * np.rint(255 * (np.array(v) + 1) / 2) / 255 - 1 for v in (a, b))
    return float(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def rgb(colour):
    return [int(part) for part in colour]


# === Titles ===


def test_tasks_are_called_by_their_titles(page):
    headings = ["Segmentation", "Depth", "Surface normals", "Edges", "Scores of this image"]
    assert texts(page, ".task h3") == headings
    assert [find(page, f"[data-task={task.name}] input").get_attribute("aria-label") for task in TASKS] == [
        f"Edge between truth and answer, {title}" for title in headings[:4]
    ]
    assert texts(page, "[data-task=depth] .note") == ["On a log scale over the range of the true depth."]
    assert len(page.find_elements(By.CSS_SELECTOR, ".task .note")) == 1


# === Vectors ===


def test_directions_have_the_colours_of_their_axes(page):
    truth, answer = (f"[data-task=normals] .compare .stack canvas:nth-of-type({n})" for n in (1, 2))
    assert pixel(page, truth, 2, 10) == pixel(page, answer, 2, 10) == [128, 128, 255]
    assert pixel(page, truth, 40, 10) == [128, 128, 255]
    assert pixel(page, answer, 40, 10) == [128, 204, 230]
    assert pixel(page, truth, 2, 1) in CHECKERS


def test_the_error_of_directions_is_their_angle(page):
    angle = degrees(TO_CAMERA, TILTED)
    assert angle == pytest.approx(np.degrees(np.arccos(0.8)), abs=0.5)
    error = "[data-task=normals] .side canvas"
    assert pixel(page, error, 2, 10) == rgb(pictures.ERROR_COLOURS[0])
    assert pixel(page, error, 40, 10) == rgb(pictures.ERROR_COLOURS[round(255 * angle / 45)])
    assert pixel(page, error, 2, 1) in CHECKERS
    # Half of the labelled pixels are off by the angle.
    assert texts(page, "[data-task=normals] .side figcaption") == [f"Error, mean angle {angle / 2:.1f}°"]
    assert texts(page, "[data-task=normals] .side .bar span") == ["0°", "11.25°", "22.5°", "30°", "45°"]


def test_directions_in_words(page):
    for shown in (".compare .stack", ".side canvas"):
        point(page, f"[data-task=normals] {shown}", 40, 10, SIZE)
        told = find(page, "[data-task=normals] .readout").text
        angle = degrees(TO_CAMERA, TILTED)
        assert told == f"truth (0.00, 0.00, 1.00), answer (0.00, 0.60, 0.80), {angle:.1f}° apart"
        point(page, f"[data-task=normals] {shown}", 2, 1, SIZE)
        assert find(page, "[data-task=normals] .readout").text == "truth no label, answer (0.00, 0.00, 1.00)"


def test_the_half_sphere_shows_which_direction_has_which_colour(page):
    sphere = "[data-task=normals] .directions canvas"
    last = int(find(page, sphere).get_attribute("width")) - 1
    middle = last // 2
    for x, y, direction in (
        (middle, middle, (0, 0, 1)),
        (last - 4, middle, (0.946, 0, 0.324)),
        (middle, 4, (0, 0.946, 0.324)),
        (4, middle, (-0.946, 0, 0.324)),
    ):
        assert pixel(page, sphere, x, y) == pytest.approx(255 * (np.array(direction) + 1) / 2, abs=3)
    assert texts(page, "[data-task=normals] .directions span") == ["up", "right", "centre: towards the camera"]


# === Probabilities ===


def test_probabilities_have_colours_from_dark_to_light(page):
    truth, answer = (f"[data-task=edges] .compare .stack canvas:nth-of-type({n})" for n in (1, 2))
    scale = pictures.PROBABILITY_COLOURS
    assert pixel(page, truth, 2, 10) == rgb(scale[255])
    assert pixel(page, truth, 40, 10) == rgb(scale[0])
    assert pixel(page, truth, 2, 1) in CHECKERS
    # 0.9 and 0.2 travel as 228 and 50 of 254.
    assert pixel(page, answer, 2, 10) == rgb(scale[229])
    assert pixel(page, answer, 8, 10) == rgb(scale[50])
    lightness = scale.astype(int).sum(-1)
    assert (np.diff(lightness) >= 0).all()
    assert not (np.ptp(scale.astype(int), axis=-1) < 5).any(), "a grey could be a checker"


def test_errors_of_probabilities_are_missed_or_false(page):
    error = "[data-task=edges] .side canvas"
    for x, verdict in ((2, "found"), (8, "missed"), (14, "false"), (40, "right")):
        assert pixel(page, error, x, 10) == list(pictures.VERDICTS[verdict])
    assert pixel(page, error, 2, 1) in CHECKERS
    # 12 of 48 columns.
    assert texts(page, "[data-task=edges] .side figcaption") == ["Error, wrong pixels: 25.0 %"]
    assert texts(page, "[data-task=edges] .side .legend li") == ["Yes from 0.5:", "found", "missed", "false"]


def test_probabilities_in_words(page):
    for x, told in (
        (2, "truth 1.00, answer 0.90"),
        (8, "truth 1.00, answer 0.20"),
        (14, "truth 0.00, answer 0.50"),
    ):
        point(page, "[data-task=edges] .compare .stack", x, 10, SIZE)
        assert find(page, "[data-task=edges] .readout").text == told
    point(page, "[data-task=edges] .compare .stack", 2, 1, SIZE)
    assert find(page, "[data-task=edges] .readout").text == "truth no label, answer 0.90"


def test_without_a_label_there_is_no_error(driver, tmp_path):
    truth, answer = maps()
    truth["normals"][:] = 0
    truth["edges"][:] = np.nan
    shown = Picture("1", "", np.zeros((*SIZE, 3), np.uint8), truth, (Answer("a", answer, {}),))
    load(driver, write_document(tmp_path / "page.html", Document("d", (), pictures=(shown,), tasks=TASKS[2:])))
    assert texts(driver, ".side figcaption") == ["Error, no label"] * 2
    assert not driver.find_elements(By.CSS_SELECTOR, ".controls input"), "nothing lies over the photograph"
    assert driver.get_log("browser") == []


# === Instances ===


def test_instances_are_found_missed_or_false(driver, tmp_path):
    """Columns 0..11 are found under another number; 24..35 are found by a third only; 40..47 are false."""
    task = Instances(sigma=1.0, thing_names=("car",)).beside(TASKS[:1])
    columns = np.arange(WIDTH)
    truth = np.tile(np.select([columns < 12, (columns >= 24) & (columns < 36)], [1, 2]), (HEIGHT, 1))
    truth[:4] = 65535
    answer = np.tile(
        np.select([columns < 12, columns >= 40, (columns >= 32) & (columns < 36)], [1007, 1003, 1009], 2000),
        (HEIGHT, 1),
    )
    answer[-1] = panoptic.VOID
    image = np.full((*SIZE, 3), 200, np.uint8)
    shown = Picture("1", "", image, {"instances": truth}, (Answer("a", {"instances": answer}, {}),))
    load(driver, write_document(tmp_path / "page.html", Document("d", (), pictures=(shown,), tasks=(task,))))
    error = "[data-task=instances] .side canvas"
    for x, verdict in ((2, "found"), (26, "missed"), (34, "missed"), (44, "false"), (20, "right")):
        assert pixel(driver, error, x, 10) == list(pictures.VERDICTS[verdict]), x
    assert pixel(driver, error, 2, HEIGHT - 1) == list(pictures.VERDICTS["missed"])
    assert pixel(driver, error, 2, 1) in CHECKERS
    assert texts(driver, "[data-task=instances] .side figcaption") == ["Error, 1 of 2 found, 2 false", "Image"]
    first = "[data-task=instances] .compare .stack canvas:nth-of-type(1)"
    mixed = 0.7 * outlines.colours(np.array(1)) + 0.3 * 200
    assert pixel(driver, first, 2, 10) == pytest.approx(mixed, abs=1.5)
    assert pixel(driver, first, 20, 10) == [200] * 3
    for x, y, told in ((2, 10, "truth instance 1, answer car 7"), (20, 10, "truth no instance, answer sky")):
        point(driver, "[data-task=instances] .compare .stack", x, y, SIZE)
        assert find(driver, "[data-task=instances] .readout").text == told
    point(driver, "[data-task=instances] .compare .stack", 2, HEIGHT - 1, SIZE)
    assert find(driver, "[data-task=instances] .readout").text == "truth instance 1, answer no label"
    assert driver.get_log("browser") == []


# === All runs, and any number of tasks ===


def test_all_runs_side_by_side(page):
    with redrawing(page):
        named(page, ".controls button", "All runs side by side").click()
    truth, both, alone = page.find_elements(By.CSS_SELECTOR, ".viewer .row")
    assert texts(truth, "figcaption") == ["Image", *(f"{task.title}, truth" for task in TASKS)]
    angle = degrees(TO_CAMERA, TILTED) / 2
    assert texts(both, "figcaption") == [
        *("Segmentation", "wrong pixels: 50.0 %", "Depth", "|ln z − ln z*|: mean 0.693"),
        *("Surface normals", f"mean angle {angle:.1f}°", "Edges", "wrong pixels: 25.0 %"),
    ]
    none, wide = "no answer", "span 2"
    assert texts(alone, "figcaption") == [
        *(f"Segmentation: {none}", "Depth", "|ln z − ln z*|: mean 0.000"),
        *(f"Surface normals: {none}", f"Edges: {none}"),
    ]
    missing = alone.find_elements(By.CSS_SELECTOR, ".none")
    assert len(missing) == 3
    assert all(wide in cell.value_of_css_property("grid-column-start") for cell in missing)
    # The score that stands for each task.
    assert texts(both, "h4 span") == ["mIoU 30.00 %", "SI-logRMSE 20.00", "Mean angle 18.3°", "F-score 50.00 %"]


EVERY = (*TASKS, Salience(name="saliency"), Segmentation(("a", "b"), ((255, 0, 0), (0, 255, 0)), name="parts"))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("width", [1280, 390])
def test_any_number_of_tasks(driver, tmp_path, count, width):
    truth, answer = maps()
    for found in (truth, answer):
        found |= {"saliency": found["edges"], "parts": found["semseg"]}
    tasks = EVERY[-count:]
    image = np.full((*SIZE, 3), 200, np.uint8)
    answers = tuple(Answer(label, answer, {}) for label in ("a", "b"))
    shown = tuple(Picture(f"image-{rank}", rank, image, truth, answers) for rank in ("worst", "median", "best"))
    load(driver, write_document(tmp_path / "page.html", Document("d", (), pictures=shown, tasks=tasks)), width)
    of_a_kind = [task.kind for task in tasks]
    titles = [task.title if of_a_kind.count(task.kind) == 1 else task.name for task in tasks]
    assert texts(driver, ".task h3") == titles
    assert [text.split()[0] for text in texts(driver, ".thumb")] == ["Worst", "Median", "Best"]
    for view in ("All runs side by side", "One run"):
        with redrawing(driver):
            named(driver, ".controls button", view).click()
        content, room = driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert content == room
        narrow = "return Math.min(...[...document.querySelectorAll('.viewer canvas')].map((c) => c.clientWidth))"
        assert driver.execute_script(narrow) > 80
    assert driver.get_log("browser") == []


# === What travels ===


def embedded(path):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', path.read_text(encoding="utf-8"))[1])["gallery"]


def test_colours_travel_without_loss():
    normals = np.random.default_rng(0).normal(size=(600, 300, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    shown = Picture("1", "", np.zeros((8, 8, 3)), {"normals": normals}, (Answer("a", {"normals": normals[::2]}, {}),))
    (found,) = embedding.gallery_data([shown], TASKS)["pictures"]
    kind, _, encoded = found["truth"]["normals"]["uri"].partition(";base64,")
    assert kind == "data:image/png"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    # Every pixel is one of the map, and byte for byte what the task said.
    assert pixels.shape == (512, 256, 3)
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in ((512, 600), (256, 300)))
    assert np.array_equal(pixels, Directions().page_map(normals)["pixels"][rows[:, None], columns])


@pytest.mark.parametrize("seed", range(3))
def test_the_browser_reads_every_byte(driver, tmp_path, seed):
    normals = np.random.default_rng(seed).normal(size=(*SIZE, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    shown = Picture("1", "", np.zeros((*SIZE, 3)), {"normals": normals}, ())
    load(driver, write_document(tmp_path / "page.html", Document("d", (), pictures=(shown,), tasks=TASKS[2:3])))
    drawn = driver.execute_script(
        "const c = document.querySelector('.stack canvas');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    pixels = np.array(drawn).reshape(*SIZE, 4)[..., :3]
    assert np.array_equal(pixels, Directions().page_map(normals)["pixels"])


def test_every_task_says_how_it_is_called(driver):
    tasks = embedded(driver.path)["tasks"]
    assert [(task["name"], task["title"], task["kind"]) for task in tasks] == [
        ("semseg", "Segmentation", "labels"),
        ("depth", "Depth", "depth"),
        ("normals", "Surface normals", "vectors"),
        ("edges", "Edges", "probability"),
    ]
