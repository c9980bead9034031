"""Edges: losses by hand and golden, scores by distance against brute force, masks of every sort, edges of classes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import metrics
from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.plausibility import Evidence
from mtl_tf.errors import UsageError
from mtl_tf.tasks import ClassLabels, DepthLabels, EdgeLabels, Edges, InstanceLabels
from tests.tasks.battery import loss_of, scores_of, statistics_of

# === Losses ===


def test_the_loss_by_hand():
    """A logit of 0 costs ln 2 times its weight; the mean is over all pixels that have a label, three."""
    target = np.array([[[1, 0, 0, 255]]], np.uint8)
    total, count = loss_of(Edges(0.8), np.zeros((1, 1, 4, 1)), target)
    assert (total, count) == (pytest.approx((0.8 + 0.2 + 0.2) * np.log(2), rel=1e-6), 3)
    total, _ = loss_of(Edges(0.8), np.full((1, 1, 4, 1), np.log(3)), target)
    assert total == pytest.approx(0.8 * np.log(4 / 3) + 2 * 0.2 * np.log(4), rel=1e-6)


def test_the_adaptive_weight_is_the_share_of_the_others_in_each_image():
    """3 of 4 and 1 of 2."""
    target = np.array([[[1, 0, 0, 0]], [[1, 0, 255, 255]]], np.uint8)
    total, count = loss_of(Edges(-1.0), np.zeros((2, 1, 4, 1)), target)
    expected = 0.75 + 3 * 0.25 + 0.5 + 0.5
    assert (total, count) == (pytest.approx(expected * np.log(2), rel=1e-6), 6)


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.95, 0.10037306807956912), (0.6911458333333333, 0.12821477892467043)]
)
def test_the_loss_equals_the_golden_values(shared, weight, expected):
    """Of saliency, whose loss is the same."""
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    total, count = loss_of(Edges(weight), inputs["saliency_logit"][..., None], inputs["saliency_target"])
    assert total / count == pytest.approx(expected, rel=1e-6)


def test_logits_of_any_size_have_a_finite_loss():
    target = np.array([[[1, 0, 1, 0]]], np.uint8)
    total, _ = loss_of(Edges(0.5), np.array([-1e30, 1e30, 1e30, -1e30]).reshape(1, 1, 4, 1), target)
    assert total == pytest.approx(1e30)


# === Scores ===


def score(answer, truth, task=None):
    """Scores of answered edges against true ones, (B, H, W)."""
    return scores_of(task or Edges(), np.where(answer, 1.0, -1.0)[..., None], np.asarray(truth, np.uint8))


@pytest.mark.parametrize("size", [(20, 31), (33, 8), (1, 40)])
@pytest.mark.parametrize("tolerance", [0.0, 0.0075, 0.05, 0.2, 2.0])
def test_near_is_within_the_tolerance_by_brute_force(size, tolerance):
    random = np.random.default_rng(0)
    answer, truth = random.random((3, *size)) < 0.02, random.random((3, *size)) < 0.03
    valid = random.random((3, *size)) < 0.8
    answer[1], truth[2] = False, False
    found = metrics.near_edges(*map(tf.constant, (answer, truth, valid)), tolerance)
    reach = tolerance * np.hypot(*size)
    for image in range(3):
        answered, true = (np.argwhere(map[image] & valid[image]) for map in (answer, truth))
        distances = np.linalg.norm(answered[:, None] - true[None], axis=-1)
        expected = {
            "answered": len(answered),
            "true": len(true),
            "right": (distances <= reach).any(1).sum() if len(true) else 0,
            "found": (distances <= reach).any(0).sum() if len(answered) else 0,
            "pixels": valid[image].sum(),
        }
        assert {name: float(value[image]) for name, value in found.items()} == expected


def test_a_line_that_is_shifted_by_less_than_the_tolerance_is_right():
    """0.0075 of the diagonal of 96 x 128 pixels is 1.2: one pixel, not two, nor one aside and one down."""
    truth = np.zeros((1, 96, 128), np.uint8)
    truth[0, 20:70, 40] = 1
    assert set(score(np.roll(truth, 1, 2), truth).values()) == {100}
    assert set(score(np.roll(truth, 2, 2), truth).values()) == {0}
    found = score(np.roll(truth, (1, 1), (1, 2)), truth)
    assert found["precision_distance"] == found["recall_distance"] == pytest.approx(98)


def test_scores_by_hand():
    """Four answered, three of them true, of six: P = 3/4, R = 1/2, F = 0.6."""
    truth = np.zeros((1, 1, 60), np.uint8)
    truth[0, 0, [0, 10, 20, 30, 40, 50]] = 1
    answer = np.zeros_like(truth)
    answer[0, 0, [0, 10, 20, 25]] = 1
    assert score(answer, truth) == pytest.approx({"f_distance": 60, "precision_distance": 75, "recall_distance": 50})


def test_nothing_answered_and_nothing_true():
    none, all = np.zeros((1, 5, 6), np.uint8), np.ones((1, 5, 6), np.uint8)
    assert set(score(none, none).values()) == {100}
    assert score(none, all) == {"f_distance": 0, "precision_distance": 100, "recall_distance": 0}
    assert score(all, none) == {"f_distance": 0, "precision_distance": 0, "recall_distance": 100}


def test_scores_are_pooled_over_images():
    """Of one image with 1 of 1 right and one with 0 of 9: P = 1/10."""
    truth, answer = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    truth[0, 0, 0] = answer[0, 0, 0] = 1
    answer[1] = 1
    assert score(answer, truth)["precision_distance"] == pytest.approx(10)


def test_a_probability_of_a_half_is_an_edge():
    truth = np.ones((1, 1, 2), np.uint8)
    found = statistics_of(Edges(), np.array([0.0, -0.01]).reshape(1, 1, 2, 1), truth)
    assert found["answered"] == 1


# === Files ===


def write(tmp_path, image):
    image.save(tmp_path / "0.png")
    return str(tmp_path / "0.png")


def masks():
    grey = np.array([[0, 1, 255], [7, 0, 0]], np.uint8)
    palette = Image.fromarray(grey)
    palette.putpalette([200, 10, 10] * 256)
    return {
        "grey": Image.fromarray(grey),
        "one bit": Image.fromarray(grey > 0),
        "palette": palette,
        "three channels": Image.fromarray(np.repeat(grey[..., None], 3, 2)),
        "16 bits": Image.fromarray(grey.astype(np.uint16) * 256),
    }


@pytest.mark.parametrize("name", masks())
def test_masks_of_every_sort(tmp_path, name):
    found = EdgeLabels().read(write(tmp_path, masks()[name]))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 0, 0]])


def test_a_number_may_say_that_there_is_no_label(tmp_path):
    found = EdgeLabels(ignore=7).read(write(tmp_path, masks()["grey"]))
    np.testing.assert_array_equal(found, [[0, 1, 1], [255, 0, 0]])


@pytest.mark.parametrize(("values", "said"), [((0, 0, 1), ""), ((1, 1, 0), "67% of"), ((0, 0, 0), "0% of"), ((), "")])
def test_masks_of_nothing_or_of_most_are_implausible(tmp_path, values, said):
    labels = EdgeLabels(ignore=9)
    path = write(tmp_path, Image.fromarray(np.array([[*values, 9]], np.uint8)))
    evidence = Evidence(descriptors.Descriptor("mine", {"edges": labels}))
    evidence.add("edges", labels.seen(str(path)))
    warnings = evidence.warnings({})
    assert len(warnings) == bool(said) and all(text.startswith(said) for text in warnings)


def test_a_picture_is_no_mask(tmp_path):
    path = write(tmp_path, Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)))
    with pytest.raises(UsageError, match="expected edges as a grey or palette PNG, 0 = none, got a RGB picture"):
        EdgeLabels().read(path)


def test_predictions_are_rounded_down_and_codes_of_the_page_keep_one_for_no_label():
    task, answer = Edges(), np.array([[0.0, 0.5, 0.999, 1.0]], np.float32)
    np.testing.assert_array_equal(task.files(None, answer)[0].pixels, [[0, 127, 254, 255]])
    np.testing.assert_array_equal(task.page_map(answer)["pixels"], [[0, 127, 253, 254]])
    np.testing.assert_array_equal(task.page_map(np.array([[0, 1, 255]], np.uint8), True)["pixels"], [[0, 254, 255]])


# === dataset.json and options ===


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"encoding": "lines"}, '"tasks.edges.encoding" should be one of mask, grey; it is "lines"'),
        ({"ignore": 0}, '"tasks.edges.ignore" should be'),
        ({"ignore": 65536}, '"tasks.edges.ignore" should be'),
        ({"source": ""}, '"tasks.edges.source" should be a text that is not empty'),
    ],
)
def test_faults_in_a_section_are_named(tmp_path, section, said):
    content = {"tasks": {"edges": {"kind": "edges", **section}}}
    (tmp_path / "dataset.json").write_text(descriptors.json.dumps(content))
    with pytest.raises(UsageError) as error:
        descriptors.read(tmp_path)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_weight_is_an_option():
    config = replace(Config(), task__edges__weight=0.8)
    assert EdgeLabels().task("outlines", "mine", config) == Edges(0.8, "outlines")
    assert EdgeLabels.Options().weight == 0.95 and Edges.standard_weight == 25
    with pytest.raises(UsageError, match="weight must be at most 1"):
        EdgeLabels.Options(weight=95)


# === Edges of classes ===

CLASSES = ClassLabels(("a", "b"), ((0, 0, 0), (9, 9, 9)))


def test_edges_follow_from_the_first_class_map():
    depth = DepthLabels("uint16_scaled")
    assert EdgeLabels.implied({"depth": depth, "parts": CLASSES, "semseg": CLASSES}) == EdgeLabels(source="parts")
    assert EdgeLabels.implied({"depth": depth}) is None and EdgeLabels.late
    things = InstanceLabels()
    assert EdgeLabels.implied({"instances": things, "parts": CLASSES}) == EdgeLabels(source="parts")
    assert EdgeLabels.implied({"depth": depth, "instances": things}) == EdgeLabels(source="instances")
    assert ClassLabels.implied({"depth": depth}) is None and not ClassLabels.late and ClassLabels.source == ""


def edges_of(ids, theirs=CLASSES):
    """Also in a graph, of a size that is not known before."""
    ids = np.array(ids, np.int32)
    derived = lambda ids: EdgeLabels(source="semseg").derived(ids, theirs)  # noqa: E731
    found = derived(ids).numpy()
    traced = tf.function(derived, input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
    np.testing.assert_array_equal(traced(ids), found)
    assert found.dtype == np.uint8
    return found


def test_edges_of_classes_by_hand():
    """A pixel is an edge where the one to its right, below, or right below is another class."""
    np.testing.assert_array_equal(
        edges_of([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]), [[0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(edges_of([[0, 0], [0, 1]]), [[1, 1], [1, 0]])


def test_what_is_next_to_unlabelled_pixels_is_unlabelled():
    ids = np.zeros((5, 6), np.int32)
    ids[:, 5], ids[2, 1] = 1, 255
    expected = np.zeros((5, 6), np.uint8)
    expected[:, 4], expected[1:4, 0:3] = 1, 255
    np.testing.assert_array_equal(edges_of(ids), expected)


def test_edges_of_instances_by_hand():
    """Two things of one class have an edge between them; 255 is a number as any other, unknown is 65535."""
    np.testing.assert_array_equal(
        edges_of([[0, 7, 255, 255, 255, 255], [0, 7, 255, 255, 255, 65535]], InstanceLabels()),
        [[1, 1, 0, 0, 255, 255], [1, 1, 0, 0, 255, 255]],
    )


def test_the_thinned_truth_of_the_golden_values_lies_on_the_edges(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    for ids, thinned in zip(inputs["edge_label_maps"], inputs["edge_truth_thinned"], strict=True):
        found = edges_of(ids)
        assert (found[thinned > 0] == 1).all() and (thinned > 0).sum() > 0.5 * (found == 1).sum()
