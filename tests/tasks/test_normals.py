"""Surface normals: losses and angles by hand and against golden values, how files are read, how directions move."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import pictures
from mtl_tf.config import AugmentConfig, Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.plausibility import Evidence
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets import folder
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.tasks import DepthLabels, Move, NormalLabels, Normals
from tests.helpers import TWO_LABELS
from tests.tasks.battery import loss_of, scores_of

USUAL = NormalLabels("right,up,to_camera")
FACING = np.array([0.0, 0.0, -1.0], np.float32)


def turned(degrees):
    """A normal that is so far from the one that faces the camera, to the right."""
    angle = np.radians(degrees)
    return np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], -1)


def warned(labels, path, content):
    """The warnings about one file."""
    Image.fromarray(content).save(path)
    evidence = Evidence(descriptors.Descriptor("mine", {"normals": labels}))
    evidence.add("normals", labels.seen(str(path)))
    return evidence.warnings({})


def test_directions_that_no_camera_sees_are_implausible(tmp_path):
    floor_and_wall = np.array([[[0, -1, 0], [0, -1, -0.02], FACING, 0 * FACING]], np.float32)
    colours = codecs.encode_directions(floor_and_wall)
    assert warned(USUAL, tmp_path / "0.png", colours) == []
    (wrong,) = warned(NormalLabels("right,up,forward"), tmp_path / "0.png", colours)
    assert "33% of the normals in 1 file point away" in wrong and "tasks.normals.axes=right,up,forward" in wrong
    (ids,) = warned(USUAL, tmp_path / "0.png", np.full((2, 2, 3), 3, np.uint8))
    assert "100% of the normals in 1 file are no unit vectors" in ids
    assert warned(USUAL, tmp_path / "0.png", np.zeros((2, 2, 3), np.uint8)) == []


# === Losses ===


@pytest.mark.parametrize(("objective", "expected"), [("cosine", 0.2), ("l1_pixels", 0.8), ("l1_elements", 0.8 / 3)])
def test_losses_by_hand(objective, expected):
    """(3, 0, -4) is (0.6, 0, -0.8), against (0, 0, -1); the second is right; the third has no label."""
    raw = np.array([[[[3.0, 0, -4], [0, 0, -7], [9, 9, 9]]]])
    target = np.array([[[FACING, FACING, 0 * FACING]]])
    total, count = loss_of(Normals(objective), raw, target)
    assert (total, count) == (pytest.approx(expected), 2)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("cosine", 0.054867660135566765), ("l1_pixels", 0.46711514868902837), ("l1_elements", 0.15570504956300946)],
)
def test_losses_equal_the_golden_values(shared, objective, expected):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    total, count = loss_of(Normals(objective), inputs["normals_raw"], inputs["normals_target"])
    assert (total / count, count) == (pytest.approx(expected, rel=1e-6), 393)


@pytest.mark.parametrize("objective", ["cosine", "l1_pixels", "l1_elements"])
@pytest.mark.parametrize("size", [1e-2, 1.0, 1e30])
def test_gradients_are_the_slope_of_the_definition(objective, size):
    """Of heads of any length that is no less than a thousandth."""
    random = np.random.default_rng(0)
    raw, target = random.normal(size=(1, 4, 5, 3)), Normals().random(random, (1, 4, 5))
    with tf.GradientTape() as tape:
        head = tf.constant(size * raw, tf.float32)
        tape.watch(head)
        total, _ = Normals(objective).loss(head, tf.constant(target))
    gradient = size * tape.gradient(total, head).numpy()

    def defined(raw):
        answer = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
        if objective == "cosine":
            return (1 - (answer * target).sum(-1)).sum()
        return np.abs(answer - target).sum() / (3 if objective == "l1_elements" else 1)

    assert float(total) == pytest.approx(defined(raw), rel=1e-5)
    for _ in range(3):
        direction, step = random.normal(size=raw.shape), 1e-6
        slope = (defined(raw + step * direction) - defined(raw - step * direction)) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_a_head_of_zero_is_pulled_to_its_label_with_a_bounded_gradient():
    with tf.GradientTape() as tape:
        raw = tf.zeros((1, 1, 1, 3))
        tape.watch(raw)
        total, _ = Normals().loss(raw, tf.constant(FACING.reshape(1, 1, 1, 3)))
    np.testing.assert_allclose(tape.gradient(total, raw).numpy().ravel(), [0, 0, 1000], rtol=1e-6)


@pytest.mark.parametrize("objective", ["cosine", "l1_pixels", "l1_elements"])
def test_a_target_that_is_no_number_is_no_label(objective):
    with tf.GradientTape() as tape:
        raw = tf.constant([[[[1.0, 2.0, 3.0]] * 2]])
        tape.watch(raw)
        total, count = Normals(objective).loss(raw, tf.constant([[[FACING, np.nan * FACING]]]))
    gradient = tape.gradient(total, raw).numpy()[0, 0]
    assert np.isfinite(total) and count == 1
    assert np.isfinite(gradient).all() and gradient[0].any() and not gradient[1].any()


def test_answers_are_one_long():
    raw = tf.constant([[[[0, 3, -4], [0, 3e-30, -4e-30], [0, 3e30, -4e30], [0, 0, 0]]]], tf.float32)
    found = Normals().decode(raw)[0, 0].numpy()
    np.testing.assert_allclose(found[[0, 2]], [[0, 0.6, -0.8]] * 2, rtol=1e-6)
    np.testing.assert_allclose(found[1], [0, 3e-18, -4e-18], rtol=1e-6)  # over 1e-12, as papers have it
    np.testing.assert_array_equal(found[3], [0, 0, 0])
    assert Normals().decode(tf.cast(raw, tf.bfloat16)).dtype == tf.float32


# === Angles ===


def angles(*degrees):
    """The scores of answers that are so many degrees off."""
    raw = 5 * turned(np.array(degrees)).reshape(1, 1, -1, 3)
    return scores_of(Normals(), raw, np.broadcast_to(FACING, raw.shape).copy())


def test_angles_by_hand():
    found = angles(0, 10, 20, 28, 180)
    assert found == {
        "mean": pytest.approx(238 / 5, rel=1e-6),
        "median": pytest.approx(20),
        "rmse": pytest.approx(np.sqrt((100 + 400 + 784 + 32400) / 5), rel=1e-6),
        "within_11_25": pytest.approx(40),
        "within_22_5": pytest.approx(60),
        "within_30": pytest.approx(80),
    }


def test_the_median_of_an_even_number_is_between_the_two_in_the_middle():
    assert angles(1, 40, 2, 10)["median"] == pytest.approx(6)
    assert angles(3)["median"] == pytest.approx(3)


def test_the_limits_of_the_shares_by_hand():
    found = angles(11.2, 11.3, 22.4, 22.6, 29.9, 30.1, 90, 90, 90, 90)
    assert [found[name] for name in ("within_11_25", "within_22_5", "within_30")] == pytest.approx([10, 30, 50])


def test_small_and_large_angles_are_exact():
    """An arc cosine in float32 takes the first for 0 or 0.02 degrees."""
    assert angles(0.001)["mean"] == pytest.approx(0.001, rel=1e-3)
    assert angles(179.999)["mean"] == pytest.approx(179.999, abs=1e-5)
    assert angles(180)["median"] == 180


def test_an_answer_without_direction_is_off_by_a_right_angle():
    assert scores_of(Normals(), np.zeros((1, 1, 1, 3)), FACING.reshape(1, 1, 1, 3))["mean"] == pytest.approx(90)


def test_scores_equal_the_golden_values(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    found = scores_of(Normals(), inputs["normals_raw"], inputs["normals_target"])
    assert found.pop("median") == pytest.approx(18.027284964021106, abs=0.005)
    assert found == pytest.approx(
        {
            "mean": 17.52775603163186,
            "rmse": 19.116839651664925,
            "within_11_25": 23.66412213740458,
            "within_22_5": 69.46564885496184,
            "within_30": 96.18320610687023,
        },
        rel=1e-6,
    )


# === Files ===


def png(tmp_path, pixels):
    path = tmp_path / "0.png"
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("axes", "colours"),
    [
        ("right,up,to_camera", [(255, 128, 128), (128, 255, 128), (128, 128, 255)]),
        ("left,down,forward", [(0, 127, 127), (127, 0, 127), (127, 127, 0)]),
        ("forward,left,down", [(128, 0, 128), (128, 128, 0), (0, 128, 128)]),
    ],
)
def test_axes_by_hand(tmp_path, axes, colours):
    """The first to the right, the second up, the third to the camera."""
    found = NormalLabels(axes).read(png(tmp_path, [colours]))
    np.testing.assert_allclose(found, [[[1, 0, 0], [0, -1, 0], [0, 0, -1]]], atol=0.006)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-6)


def test_what_has_no_direction_has_no_label(tmp_path):
    """Black and the two greys in the middle; and what is too short."""
    colours = [(0, 0, 0), (127, 127, 127), (128, 128, 128), (150, 160, 128), (255, 255, 255), (0, 127, 127)]
    found = USUAL.read(png(tmp_path, [colours]))
    np.testing.assert_array_equal(Normals().valid(found), [[False] * 4 + [True] * 2])
    assert (found[0, :4] == 0).all()


def test_every_direction_is_read_within_half_a_code():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 100, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes = codecs.encode_directions(vectors)
    stored = vectors * [1, -1, -1]
    assert np.abs(codes / 127.5 - 1 - stored).max() <= 1 / 255 + 1e-9
    found = codecs.decode_directions(codes)
    assert np.degrees(2 * np.arcsin(np.linalg.norm(found - vectors, axis=-1) / 2)).max() < 0.4


def png_of_16_bits(colour=2):
    """A PNG of one pixel of 16 bits a channel, which Pillow reads but does not write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = b"\0" + bytes(range(2 * (3 if colour == 2 else 1)))
    header = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def encoded(mode, format="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, (3, 2)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (encoded("L"), "got a 8-bit grey picture"),
        (encoded("P"), "got a palette picture"),
        (png_of_16_bits(0), "got a 16-bit grey picture"),
        (png_of_16_bits(2), "got a 16-bit RGB picture"),
        (encoded("RGB", "JPEG"), "compression (JPEG) changes values"),
    ],
)
def test_other_pictures_are_refused_in_one_line(tmp_path, content, came):
    path = tmp_path / "0.png"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        USUAL.read(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ") and came in text and "\n" not in text
    assert "expected normals in 8-bit RGB, as PNG" in text


FLOATS = NormalLabels("right,up,to_camera", "npy")


def test_floats_are_read_from_a_folder_of_a_data_set(tmp_path):
    """What is not one long becomes so, what is too short or not finite has no label; other files are passed over."""
    for name in ("rgb", "normals"):
        (tmp_path / "train" / name).mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "train/rgb/0.png")
    np.save(tmp_path / "train/normals/0.npy", np.array([[[0, 0, 2], [0, 0.6, 0.8]], [[1e300, 0, 0.4], [np.nan, 1, 0]]]))
    png(tmp_path / "train/normals", np.zeros((2, 2, 3)))
    descriptors.write(tmp_path, descriptors.Descriptor("mine", {"normals": FLOATS}, splits=("train",)))
    descriptor, labels = descriptors.read(tmp_path), {"rgb": None, "normals": FLOATS}
    there = {
        name: folder.list_files(str(tmp_path), "train", descriptor.pattern(name), name, of)
        for name, of in labels.items()
    }
    found = {name: paths for name, (paths, _) in there.items()}
    found = FileSource(descriptor, ("normals",), found).read(0)["normals"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[[0, 0, -1], [0, -0.6, -0.8]], [[0, 0, 0]] * 2], atol=1e-7)
    assert [file.reason for file in there["normals"][1]] == [".png is not read"]


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3)), np.zeros((3, 2, 3, 3)), np.array([[{}]]), None],
    ids=["whole", "two", "four", "objects", "damaged"],
)
def test_other_arrays_are_refused_in_one_line(tmp_path, array):
    path = tmp_path / "0.npy"
    if array is None:
        path.write_bytes(b"\x93NUMPY damaged")
    else:
        np.save(path, array)
    with pytest.raises(UsageError) as error:
        FLOATS.read(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: expected normals in floats (H, W, 3), as numpy.save writes them, got ")
    assert "\n" not in text


# === dataset.json ===


def parsed(tmp_path, **section):
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps({"depth": TWO_LABELS["depth"].content(), "tasks": {"normals": {"kind": "normals", **section}}})
    )
    return descriptors.read(tmp_path)["normals"]


CAMERA = [518.8, 519.4, 325.6, 253.7, 640, 480]


def test_axes_are_named_with_or_without_spaces(tmp_path):
    assert parsed(tmp_path, axes="right, up, to_camera") == USUAL


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({}, '"tasks.normals.axes" should be what x, y and z are'),
        ({"axes": "right,up,left"}, 'it is "right,up,left"'),
        ({"axes": "right,up"}, 'it is "right,up"'),
        ({"axes": "right,up,away"}, 'it is "right,up,away"'),
        ({"axes": USUAL.axes, "encoding": "rgb16"}, 'should be one of rgb8, npy; it is "rgb16"'),
        ({"source": "depth"}, '"tasks.normals.intrinsics" should be six numbers'),
        ({"source": "depth", "intrinsics": CAMERA[:4]}, '"tasks.normals.intrinsics" should be six numbers'),
        ({"source": "depth", "intrinsics": [-1, *CAMERA[1:]]}, '"tasks.normals.intrinsics" should be six numbers'),
    ],
)
def test_faults_in_a_section_are_named(tmp_path, section, said):
    with pytest.raises(UsageError) as error:
        parsed(tmp_path, **section)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_derived_labels_need_no_axes(tmp_path):
    labels = parsed(tmp_path, source="depth", intrinsics=CAMERA)
    assert (labels.source, labels.intrinsics, labels.axes, labels.late) == ("depth", tuple(CAMERA), "", False)
    assert labels.told("normals") == "normals: derived from depth"


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("normals", "semseg", "the name of a task of kind depth, in metres"),
        ("normals", "deep", "a task here that has label files"),
        ("normals", "mine", "a task here that has label files"),
        ("edges", "depth", "the name of a task of kind classes or instances"),
    ],
)
def test_what_labels_cannot_be_derived_from_is_named(tmp_path, kind, source, said):
    file = descriptors.write(tmp_path, descriptors.Descriptor("mine", TWO_LABELS))
    section = {"kind": kind, "source": source} | ({"intrinsics": CAMERA} if kind == "normals" else {})
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tasks": {"mine": section}}))
    with pytest.raises(UsageError) as error:
        descriptors.read(tmp_path)
    assert f'"tasks.mine.source" should be {said}; it is {source}' in str(error.value)
    assert "\n" not in str(error.value)


def test_disparity_is_no_depth_to_derive_normals_from():
    labels = NormalLabels(source="depth", intrinsics=tuple(map(float, CAMERA)))
    assert labels.wanted_source(DepthLabels("uint16_scaled", "normalised_disparity"))
    assert not labels.wanted_source(TWO_LABELS["depth"])


# === Options ===


@pytest.mark.parametrize(("loss", "weight"), [("cosine", 0.5), ("l1_pixels", 5.0), ("l1_elements", 5.0)])
def test_the_loss_is_an_option(loss, weight):
    config = replace(Config(), task__normals__loss=loss)
    task = USUAL.task("faces", "mine", config)
    assert task == Normals(loss, "faces") and task.standard_weight == weight
    with pytest.raises(UsageError, match="loss takes one of cosine, l1_pixels, l1_elements"):
        NormalLabels.Options(loss="l2")


# === Moved ===


def test_directions_turn_with_the_camera_and_are_mirrored_last():
    """A quarter turn about the line of sight takes right to down; then left and right are exchanged."""
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    label = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, -1], [0, 0, 0]]], np.float32)

    def moved(**move):
        return USUAL.moved(label, Move(1.0, **move), AugmentConfig()).numpy()[0]

    np.testing.assert_array_equal(moved(), label[0])
    np.testing.assert_array_equal(moved(mirrored=True), label[0] * [-1, 1, 1])
    np.testing.assert_array_equal(moved(turn=quarter), [[0, 1, 0], [-1, 0, 0], [0, 0, -1], [0, 0, 0]])
    np.testing.assert_array_equal(moved(mirrored=True, turn=quarter), [[0, 1, 0], [1, 0, 0], [0, 0, -1], [0, 0, 0]])


# === Pictures ===


def test_colours_are_the_usual_ones():
    """To the right reddish, up greenish, to the camera bluish; without a label black, in panels checkered."""
    map = np.array([[[1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 0, 0]]], np.float32)
    expected = [[[255, 128, 128], [128, 255, 128], [128, 128, 255], [0, 0, 0]]]
    task = Normals()
    for pixels in (task.page_map(map)["pixels"], task.files(None, map)[0].pixels):
        np.testing.assert_array_equal(pixels, expected)
    expected[0][3] = pictures.checker((1, 4))[0, 3]
    for columns in (task.columns(map, None), task.columns(None, tf.constant(map))):
        np.testing.assert_array_equal(columns[0][1], expected)
