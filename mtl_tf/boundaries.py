"""odsF, oisF and AP of predicted edges, as the Berkeley benchmark of boundaries has them (Martin et al., TPAMI 2004).

A predicted edge is right where it can be paired with a true one nearby, one to one. All of it in NumPy and SciPy;
`tools/score_edges.py` scores folders with it.
"""

import dataclasses

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

# How far the two pixels of a pair may be from each other, as a share of the diagonal, by the data set.
DISTANCES = {"pascal": 0.0075, "nyud": 0.011, "voc": 0.01, "sbd": 0.02}
LARGEST_DISTANCE = 0.05

_HUNDREDTHS = tuple(k / 100 for k in range(1, 100))


# === From a map of edges, or of classes, to lines of one pixel ===


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a predicted map is read. Two ways are in use, which differ by some percent in odsF: they do not compare.

    Attributes:
        thresholds: all that the benchmark has, ascending.
        suppresses: whether only the ridges of the map are edges, and those that are above a threshold, not on it.
    """

    thresholds: tuple[float, ...]
    suppresses: bool

    def read(self, pixels: np.ndarray) -> np.ndarray:
        """The strength of edges, float64 (H, W) in 0..1, of a predicted map, uint8 (H, W)."""
        strength = pixels / 255
        return suppressed(strength) if self.suppresses else strength

    def lines(self, strength: np.ndarray, threshold: float) -> np.ndarray:
        """The edges that are answered at a threshold, thinned: bool (H, W)."""
        return thinned(strength > threshold if self.suppresses else strength >= threshold)

    @property
    def coarse(self) -> tuple[float, ...]:
        """Nine thresholds between which the best one is looked for."""
        return self.thresholds[9 + self.suppresses :: 10][:9]

    def near(self, threshold: float) -> tuple[float, ...]:
        """The thresholds from ten before to ten behind one of them."""
        place = self.thresholds.index(threshold)
        return self.thresholds[max(place - 10, 0) : place + 11]


READERS = {
    "cont": Reader((0.001, *_HUNDREDTHS, 0.999), suppresses=True),
    "plain": Reader(_HUNDREDTHS, suppresses=False),
}


def suppressed(strength: np.ndarray) -> np.ndarray:
    """Only the ridges of a map of edges (non-maximum suppression; Dollar and Zitnick, TPAMI 2015, their edgesNms).

    The direction across an edge follows from second differences of the map, smoothed by a triangle of radius 4. A pixel
    remains unless 1.01 of it is less than the map one pixel further to either side. The five outermost rows and columns
    are weakened by 0, 0.2, 0.4, 0.6 and 0.8.

    Args:
        strength: float (H, W).

    Returns:
        float64 (H, W).
    """
    if min(strength.shape) < 2:
        return np.zeros(strength.shape)  # all of it is border
    triangle = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
    smooth = ndimage.correlate1d(ndimage.correlate1d(strength, triangle, 0), triangle, 1)
    by_y, by_x = np.gradient(smooth)
    by_yy, _ = np.gradient(by_y)
    by_xy, by_xx = np.gradient(by_x)
    angle = np.mod(np.arctan(by_yy * np.sign(-by_xy) / (by_xx + 1e-5)), np.pi)
    keeps = np.ones(strength.shape, bool)
    for side in (1, -1):
        keeps &= 1.01 * strength >= _beside(strength, side * np.sin(angle), side * np.cos(angle))
    rows, columns = (np.minimum(_from_border(size) / 5, 1) for size in strength.shape)
    return np.where(keeps, strength, 0) * rows[:, None] * columns


def _beside(values, down, right):
    """Bilinear values (H, W) at so many pixels from each pixel, those outside moved to the border."""
    height, width = values.shape
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1.001)
    columns = np.clip(np.arange(width) + right, 0, width - 1.001)
    return ndimage.map_coordinates(values, [rows, columns], order=1, mode="nearest")


def _from_border(size):
    places = np.arange(size)
    return np.minimum(places, size - 1 - places)


_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))  # x1 .. x8: right, right above, ...


def _removable():
    """For each half of a step, which of the 256 neighbourhoods (x1 is bit 0) let their middle go: bool (256,) twice."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x = (np.arange(256) >> np.arange(8)[:, None] & 1).astype(bool)
    even, odd, next_odd = x[1::2], x[::2], x[[2, 4, 6, 0]]
    crossings = (~odd & (even | next_odd)).sum(0)
    neighbours = np.minimum((odd | even).sum(0), (even | next_odd).sum(0))
    both = (crossings == 1) & (neighbours >= 2) & (neighbours <= 3)
    return both & ~((x2 | x3 | ~x8) & x1), both & ~((x6 | x7 | ~x4) & x5)


_REMOVABLE = _removable()


def thinned(mask: np.ndarray) -> np.ndarray:
    """The lines of a mask, one pixel wide, connected as the mask is.

    Algorithm A1 of Guo and Hall (Communications of the ACM 1989), as Lam, Lee and Suen (TPAMI 1992, page 879) write it,
    until nothing changes: what MATLAB's bwmorph calls "thin", and scikit-image `morphology.thin`.

    Args:
        mask: bool (H, W).

    Returns:
        bool (H, W).
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    flat, changed = padded.ravel(), np.zeros(padded.size, bool)
    steps = [down * padded.shape[1] + right for down, right in _AROUND]
    # A pixel is looked at again by the same half only where a neighbour has gone since.
    near = [np.flatnonzero(flat)] * 2
    while any(each.size for each in near):
        for removable in _REMOVABLE:
            changed[:] = False
            for each in near:
                changed[each] = True
            pixels = np.flatnonzero(changed & flat)
            codes = np.zeros(pixels.size, np.uint8)
            for bit, step in enumerate(steps):
                codes |= flat[pixels + step].astype(np.uint8) << bit
            gone = pixels[removable[codes]]
            flat[gone] = False
            near = [near[1], np.add.outer(gone, steps).ravel()]
    return padded[1:-1, 1:-1]


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Where the right, the lower or the lower right neighbour has another label: bool (H, W), not thinned.

    Args:
        labels: numbers (H, W).
    """
    return differing(labels, np.pad(labels, ((0, 1), (0, 1)), "edge"))


def differing(labels, around):
    """`boundaries`, of arrays or of tensors.

    Args:
        labels: numbers (H, W).
        around: the same with the last row and column once more, (H + 1, W + 1).
    """
    return (labels != around[:-1, 1:]) | (labels != around[1:, :-1]) | (labels != around[1:, 1:])


def truth_of(labels: np.ndarray, ignore: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The true lines, and where they are known.

    A stored map of edges goes the same way: a line of one pixel becomes two wide and is thinned again, as the published
    scores on NYUD have it.

    Args:
        labels: class ids, or 0 and another number for edges, (H, W).
        ignore: the id of pixels without a class; they and their eight neighbours are not known. The benchmark has no
            such pixels, and says nothing of them.

    Returns:
        The thinned boundaries, and the known pixels, both bool (H, W).
    """
    known = np.ones(labels.shape, bool)
    if ignore is not None:
        known = ~ndimage.binary_dilation(labels == ignore, np.ones((3, 3)))
    return thinned(boundaries(labels) & known), known


# === Pairs ===


def matched(answered: np.ndarray, truth: np.ndarray, reach: float) -> int:
    """The largest number of pairs of an answered and a true pixel, each in one pair only.

    The benchmark looks for the cheapest assignment with a chance of outliers, which makes as many pairs up to a few.
    This is a largest flow from answered to true pixels (Dinic). A bipartite matching of SciPy's is the same number, but
    its search takes minutes for some of these graphs.

    Args:
        answered, truth: bool (H, W).
        reach: the largest distance of a pair, pixels.
    """
    few, many = sorted((answered, truth), key=np.count_nonzero)
    firsts, seconds = _near_pairs(few, many, reach)
    if not firsts.size:
        return 0
    left, right = np.count_nonzero(few), np.count_nonzero(many)
    sink = 1 + left + right
    tails = np.concatenate([np.zeros(left, int), firsts, np.arange(1 + left, sink)])
    heads = np.concatenate([np.arange(1, 1 + left), left + seconds, np.full(right, sink)])
    graph = sparse.csr_array((np.ones(tails.size, np.int32), (tails, heads)), (sink + 1, sink + 1))
    return int(csgraph.maximum_flow(graph, 0, sink, method="dinic").flow_value)


def _near_pairs(few, many, reach):
    """The numbers, from 1, of the pixels of two masks that are no further than `reach` from each other: int (pairs,)"""
    radius = int(reach)
    numbers = np.pad(np.where(many, np.cumsum(many).reshape(many.shape), 0), radius)
    width, flat = numbers.shape[1], numbers.ravel()
    rows, columns = np.nonzero(few)
    places = (rows + radius) * width + columns + radius
    firsts, seconds = [], []
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if np.hypot(down, right) <= reach:
                partners = flat[places + down * width + right]
                there = np.flatnonzero(partners)
                firsts.append(there + 1)
                seconds.append(partners[there])
    return np.concatenate(firsts), np.concatenate(seconds)


def count(pixels, truth, known, reader: Reader, thresholds: tuple[float, ...], distance: float) -> np.ndarray:
    """The counts of a picture, of which all scores are made.

    Args:
        pixels: predicted edges, uint8 (H, W): 255 times the probability, rounded down.
        truth, known: as `truth_of` gives them; answers that are not on known pixels do not count.
        reader: how the prediction is read.
        thresholds: some of the reader's.
        distance: the largest distance of a pair, as a share of the diagonal.

    Returns:
        int64 (thresholds, 3): matched, answered and true pixels.
    """
    strength, reach = reader.read(pixels), distance * np.hypot(*pixels.shape)
    found = []
    for threshold in thresholds:
        answered = reader.lines(strength, threshold) & known
        found.append((matched(answered, truth, reach), np.count_nonzero(answered), np.count_nonzero(truth)))
    return np.array(found, np.int64).reshape(-1, 3)


# === Scores ===


def rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F = 2PR / (P + R), shares, of counts (..., 3); P and R are 1 where they are of nothing."""
    matching, answered, true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision = np.where(answered > 0, matching / np.maximum(answered, 1), 1.0)
    recall = np.where(true > 0, matching / np.maximum(true, 1), 1.0)
    total = precision + recall
    return precision, recall, np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)


def scores(counts: np.ndarray, thresholds: tuple[float, ...], reader: Reader) -> dict[str, float | None]:
    """The scores of a set of pictures.

    Args:
        counts: int (pictures, thresholds, 3), see `count`; at least one picture.
        thresholds: of the counts, ascending. With some of the reader's only, odsF is the benchmark's where its best
            threshold is among them, and oisF near the benchmark's.
        reader: by which was counted.

    Returns:
        Shares. "odsF": the largest F of all pictures at one threshold, which is "threshold", and "precision" and
        "recall" there. "oisF": each picture at its own best threshold, the counts added. "AP": the sum over the recalls
        0, 0.01 .. 1 of a hundredth of the precision, interpolated linearly, 0 where there is none; None where some of
        the reader's thresholds are missing, since it would be far too small.
    """
    precision, recall, f = rates(counts.sum(0))
    best = int(f.argmax())
    own = rates(counts)[2].argmax(1)
    _, _, ois = rates(counts[np.arange(len(counts)), own].sum(0))
    return {
        "odsF": float(f[best]),
        "threshold": thresholds[best],
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "oisF": float(ois),
        "AP": _average_precision(precision, recall) if thresholds == reader.thresholds else None,
    }


def _average_precision(precision, recall):
    # Of several thresholds with the same recall the benchmark takes the last.
    recalls, last = np.unique(recall[::-1], return_index=True)
    along = np.interp(np.arange(101) / 100, recalls, precision[::-1][last], left=0, right=0)
    return float(along.sum() / 100)
