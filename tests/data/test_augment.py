"""Augmentation: exact where it must be, golden values by hand and NumPy, eagerly and inside tf.data."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import AugmentConfig
from mtl_tf.data import augment as augmentation
from mtl_tf.data.augment import augment
from mtl_tf.tasks import Move
from tests.helpers import TWO_LABELS

RANDOM = np.random.default_rng(0)
SIZE, CROP = (37, 53), (16, 20)
STRONG = AugmentConfig(
    scale_min=0.5,
    scale_max=1.5,
    tilt=20.0,
    wiggle=0.3,
    reflect=True,
    zoom_depth=True,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.1,
)


def off(**changes):
    """No augmentation but for the changes."""
    return AugmentConfig(**{"reflect": False, **changes})


@pytest.fixture
def sample():
    """A sample in which every position is different."""
    return {
        "image": RANDOM.integers(0, 256, (*SIZE, 3)).astype(np.uint8),
        "semseg": np.arange(SIZE[0] * SIZE[1], dtype=np.int32).reshape(SIZE),
        "depth": RANDOM.uniform(4, 300, SIZE).astype(np.float32),
    }


def as_arrays(sample):
    return {name: np.asarray(value) for name, value in sample.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_nothing_asked_for_changes_nothing(sample):
    found = as_arrays(augment(sample, (1, 2), off(), (), TWO_LABELS))
    assert found["image"].dtype == np.float32
    assert_same(found, sample)


@pytest.mark.parametrize("reflect", [False, True])
def test_a_crop_is_a_slice_bit_for_bit_and_every_offset_occurs(sample, reflect):
    corners, mirrored = [], 0
    crop = tf.function(lambda seed: augment(sample, seed, off(reflect=reflect), CROP, TWO_LABELS))
    for number in range(400):
        found = as_arrays(crop(tf.constant([7, number], tf.int64)))
        flipped = found["semseg"][0, 0] > found["semseg"][0, -1]
        top, left = divmod(int(found["semseg"][0, -1 if flipped else 0]), SIZE[1])
        window = np.s_[top : top + CROP[0], left : left + CROP[1]]
        step = -1 if flipped else 1
        assert_same(found, {name: value[window][:, ::step] for name, value in sample.items()})
        corners.append((top, left))
        mirrored += flipped
    tops, lefts = (set(values) for values in zip(*corners, strict=True))
    assert tops == set(range(SIZE[0] - CROP[0] + 1))
    assert lefts == set(range(SIZE[1] - CROP[1] + 1))
    assert (150 < mirrored < 250) if reflect else mirrored == 0


def test_reflect_without_a_crop_mirrors_the_whole_picture(sample):
    found = [as_arrays(augment(sample, (0, number), off(reflect=True), (), TWO_LABELS)) for number in range(8)]
    mirrored = {name: value[:, ::-1] for name, value in sample.items()}
    for each in found:
        assert_same(each, sample if (each["semseg"] == sample["semseg"]).all() else mirrored)
    assert {bool((each["semseg"] == sample["semseg"]).all()) for each in found} == {True, False}


def test_a_crop_larger_than_the_picture_is_centred_and_filled(sample):
    found = as_arrays(augment(sample, (3, 3), off(), (41, 57), TWO_LABELS))
    expected = {
        "image": np.pad(sample["image"], ((2, 2), (2, 2), (0, 0))),
        "semseg": np.pad(sample["semseg"], 2, constant_values=255),
        "depth": np.pad(sample["depth"], 2),
    }
    assert_same(found, expected)


def test_zooming_in_by_two_repeats_label_pixels(sample):
    # s = 1/2: a window of 18x26 pixels becomes a crop of 36x52; pixel centre (j + 1/2)/2 lies in pixel floor(j/2).
    found = as_arrays(augment(sample, (5, 5), off(scale_min=0.5, scale_max=0.5), (36, 52), TWO_LABELS))
    top, left = divmod(int(found["semseg"][0, 0]), SIZE[1])
    for name in ("semseg", "depth"):
        window = sample[name][top : top + 18, left : left + 26]
        np.testing.assert_array_equal(found[name], window.repeat(2, axis=0).repeat(2, axis=1))
    # Bilinear: inner pixels are 3/4, 1/4 mixtures of their neighbours along each axis.
    image = sample["image"].astype(np.float64)
    a, b = image[top, left : left + 2], image[top + 1, left : left + 2]
    mixed = 0.75 * (0.75 * a[0] + 0.25 * a[1]) + 0.25 * (0.75 * b[0] + 0.25 * b[1])
    np.testing.assert_allclose(found["image"][1, 1], mixed, rtol=1e-5)


def test_the_rim_of_the_picture_is_not_mixed_with_black():
    white = {"image": np.full((8, 8, 3), 200, np.uint8)}
    found = augment(white, (0, 0), off(scale_min=0.5, scale_max=0.5), (16, 16), {})["image"]
    np.testing.assert_array_equal(found, np.full((16, 16, 3), 200.0))


def test_black_pixels_are_those_without_labels():
    ones = {
        "image": np.full((30, 30, 3), 255, np.uint8),
        "semseg": np.ones((30, 30), np.int32),
        "depth": np.ones((30, 30), np.float32),
    }
    seen = 0
    for number in range(20):
        found = as_arrays(
            augment(ones, (1, number), off(scale_min=0.8, scale_max=1.6, tilt=45.0, wiggle=0.4), (24, 24), TWO_LABELS)
        )
        outside = found["semseg"] == 255
        np.testing.assert_array_equal(found["image"][..., 0] == 0, outside)
        np.testing.assert_array_equal(found["depth"] == 0, outside)
        seen += outside.any()
    assert seen > 3


def test_all_modalities_share_one_geometry():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    ramps = {"image": np.stack([x, y, x], axis=-1), "semseg": y.astype(np.int32), "depth": x + 1.0}
    for number in range(10):
        config = off(scale_min=0.6, scale_max=0.9, tilt=15.0, wiggle=0.2, reflect=True)
        found = as_arrays(augment(ramps, (9, number), config, (32, 40), TWO_LABELS))
        valid = found["depth"] > 0
        assert valid.mean() > 0.9
        # A label is that of the nearest pixel, so it is within half a pixel of the interpolated coordinate.
        assert np.abs(found["image"][..., 0] - (found["depth"] - 1))[valid].max() <= 0.501
        assert np.abs(found["image"][..., 1] - found["semseg"])[valid].max() <= 0.501


# === Geometry ===


def quad_of(draws, config, crop=CROP, size=SIZE):
    scale, quad = augmentation.source_quad(tf.constant(draws, tf.float64), config, tf.constant(crop), tf.constant(size))
    return float(scale), quad.numpy()


def test_quad_golden_values():
    middle = np.full(13, 0.5)
    # 16x20 crop, no change: 21 and 33 pixels of room, offsets floor(22/2) = 11 down and floor(34/2) = 17 right
    scale, quad = quad_of(middle, off())
    assert scale == 1.0
    np.testing.assert_array_equal(quad, [[17, 11], [37, 11], [37, 27], [17, 27]])
    # scale 2: 40x32 pixels, 13 and 5 pixels of room
    scale, quad = quad_of(middle, off(scale_min=2.0, scale_max=2.0))
    assert scale == 2.0
    np.testing.assert_array_equal(quad, [[7, 3], [47, 3], [47, 35], [7, 35]])
    # draw 0 of the scale is its smallest value
    assert quad_of(np.zeros(13), off(scale_min=0.5, scale_max=2.0))[0] == 0.5
    # mirrored: left and right exchanged
    draws = middle.copy()
    draws[12] = 0.1
    np.testing.assert_array_equal(quad_of(draws, off(reflect=True))[1], [[37, 11], [17, 11], [17, 27], [37, 27]])


def test_quad_tilts_by_ninety_degrees():
    draws = np.zeros(13)
    draws[1] = 1.0
    _, quad = quad_of(draws, off(tilt=90.0))
    # turned clockwise on the screen, the crop's top left comes from the top right of a window 16 wide and 20 high
    np.testing.assert_allclose(quad, [[16, 0], [16, 20], [0, 20], [0, 0]], atol=1e-12)


def test_quad_wiggles_each_corner_by_at_most_its_share():
    low, high = np.full(8, -1.0), np.full(8, 1.0)
    for number in range(200):
        draws = np.random.default_rng(number).uniform(size=13)
        _, quad = quad_of(draws, off(wiggle=0.4))
        shifts = (2 * draws[2:10] - 1).reshape(4, 2) * 0.4 * np.array([10, 8])
        expected = np.array([[-10, -8], [10, -8], [10, 8], [-10, 8]]) + shifts
        np.testing.assert_allclose(quad - quad.min(axis=0), expected - expected.min(axis=0), atol=1e-12)
        assert (quad.min(axis=0) >= 0).all() and (quad.max(axis=0) <= SIZE[::-1]).all()
        low, high = np.maximum(low, -shifts.ravel() / 4), np.minimum(high, shifts.ravel() / 4)
    assert (low > 0.5).all() and (high < -0.5).all()


@pytest.mark.parametrize(
    ("draw", "room", "expected"),
    [(0.0, 5.0, 0), (0.999999, 5.0, 5), (0.5, 5.0, 3), (0.9, 0.0, 0), (0.99, 5.7, 5), (0.7, -4.0, -2), (0.7, -3.0, -2)],
)
def test_offsets_are_whole_and_keep_inside(draw, room, expected):
    assert float(augmentation.whole_offset(tf.constant(draw, tf.float64), tf.constant(room, tf.float64))) == expected


def test_coefficients_against_a_linear_solver():
    height, width = CROP
    for number in range(50):
        jitter = np.random.default_rng(number).uniform(-3, 3, (4, 2))
        quad = np.array([[5, 4], [30, 6], [28, 25], [3, 22]]) + jitter
        target = [(0, 0), (width, 0), (width, height), (0, height)]
        rows, values = [], []
        for (x, y), (u, v) in zip(np.array(target) - 0.5, quad - 0.5, strict=True):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
            values += [u, v]
        expected = np.linalg.solve(np.array(rows), np.array(values))
        found = augmentation.projective(tf.constant(quad), tf.constant(CROP)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_zoom_depth_scales_and_drops_what_leaves_the_range(sample):
    config = off(scale_min=2.0, scale_max=2.0)
    plain = augment(sample, (4, 4), config, CROP, TWO_LABELS)["depth"].numpy()
    zoomed = augment(sample, (4, 4), off(scale_min=2.0, scale_max=2.0, zoom_depth=True), CROP, TWO_LABELS)
    expected = np.where(plain * 2 <= 300, plain * 2, 0)
    assert 0 < (expected == 0).mean() < 1
    np.testing.assert_array_equal(zoomed["depth"], expected)
    moved = TWO_LABELS["depth"].moved(tf.constant([0.0, 8.0, 7.9]), Move(0.5), off(zoom_depth=True))
    np.testing.assert_array_equal(moved, [0, 4, 0])


# === Seeds ===


def test_the_same_seed_gives_the_same_sample_eagerly_and_in_tf_data(sample):
    def one(number):
        return augment(sample, tf.stack([tf.constant(11, tf.int64), number]), STRONG, CROP, TWO_LABELS)

    dataset = tf.data.Dataset.range(4).map(one, num_parallel_calls=2)
    assert dataset.element_spec["image"].shape == (*CROP, 3)
    assert dataset.element_spec["semseg"].shape == dataset.element_spec["depth"].shape == CROP
    in_graph = list(dataset.as_numpy_iterator())
    for number in range(4):
        eager = as_arrays(one(tf.constant(number, tf.int64)))
        np.testing.assert_array_equal(eager["semseg"], in_graph[number]["semseg"])
        np.testing.assert_array_equal(eager["depth"], in_graph[number]["depth"])
        np.testing.assert_allclose(eager["image"], in_graph[number]["image"], atol=1e-2)
    assert not np.array_equal(in_graph[0]["semseg"], in_graph[1]["semseg"])


def test_a_sample_may_have_one_label_or_none(sample):
    for names in (("image",), ("image", "semseg"), ("image", "depth")):
        found = augment({name: sample[name] for name in names}, (2, 2), STRONG, CROP, TWO_LABELS)
        assert set(found) == set(names)
        assert found["image"].shape == (*CROP, 3)
