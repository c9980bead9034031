"""Pictures: golden colours, every size, and files that read back what was written."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mtl_tf import atomic, panels, pictures
from mtl_tf.errors import UsageError
from mtl_tf.tasks import CITYSCAPES_CLASSES, cityscapes_tasks

PALETTE = tuple(CITYSCAPES_CLASSES.values())
SIZES = [(1, 1), (7, 5), (64, 64), (360, 720), (3, 900), (900, 3)]


def lightness(colours):
    return np.asarray(colours, np.float64) @ (0.2126, 0.7152, 0.0722)


def is_checker(picture):
    values = np.unique(picture.reshape(-1, 3), axis=0)
    return all(len(set(value)) == 1 and value[0] in (190, 226) for value in values)


def scene(size, seed=0):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    labels = random.integers(0, 19, size)
    depth = random.uniform(4, 300, size).astype(np.float32)
    return image, labels, depth


# === Colours ===


def test_labels_have_the_colours_of_the_palette():
    picture = pictures.colour_labels(np.array([[0, 10, 18]]), PALETTE)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, [[[128, 64, 128], [70, 130, 180], [119, 11, 32]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_ignored_and_unknown_labels_are_checkered(dtype):
    labels = np.full((96, 96), 255, dtype)
    labels[:, 48:] = 19
    picture = pictures.colour_labels(labels, PALETTE)
    assert is_checker(picture)
    assert len(np.unique(picture)) == 2


def test_another_ignore_value():
    assert is_checker(pictures.colour_labels(np.zeros((8, 8), int), PALETTE, ignore=0))


def test_checker_is_made_of_squares():
    picture = pictures.checker((96, 96))[..., 0]
    assert (picture[:2, :2] == picture[0, 0]).all()
    assert picture[0, 2] != picture[0, 0]
    assert picture[2, 2] == picture[0, 0]


def test_near_is_light_and_far_is_dark():
    depth = np.geomspace(4, 300, 200)[None]
    light = lightness(pictures.colour_depth(depth, 4, 300)[0])
    assert (np.diff(light) <= 0).all()
    assert light[0] > 230
    assert light[-1] < 20


def test_depth_is_coloured_on_a_log_scale():
    # 20 m is the geometric middle of 4 and 100 m.
    middle, *rest = pictures.colour_depth(np.array([[20.0, 4, 100, 2, 400]]), 4, 100)[0]
    np.testing.assert_array_equal(middle, pictures.DEPTH_COLOURS[128])
    np.testing.assert_array_equal(rest, pictures.DEPTH_COLOURS[[0, 255, 0, 255]])


def test_invalid_depth_is_checkered():
    depth = np.array([[0, -1, np.nan, np.inf]])
    assert is_checker(pictures.colour_depth(depth, 4, 300))
    assert is_checker(pictures.error_depth(depth, np.ones_like(depth)))


def test_depth_range_is_that_of_valid_pixels():
    assert pictures.depth_range(np.array([[0, 2.5, np.nan, 80, np.inf]])) == (2.5, 80)
    assert pictures.depth_range(np.zeros((2, 2)), fallback=(4, 300)) == (4, 300)


def test_depth_of_one_value_has_a_colour():
    picture = pictures.colour_depth(np.full((4, 4), 7.0), 7, 7)
    np.testing.assert_array_equal(picture, np.broadcast_to(pictures.DEPTH_COLOURS[128], (4, 4, 3)))


def test_overlay_mixes_and_leaves_ignored_pixels():
    image = np.full((1, 2, 3), 100, np.uint8)
    picture = pictures.overlay(image, np.array([[11, 255]]), PALETTE, alpha=0.5)
    np.testing.assert_array_equal(picture, [[[160, 60, 80], [100, 100, 100]]])


def test_label_errors():
    picture = pictures.error_labels(np.array([[1, 1, 255]]), np.array([[1, 2, 1]]))
    np.testing.assert_array_equal(picture[0, :2], [pictures.RIGHT, pictures.WRONG])
    assert is_checker(picture[:, 2:])


def test_depth_errors_are_relative_and_symmetric():
    truth = np.array([[10.0, 10, 10, 10, 10]])
    exact, half, twice, little, far = pictures.error_depth(truth, np.array([[10.0, 5, 20, 11, 90]]))[0]
    np.testing.assert_array_equal(exact, pictures.ERROR_COLOURS[0])
    np.testing.assert_array_equal([half, twice, far], pictures.ERROR_COLOURS[[255, 255, 255]])
    assert lightness(exact) < lightness(little) < lightness(twice)


def test_image_of_floats_is_rounded_and_clipped():
    np.testing.assert_array_equal(pictures.as_picture(np.array([[[-3.0, 99.6, 300.0]]])), [[[0, 100, 255]]])


# === Pictures with text ===


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_pictures(size):
    image, labels, depth = scene(size)
    truth = {"semseg": labels, "depth": depth}
    for picture in (
        panels.sample_panel(image, cityscapes_tasks(), truth, truth),
        panels.depth_with_bar(depth, 4, 300),
        panels.panel([("labels", pictures.error_labels(labels, labels))]),
    ):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


@pytest.mark.parametrize("ends", [(4, 300), (5, 5), (5, 5.0001), (0.001, 0.01), (0.01, 655.35), (1.23, 4.1)])
def test_bar_has_ticks_at_both_ends_and_none_twice(ends):
    ticks = panels._ticks(*ends, most=8)
    labels = [label for _, label in ticks]
    assert len(set(labels)) == len(labels) <= 12
    assert (ticks[0][0], ticks[-1][0]) == ends
    assert [metres for metres, _ in ticks] == sorted(metres for metres, _ in ticks)


def test_bar_of_the_street_range():
    assert [label for _, label in panels._ticks(4, 300, most=10)] == ["4 m", "10 m", "20 m", "50 m", "100 m", "300 m"]


def test_small_pictures_are_enlarged_by_whole_numbers():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[0, 0] = 255
    fitted = panels.fitted(picture)
    assert fitted.shape == (256, 256, 3)
    assert (fitted[:4, :4] == 255).all()
    assert fitted.sum() == 4 * 4 * 3 * 255


def test_large_pictures_are_shrunk():
    assert panels.fitted(np.zeros((1024, 2048, 3), np.uint8)).shape == (512, 1024, 3)


def test_panel_is_wider_with_every_column():
    image, labels, depth = scene((64, 64))
    truth, tasks = {"semseg": labels, "depth": depth}, cityscapes_tasks()
    widths = [
        panels.sample_panel(image, tasks, *answers).shape[1]
        for answers in [({}, {}), ({"semseg": labels}, {}), ({"semseg": labels}, {"semseg": labels}), (truth, truth)]
    ]
    assert widths == sorted(set(widths))


def test_tasks_beyond_two_stand_in_rows_below():
    image, labels, _ = scene((64, 64))
    semseg, _ = cityscapes_tasks()
    tasks = [dataclasses.replace(semseg, name=f"map{number}") for number in range(5)]
    maps = {task.name: labels for task in tasks}
    heights, widths = zip(
        *(panels.sample_panel(image, tasks[:count], maps, maps).shape[:2] for count in range(1, 6)), strict=True
    )
    assert heights[0] == heights[1] < heights[2] == heights[3] < heights[4]
    assert widths[0] < widths[1] == widths[2] == widths[3] == widths[4]


def test_panel_takes_a_missing_task_and_the_prediction_alone():
    image, labels, depth = scene((32, 48))
    semseg, distance = cityscapes_tasks()
    alone = panels.sample_panel(image, (distance,), {"depth": None}, {"depth": depth})
    both = panels.sample_panel(image, (distance,), {"depth": depth}, {"depth": depth})
    assert alone.shape[1] < both.shape[1]
    assert panels.sample_panel(image, (semseg,), {}, {"semseg": labels}).shape[1] < both.shape[1]


def test_panel_checkers_depth_outside_the_range_of_the_task():
    _, depth_task = cityscapes_tasks()
    truth = np.full((256, 256), 2.0, np.float32)
    columns = depth_task.columns(truth, truth)
    assert is_checker(columns[0][1])
    assert not is_checker(columns[1][1])


def test_grid_aligns_rows_of_different_lengths():
    square = np.zeros((256, 256, 3), np.uint8)
    one = panels.grid([[("a", square), ("b", square)]])
    two = panels.grid([[("a", square), ("b", square)], [("a caption far too long for its picture", square)]])
    assert two.shape == (2 * one.shape[0], one.shape[1], 3)


def test_legend_shows_every_colour():
    legend = panels.label_legend(tuple(CITYSCAPES_CLASSES), PALETTE, width=500)
    assert legend.shape[1] == 500
    shown = {tuple(colour) for colour in np.unique(legend.reshape(-1, 3), axis=0).tolist()}
    assert set(PALETTE) <= shown


# === Files ===


def test_labels_are_written_as_ids_with_a_palette(tmp_path):
    ids = np.array([[0, 18], [13, 255]])
    with Image.open(pictures.write_png(tmp_path / "new" / "labels.png", ids, PALETTE)) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), ids)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[0], [PALETTE[0], PALETTE[18]])


def test_rgb_is_written_as_it_is(tmp_path):
    picture, _, _ = scene((9, 7))
    with Image.open(pictures.write_png(tmp_path / "rgb.png", picture)) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), picture)


def write_depth(path, depth):
    """Writes the data file of a prediction of depth; returns how many pixels it does not hold."""
    data, *_ = cityscapes_tasks()[1].files(np.zeros((*depth.shape, 3), np.uint8), depth)
    pictures.write_png(path, data.pixels)
    return data.beyond


def test_depth_comes_back_from_16_bits(tmp_path):
    depth = np.array([[0, 0.01, 3.214, 80.006], [655.35, 9000, np.nan, 0.001]])
    assert write_depth(tmp_path / "depth.png", depth) == 1
    with Image.open(tmp_path / "depth.png") as image:
        codes = np.asarray(image)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, [[0, 1, 321, 8001], [65535, 0, 0, 1]])  # no distance that nobody answered


def test_16_bits_keep_every_centimetre(tmp_path):
    depth = (np.arange(65536, dtype=np.float32) * np.float32(0.01)).reshape(256, 256)
    assert write_depth(tmp_path / "depth.png", depth) == 0
    with Image.open(tmp_path / "depth.png") as image:
        np.testing.assert_array_equal(np.asarray(image).ravel(), np.arange(65536))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = pictures.write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    before = path.read_bytes()

    def break_off(*_):
        raise OSError(28, "disk full")

    monkeypatch.setattr(atomic.os, "fsync", break_off)
    with pytest.raises(UsageError, match="disk full"):
        pictures.write_png(path, np.ones((2, 2), np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
