"""odsF, oisF and AP: golden values, pairs against brute force, lines, ridges and boundaries by hand."""

import json

import numpy as np
import pytest
from scipy import ndimage

from mtl_tf import boundaries
from mtl_tf.boundaries import READERS

EIGHT = np.ones((3, 3))


def regions(seed=0, size=(60, 80), count=9):
    """Class ids: the nearest of some points."""
    points = np.random.default_rng(seed).random((count, 2)) * size
    places = np.stack(np.mgrid[: size[0], : size[1]], -1)
    return np.linalg.norm(places[:, :, None] - points, axis=-1).argmin(-1).astype(np.uint8)


def counts_of(answered, truth, distance, reader="plain"):
    """Of a map of yes and no, at all thresholds: int (1, thresholds, 3)."""
    how = READERS[reader]
    pixels = np.where(answered, 255, 0).astype(np.uint8)
    return boundaries.count(pixels, truth, np.ones_like(truth), how, how.thresholds, distance)[None]


# === Golden values ===


@pytest.mark.parametrize(("reader", "golden"), [("plain", "plain_99"), ("cont", "nms_101")])
@pytest.mark.parametrize("distance", [0.0075, 0.011])
def test_scores_equal_the_golden_values(shared, reader, golden, distance):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    expected = json.loads((shared / "goldens/metrics.json").read_text())["edges"][f"{golden}_maxDist_{distance}"]
    how = READERS[reader]
    found = [
        boundaries.count(pixels, *boundaries.truth_of(labels), how, how.thresholds, distance)
        for pixels, labels in zip(inputs["edge_prediction_uint8"], inputs["edge_label_maps"], strict=True)
    ]
    scores = boundaries.scores(np.array(found), how.thresholds, how)
    for name, key in (("odsF", "odsF"), ("precision", "ods_precision"), ("recall", "ods_recall"), ("oisF", "oisF")):
        assert scores[name] == pytest.approx(expected[key], rel=1e-6)
    assert scores["AP"] == pytest.approx(expected["AP"], rel=1e-6)
    assert scores["threshold"] == expected["ods_threshold"]
    matching, true, answered = expected["matched_truth_predicted_at_ods"]
    total = np.sum(found, 0)[how.thresholds.index(scores["threshold"])]
    assert total.tolist() == [matching, answered, true]


def test_the_truth_and_the_ridges_equal_the_golden_values(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    expected = json.loads((shared / "goldens/metrics.json").read_text())["edges"]
    for labels, thinned in zip(inputs["edge_label_maps"], inputs["edge_truth_thinned"], strict=True):
        np.testing.assert_array_equal(boundaries.truth_of(labels)[0], thinned > 0)
    ridges = READERS["cont"].read(inputs["edge_prediction_uint8"][0])
    assert ridges.sum() == pytest.approx(expected["nms_image0_sum_float64"], rel=1e-12)


# === Scores ===


def test_the_truth_answered_is_right():
    truth, _ = boundaries.truth_of(regions())
    how = READERS["plain"]
    scores = boundaries.scores(counts_of(truth, truth, 0.0075), how.thresholds, how)
    assert scores["odsF"] == scores["oisF"] == scores["precision"] == scores["recall"] == 1


@pytest.mark.parametrize("shift", [(0, 1), (1, 0)])
def test_edges_beside_by_one_pixel_are_right_within_one_pixel(shift):
    """But for those that the shift takes out of the picture."""
    truth, _ = boundaries.truth_of(regions())
    beside = ndimage.shift(truth.astype(np.uint8), shift, order=0) > 0
    diagonal = np.hypot(*truth.shape)
    assert boundaries.matched(beside, truth, 1.0) == beside.sum() > 100
    matching, answered, _ = counts_of(beside, truth, 1.0001 / diagonal)[0, 50]
    assert matching == answered
    matching, answered, _ = counts_of(beside, truth, 0.9999 / diagonal)[0, 50]
    assert matching < answered / 2


def test_shares_of_nothing():
    precision, recall, f = boundaries.rates(np.array([[0, 0, 5], [0, 5, 0], [0, 0, 0], [0, 3, 3], [2, 4, 3]]))
    np.testing.assert_allclose(precision, [1, 0, 1, 0, 1 / 2])
    np.testing.assert_allclose(recall, [0, 1, 1, 0, 2 / 3])
    np.testing.assert_allclose(f, [0, 0, 1, 0, 4 / 7])


def test_scores_by_hand():
    """Two pictures at two thresholds: 6 of 10 and 6 of 8 answered are right, of 10; each is better at another."""
    counts = np.array([[[5, 6, 5], [2, 2, 5]], [[1, 4, 5], [4, 6, 5]]])
    scores = boundaries.scores(counts, (0.2, 0.4), READERS["plain"])
    assert (scores["threshold"], scores["precision"], scores["recall"]) == (0.4, 6 / 8, 6 / 10)
    assert scores["odsF"] == pytest.approx(12 / 18) and scores["oisF"] == pytest.approx(18 / 22)
    assert scores["AP"] is None  # of two thresholds it says nothing


def test_of_one_recall_the_last_threshold_counts_for_ap():
    """P = 1/2 at R = 0.5 is passed over for P = 1; below R = 0.5 and above 0.75 there is none."""
    how = boundaries.Reader((0.1, 0.2, 0.3), suppresses=False)
    scores = boundaries.scores(np.array([[[3, 6, 4], [2, 4, 4], [2, 2, 4]]]), how.thresholds, how)
    assert scores["AP"] == pytest.approx(sum(1 - 0.02 * k for k in range(26)) / 100)


def test_thresholds_from_coarse_to_fine():
    tenths = tuple(k / 10 for k in range(1, 10))
    for reader in READERS.values():
        assert reader.coarse == tenths
        assert reader.near(0.5) == tuple(k / 100 for k in range(40, 61))
    assert [len(READERS[name].thresholds) for name in ("cont", "plain")] == [101, 99]
    assert (READERS["cont"].near(0.1)[0], READERS["cont"].near(0.9)[-1]) == (0.001, 0.999)
    assert (READERS["plain"].near(0.1)[0], READERS["plain"].near(0.9)[-1]) == (0.01, 0.99)


def test_plain_takes_what_is_on_the_threshold_and_cont_does_not():
    pixels = np.zeros((40, 40), np.uint8)
    pixels[:, 20] = 51  # 0.2
    for name, on in (("plain", 40), ("cont", 0)):
        reader = READERS[name]
        strength = reader.read(pixels)
        assert reader.lines(strength, 0.2).sum() == on and reader.lines(strength, 0.19).any()


# === Pairs ===


def largest_matching(first, second, reach):
    """By augmenting paths, one after another."""
    first, second = np.argwhere(first), np.argwhere(second)
    near = [[j for j, b in enumerate(second) if np.hypot(*(a - b)) <= reach] for a in first]
    partner = {}

    def augment(i, seen):
        for j in near[i]:
            if j not in seen:
                seen.add(j)
                if j not in partner or augment(partner[j], seen):
                    partner[j] = i
                    return True
        return False

    return sum(augment(i, set()) for i in range(len(first)))


def test_pairs_equal_brute_force():
    random = np.random.default_rng(0)
    for _ in range(60):
        size, reach = random.integers(1, 15, 2), random.choice([0, 0.5, 1, np.sqrt(2), 2, 3.7])
        answered, truth = random.random(size) < random.random() / 2, random.random(size) < random.random() / 2
        expected = largest_matching(answered, truth, reach)
        assert boundaries.matched(answered, truth, reach) == boundaries.matched(truth, answered, reach) == expected


def test_two_answers_beside_one_edge_are_one_pair():
    answered, truth = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    answered[2, [1, 3]], truth[2, 2] = True, True
    assert boundaries.matched(answered, truth, 1.0) == 1
    assert boundaries.matched(answered, np.zeros_like(truth), 1.0) == 0


# === Lines ===


def test_thinned_lines_are_thin_and_connected_as_the_mask():
    random = np.random.default_rng(0)
    for _ in range(20):
        mask = np.pad(ndimage.gaussian_filter(random.normal(size=(40, 50)), 2) > 0, 1)  # else holes open at the border
        lines = boundaries.thinned(mask)
        assert not (lines & ~mask).any()
        assert ndimage.label(lines, EIGHT)[1] == ndimage.label(mask, EIGHT)[1]
        assert ndimage.label(~lines)[1] == ndimage.label(~mask)[1]
        np.testing.assert_array_equal(boundaries.thinned(lines), lines)
        assert not ndimage.minimum_filter(lines, 2, mode="constant").any()  # no square of four


def test_thinning_by_hand():
    bar = np.zeros((5, 12), bool)
    bar[1:4, 1:11] = True
    expected = np.zeros_like(bar)
    expected[2, 2:10] = True
    np.testing.assert_array_equal(boundaries.thinned(bar), expected)
    for empty in (np.zeros((4, 6), bool), np.zeros((0, 3), bool)):
        np.testing.assert_array_equal(boundaries.thinned(empty), empty)
    assert boundaries.thinned(np.ones((1, 1), bool)).all()


def test_the_boundaries_of_labels_by_hand():
    """A pixel is one where the pixel to its right, below, or right below has another label."""
    found = boundaries.boundaries(np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(found, [[0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])


def test_nothing_is_known_beside_pixels_without_a_class():
    labels = np.zeros((5, 9), np.uint8)
    labels[:, 6:], labels[2, 2] = 1, 255
    truth, known = boundaries.truth_of(labels, ignore=255)
    expected = np.ones((5, 9), bool)
    expected[1:4, 1:4] = False
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_array_equal(truth, np.arange(9) == 5 * np.ones((5, 1)))
    answer = np.full((5, 9), 255, np.uint8)
    found = boundaries.count(answer, truth, known, READERS["plain"], (0.5,), 0.05)
    assert found[0, 1] == (boundaries.thinned(answer > 0) & known).sum()
    assert boundaries.truth_of(labels)[1].all() and boundaries.truth_of(labels)[0][1:4, 1:4].any()


# === Ridges ===


def test_only_the_ridge_remains_and_is_weakened_at_the_border():
    strength = np.exp(-((np.arange(40) - 20) ** 2) / 4) * np.ones((30, 1))
    found = boundaries.suppressed(strength)
    weights = np.minimum(np.minimum(np.arange(30), np.arange(29, -1, -1)) / 5, 1)
    np.testing.assert_allclose(found[:, 20], weights)
    ridge = np.arange(40) == 20
    assert not found[:, ~ridge & (abs(np.arange(40) - 20) < 6)].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 30), (12, 12)])
def test_ridges_of_small_pictures(size):
    found = boundaries.suppressed(np.random.default_rng(0).random(size))
    border = np.ones(size, bool)
    border[1:-1, 1:-1] = False
    assert found.shape == size and np.isfinite(found).all() and not found[border].any()
