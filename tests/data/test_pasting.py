"""CutMix and ClassMix: golden masks by hand, and what holds for any mask, eagerly and inside tf.data."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.config import AugmentConfig, Config
from mtl_tf.data.pasting import half_of_the_classes, paste, rectangles
from mtl_tf.data.sets.synthetic import SYNTHETIC
from mtl_tf.errors import UsageError
from tests.helpers import TWO_LABELS

IGNORE = 255
BOTH = AugmentConfig(cutmix=0.5, cutmix_area=(0.1, 0.7), classmix=0.5)


def batch_of(count=4, size=(6, 8), seed=0):
    """Samples whose every pixel tells, in each modality, which sample and position it comes from."""
    random = np.random.default_rng(seed)
    number = np.arange(count * size[0] * size[1], dtype=np.float32).reshape(count, *size)
    image = np.stack([number, number + 1000, number + 2000], axis=-1)
    semseg = random.integers(0, 5, (count, *size)).astype(np.int32)
    semseg[:, 0] = IGNORE
    depth = number + 1
    depth[:, :, 0] = 0
    return {"image": image, "semseg": semseg, "depth": depth, "index": np.arange(10, 10 + count)}


def as_arrays(batch):
    return {name: np.asarray(value) for name, value in batch.items()}


def inside(draws, size, area):
    return rectangles(tf.constant([draws], tf.float32), *size, area).numpy()[0]


# === Rectangles ===


def test_rectangles_by_hand():
    # a = 1/4, u = 1/2: half of each side, of 4x6 pixels 2x3. Two or three rows are left to choose the first of: 3, 4.
    for draws, top, left in (((0, 0.5, 0, 0), 0, 0), ((0, 0.5, 0.99, 0.99), 2, 3), ((0, 0.5, 0.34, 0.26), 1, 1)):
        expected = np.zeros((4, 6), bool)
        expected[top : top + 2, left : left + 3] = True
        np.testing.assert_array_equal(inside(draws, (4, 6), (0.25, 0.25)), expected)
    # u = 0: the full height and half of the width; u = 1 the other way round.
    assert inside((0, 0, 0, 0), (4, 6), (0.5, 0.5)).tolist() == [[True] * 3 + [False] * 3] * 4
    assert inside((0, 1, 0, 0.9), (4, 6), (0.5, 0.5)).tolist() == [[True] * 6] * 2 + [[False] * 6] * 2
    # The first draw goes from the smallest to the largest area.
    assert inside((0, 0.5, 0, 0), (4, 4), (0.0, 1.0)).sum() == 0
    assert inside((1, 0.5, 0, 0), (4, 4), (0.0, 1.0)).sum() == 16


def test_areas_are_uniform_between_their_bounds_and_every_position_occurs():
    draws = np.random.default_rng(1).uniform(size=(4000, 4)).astype(np.float32)
    masks = rectangles(tf.constant(draws), 60, 80, (0.2, 0.6)).numpy()
    area = masks.mean((1, 2))
    # Rounding a side of 60 or 80 pixels to a whole number moves the share by up to about 1 %.
    np.testing.assert_allclose(area, 0.2 + 0.4 * draws[:, 0], atol=0.012)
    shares = np.histogram(area, bins=4, range=(0.2, 0.6))[0] / len(area)
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
    # The corners are covered, if less often than the middle.
    often = masks.mean(0)
    assert (often > 0).all() and often[30, 40] == pytest.approx(often.max(), rel=0.1)
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert (masks.sum((1, 2)) == heights * widths).all()  # each is a rectangle
    assert heights.min() < 20 and heights.max() > 55 and widths.min() < 25 and widths.max() > 75


# === Classes ===


def test_half_of_the_classes_by_hand():
    labels = np.array(
        [
            [[0, 0, 1], [2, 255, 1]],  # three classes: two of them
            [[7, 7, 7], [7, 7, 255]],  # one: that one
            [[255, 255, 255], [255, 255, 255]],  # none
            [[3, 4, 255], [3, 4, 4]],  # two: one
        ],
        np.int32,
    )
    draws = np.full((4, 256), 0.5, np.float32)
    draws[0, [0, 1, 2]] = 0.9, 0.1, 0.3
    draws[:, 255] = 0.0  # ignore is no class, however low its number
    draws[:, 9] = 0.0  # nor is one that is not there
    draws[3, [3, 4]] = 0.4, 0.6
    expected = [
        [[0, 0, 1], [1, 0, 1]],
        [[1, 1, 1], [1, 1, 0]],
        [[0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [1, 0, 0]],
    ]
    found = half_of_the_classes(tf.constant(labels), tf.constant(draws), IGNORE)
    np.testing.assert_array_equal(found, np.array(expected, bool))


def test_every_class_is_chosen_equally_often():
    labels = np.tile(np.arange(4, dtype=np.int32), (2000, 1, 1))
    draws = np.random.default_rng(2).uniform(size=(2000, 256)).astype(np.float32)
    found = half_of_the_classes(tf.constant(labels), tf.constant(draws), IGNORE).numpy()[:, 0]
    assert (found.sum(1) == 2).all()
    np.testing.assert_allclose(found.mean(0), 0.5, atol=0.05)


# === Batches ===


def test_cutmix_golden():
    # Two samples are each other's partner; the whole picture is pasted.
    batch = batch_of(2)
    found = as_arrays(paste(batch, (1, 2), AugmentConfig(cutmix=1.0, cutmix_area=(1.0, 1.0)), TWO_LABELS))
    for name in ("image", "semseg", "depth"):
        np.testing.assert_array_equal(found[name], batch[name][::-1])
    np.testing.assert_array_equal(found["index"], batch["index"])


@pytest.mark.parametrize(
    "config", [AugmentConfig(cutmix=1.0), AugmentConfig(classmix=1.0), BOTH], ids=["cutmix", "classmix", "both"]
)
def test_every_pixel_comes_whole_from_one_of_two_samples(config):
    batch = batch_of(5)
    count = len(batch["index"])
    pasted, partners = [], set()
    for number in range(60):
        found = as_arrays(paste(batch, (3, number), config, TWO_LABELS))
        source = found["image"][..., 0].astype(int) // (6 * 8)
        for position in range(count):
            others = set(source[position].ravel()) - {position}
            assert len(others) <= 1
            if others:
                partners.add((others.pop() - position) % count)
            pasted.append((source[position] != position).mean())
        # Nothing moves, and all modalities of a pixel come from the same place.
        rows, columns = np.mgrid[:6, :8]
        for name in ("image", "semseg", "depth"):
            np.testing.assert_array_equal(found[name], batch[name][source, rows, columns], err_msg=name)
    assert partners == {1, 2, 3, 4}  # any other sample of the batch
    assert 0.2 < np.mean(pasted) < 0.6
    if config.classmix == 0:
        assert max(pasted) < 0.6  # half of the picture, up to rounding its few rows and columns


def test_how_often():
    config = AugmentConfig(cutmix=0.2, classmix=0.3)
    batch = batch_of(8)
    batch["semseg"][:] = np.arange(8).repeat(4).reshape(4, 8).repeat(2, axis=0)[:6] % 3  # classes, and no ignore
    kinds = []
    for number in range(250):
        found = as_arrays(paste(batch, (4, number), config, TWO_LABELS))
        moved = found["image"][..., 0] != batch["image"][..., 0]
        for mask in moved:
            rows, columns = mask.any(1).sum(), mask.any(0).sum()
            kinds.append("none" if not mask.any() else "rectangle" if mask.sum() == rows * columns else "classes")
    shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert shares["none"] == pytest.approx(0.5, abs=0.05)
    assert shares["classes"] <= 0.3 + 0.05 and shares["rectangle"] >= 0.2 - 0.05


def test_a_sample_gains_no_label_that_is_not_there():
    batch = batch_of(2)
    batch["semseg"][0], batch["depth"][1] = IGNORE, 0  # the first has no classes, the second no depth
    for number in range(40):
        found = as_arrays(paste(batch, (5, number), BOTH, TWO_LABELS))
        own = found["image"][..., 0].astype(int) // 48 == np.arange(2)[:, None, None]
        # Labels of the first sample's own pixels stay away, as does the depth that the second brings.
        assert (found["semseg"][0][own[0]] == IGNORE).all() and (found["depth"][0][~own[0]] == 0).all()
        assert (found["semseg"][1][~own[1]] == IGNORE).all() and (found["depth"][1][own[1]] == 0).all()
        # The other way round they are the true ones.
        np.testing.assert_array_equal(found["semseg"][0][~own[0]], batch["semseg"][1][~own[0]])
        np.testing.assert_array_equal(found["depth"][1][~own[1]], batch["depth"][0][~own[1]])


def test_classmix_pastes_nothing_of_a_partner_without_classes():
    batch = batch_of(2)
    batch["semseg"][1] = IGNORE
    for number in range(10):
        found = as_arrays(paste(batch, (6, number), AugmentConfig(classmix=1.0), TWO_LABELS))
        np.testing.assert_array_equal(found["image"][0], batch["image"][0])


def test_cutmix_needs_no_labels():
    batch = batch_of(3)
    for names in (("image",), ("image", "depth")):
        found = paste({name: batch[name] for name in names}, (1, 1), AugmentConfig(cutmix=1.0), TWO_LABELS)
        assert set(found) == set(names)


def test_the_same_seed_gives_the_same_batch_eagerly_and_in_tf_data():
    batch = {name: tf.constant(value) for name, value in batch_of(4).items()}

    def one(number):
        return paste(batch, tf.stack([tf.constant(11, tf.int64), number]), BOTH, TWO_LABELS)

    dataset = tf.data.Dataset.range(6).map(one, num_parallel_calls=2)
    assert dataset.element_spec["image"].shape == (4, 6, 8, 3)
    in_graph = list(dataset.as_numpy_iterator())
    for number, found in enumerate(in_graph):
        for name, value in as_arrays(one(tf.constant(number, tf.int64))).items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert not np.array_equal(in_graph[0]["image"], in_graph[1]["image"])


# === Options ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(augment__cutmix=0.5, train__batch_size=1), r"train\.batch_size=1; make it 2 or more"),
        (dict(augment__cutmix=0.6, augment__classmix=0.6), r"add up to more than 1"),
        (dict(augment__cutmix_area=(0.6, 0.4)), r"augment\.cutmix_area=0\.6,0\.4 must not fall"),
        (dict(augment__cutmix_area=(0.5,)), r"cutmix_area takes 2 values"),
        (dict(augment__cutmix=1.5), r"cutmix must be at most 1"),
    ],
)
def test_what_cannot_be_asked_for(options, message):
    with pytest.raises(UsageError, match=message):
        configuration.replace(Config(), **options)


def test_pasting_by_class_needs_labels_that_are_classes():
    config = configuration.replace(Config(), augment__classmix=0.5, tasks=("depth",))
    with pytest.raises(UsageError, match=r"needs labels that are classes; the tasks are depth: add"):
        SYNTHETIC.tasks(config)
