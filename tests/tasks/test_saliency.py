"""Saliency: its four scores against golden values and by hand, probabilities in files, soft masks named."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.data import descriptors
from mtl_tf.errors import UsageError
from mtl_tf.tasks import Saliency, SaliencyLabels
from tests.tasks.battery import loss_of, scores_of, statistics_of


def test_the_four_scores_equal_the_golden_values(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    found = scores_of(Saliency(), inputs["saliency_logit"][..., None], inputs["saliency_target"])
    expected = {
        "maxF_pooled": 88.32222021985943,
        "maxF_second_sigmoid": 82.59889321582292,
        "sal_miou": 70.98051463197496,
        "maxF_images": 57.00981861229044,
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_loss_is_balanced_by_each_image_unless_a_weight_is_given(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    raw, target = inputs["saliency_logit"][..., None], inputs["saliency_target"]
    total, count = loss_of(Saliency(0.95), raw, target)
    assert total / count == pytest.approx(0.10037306807956912, rel=1e-6)
    by_image = [
        loss_of(Saliency(float((truth == 0).mean())), raw[i : i + 1], truth[None]) for i, truth in enumerate(target)
    ]
    assert loss_of(Saliency(), raw, target) == pytest.approx(np.sum(by_image, 0), rel=1e-6)


def logits(probabilities):
    probabilities = np.asarray(probabilities, np.float64)
    return np.log(probabilities / (1 - probabilities))[..., None]


def test_scores_by_hand():
    """Two images of four pixels. At 0.45 to 0.7: 2 of 3 answered are right, of 2 + 1 true pixels."""
    truth = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]], np.uint8)
    raw = logits([[[0.72, 0.72, 0.72, 0.02]], [[0.42, 0.02, 0.02, 0.02]]])
    found = scores_of(Saliency(), raw, truth)
    # Up to 0.4 all three are found, with one that is wrong: P = 3/4, R = 1.
    assert found["maxF_pooled"] == pytest.approx(100 * 1.3 * 0.75 / (0.3 * 0.75 + 1))
    assert found["sal_miou"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    precision = (2 / 3 + 1) / 2
    assert found["maxF_images"] == pytest.approx(100 * 2 * precision / (precision + 1))


def test_an_image_without_anything_salient_is_right_if_nothing_is_answered():
    nothing = np.zeros((1, 2, 3), np.uint8)
    assert scores_of(Saliency(), logits(np.full((1, 2, 3), 0.01)), nothing)["sal_miou"] == 100
    assert scores_of(Saliency(), logits(np.full((1, 2, 3), 0.99)), nothing)["sal_miou"] == 0


def test_an_image_without_labels_counts_nowhere():
    truth = np.array([[[1, 0]], [[255, 255]]], np.uint8)
    raw = logits([[[0.9, 0.1]], [[0.9, 0.9]]])
    assert scores_of(Saliency(), raw, truth) == scores_of(Saliency(), raw[:1], truth[:1])
    assert all(not value[1].any() for value in statistics_of(Saliency(), raw, truth).values())


@pytest.mark.parametrize(("encoding", "expected"), [("mask", [0, 1, 1, 1]), ("grey", [0, 0, 1, 1])])
def test_probabilities_in_files_say_yes_from_a_half_on(tmp_path, encoding, expected):
    path = str(tmp_path / "0.png")
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(path)
    assert SaliencyLabels(encoding).read(path).tolist() == [expected]


def suspicions(labels, path):
    return list(labels.suspicions("saliency", labels.seen(path) | {"files": 1}, None))


def test_a_soft_map_that_is_read_as_a_mask_is_named(tmp_path):
    path = str(tmp_path / "0.png")
    Image.fromarray(np.array([[0, 3, 90, 255]], np.uint8)).save(path)
    (line,) = suspicions(SaliencyLabels(), path)
    assert 'tasks.saliency.encoding: "grey"' in line and path in line
    assert suspicions(SaliencyLabels("grey"), path) == []
    Image.fromarray(np.array([[0, 255, 7, 255]], np.uint8)).save(path)
    assert suspicions(SaliencyLabels(ignore=7), path) == []
    Image.fromarray(np.array([[0, 0, 7, 0]], np.uint8)).save(path)
    (line,) = suspicions(SaliencyLabels(ignore=7), path)
    assert line.startswith("0% of the labelled pixels")


def test_saliency_follows_from_no_other_label(tmp_path):
    content = {"tasks": {"things": {"kind": "instances"}, "saliency": {"kind": "saliency", "source": "things"}}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r'unknown key "tasks.saliency.source"; known here: kind, encoding, ignore'):
        descriptors.read(tmp_path)
