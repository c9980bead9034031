"""Yes or no for every pixel: what all kinds share whose labels are a mask."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.options import option
from mtl_tf.tasks._maps import MapLabels, encoding, named
from mtl_tf.tasks._regions import Regions
from mtl_tf.tasks._task import PredictedFile, Task

UNKNOWN = 255  # of a label map, and of one in the report page


class BinaryMap(Task):
    """Yes or no for every pixel; labels are uint8: 1, 0, and `UNKNOWN` without a label."""

    positive: float  # weight of the positive pixels in the loss, see `losses.balanced_cross_entropy`

    @property
    def channels(self) -> int:
        """One logit."""
        return 1

    def valid(self, target):
        return target != UNKNOWN

    @property
    def regions(self) -> Regions:
        """No and yes, by their weights in the loss."""
        from mtl_tf import losses

        def weights(target):
            return losses.balanced_weights(target == 1, self.valid(target), self.positive)

        return Regions(2, lambda target: target == 1, weights)

    @property
    def units(self) -> dict[str, str]:
        return {self.name: "probability, 0..1"}

    def decode(self, raw):
        """The probability of yes, float32 (B, H, W)."""
        from keras import ops

        return ops.sigmoid(ops.cast(raw[..., 0], "float32"))

    def loss(self, raw, target) -> tuple:
        """Balanced cross-entropy over the valid pixels; counts pixels."""
        from mtl_tf import losses

        return losses.balanced_cross_entropy(raw[..., 0], target == 1, self.valid(target), self.positive)

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(0, 2, shape, np.uint8)

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        """The probability in grey, checkered where there is no label."""
        from mtl_tf import pictures

        def grey(values):
            known = self.valid(values)[..., None]
            codes = (255 * np.where(known[..., 0], values, 0)).astype(np.uint8)
            return np.where(known, codes[..., None], pictures.checker(values.shape))

        return named(self, truth, answer, grey)

    def page(self) -> dict:
        """Of codes: 0..254 a probability in as many steps, 255 no label."""
        return {"kind": "probability"}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        known = self.valid(values)
        return {"pixels": np.where(known, 254 * np.where(known, values, 0.0), UNKNOWN).astype(np.uint8)}

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.name,)

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """Grey, 255 times the probability, rounded down as the benchmarks of edges have it."""
        return [PredictedFile(self.name, (255 * np.asarray(answer)).astype(np.uint8))]

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Number of the positive and of the other valid pixels, (H, W, 2)."""
        return np.stack([label == 1, label == 0], -1).astype(np.float64)

    def constant(self, sums: np.ndarray):
        """The logit at which the loss is least: ln(w P) - ln((1 - w) N) of P positive and N other pixels."""
        positive, negative = sums[..., 0], sums[..., 1]
        every = max(float(sums.sum()), 1.0)
        share = self.positive if self.positive >= 0 else float(negative.sum()) / every
        # Not without bounds where all labels of a position are alike, and no edge where there are none.
        odds = np.log(share * positive + 1e-6) - np.log((1 - share) * negative + 1e-6)
        return np.where(positive + negative > 0, odds, -1.0)[..., None]


def weight_option(default: float, what: str):
    """The option "weight" of a kind: of yes in the loss."""
    return option(
        default,
        f"Weight of {what} pixels in the loss, others have 1 - weight; -1 = the share of the others in each image.",
        minimum=-1.0,
        maximum=1.0,
        before=default,
    )


BINARY_ENCODINGS = {  # how numbers say yes
    "mask": "0 = no, others = yes",
    "grey": "128..255 = yes",
}


@dataclasses.dataclass(frozen=True)
class BinaryLabels(MapLabels):
    """How yes and no are stored, in numbers of a grey or palette picture.

    Attributes:
        encoding: a key of `BINARY_ENCODINGS`. "grey" is for probabilities, yes where they are more than a half.
        ignore: the number that says that there is no label; None = there is none.
        source: the task that they are derived from; "" = they lie in files.
        most: the share of yes among the labelled pixels from which on it is implausible.
    """

    keys: ClassVar[tuple[str, ...]] = ("encoding", "ignore", "source")
    most: ClassVar[float] = 1.0
    example: ClassVar[str] = '{"encoding": "mask"}'
    dtype: ClassVar[type] = np.uint8

    encoding: str = "mask"
    ignore: int | None = None
    source: str = ""

    @property
    def blank(self) -> int:
        return UNKNOWN

    @classmethod
    def parse(cls, entry) -> "BinaryLabels":
        found = entry.take("ignore", keys.whole, default=None)
        if found is not None and not 1 <= found <= 65535:
            entry.fail("ignore", "a number other than 0 (no), 1..65535", found)
        return cls(encoding(entry, tuple(BINARY_ENCODINGS)), found, entry.take("source", keys.text, default=""))

    def wanted_source(self, theirs) -> str:
        return "" if theirs.regions else "the name of a task of kind classes or instances"

    def told(self, name: str) -> str:
        if self.source:
            return f"{name}: derived from {self.source}"
        unknown = f", {self.ignore} = no label" if self.ignore is not None else ""
        return f"{name}: {BINARY_ENCODINGS[self.encoding]}{unknown}"

    def read(self, path, part=None) -> np.ndarray:
        """1, 0 and `UNKNOWN`, uint8 (H, W)."""
        from mtl_tf.storage import windows

        label = self.label_of(self.codes(path))
        return windows.cut(label, part and part.of(path, label.shape), UNKNOWN)

    def label_of(self, codes: np.ndarray) -> np.ndarray:
        """The label map of the stored numbers of a file, (H, W)."""
        yes = codes > (127 if self.encoding == "grey" else 0)
        return np.where(codes == self.ignore, UNKNOWN, yes).astype(np.uint8)

    def codes(self, path: str) -> np.ndarray:
        """The stored numbers of a file, (H, W)."""
        from mtl_tf.storage import pixels

        return pixels.read_label_codes(path, f"{self.kind} as a grey or palette PNG, 0 = none")

    def seen(self, path: str, label=None) -> dict:
        from mtl_tf.tasks.reading import suspect_maps

        return suspect_maps.seen_answers(self, path, label)

    def suspicions(self, name: str, seen, trained):
        from mtl_tf.tasks.reading import suspect_maps

        return suspect_maps.suspect_answers(self, name, seen)

    def task(self, name: str, data_set: str, config) -> BinaryMap:
        """Of a kind that has a `weight_option`; other kinds override it."""
        return self.task_type(config.task[self.kind].weight, name=name)


def region_edges(ids, ignore: int):
    """The edges between classes or instances: where the right, the lower or the lower right neighbour is another.

    The rule of the Berkeley segmentation benchmark (its seg2bmap), where nothing is thinned. TensorFlow, in a graph or
    outside.

    Args:
        ids: of classes or instances, int (H, W).
        ignore: the value of pixels without a label.

    Returns:
        uint8 (H, W): 1, 0, and `UNKNOWN` for pixels without a label and their eight neighbours.
    """
    import tensorflow as tf

    from mtl_tf.boundaries import differing

    ids = tf.convert_to_tensor(ids)
    edges = differing(ids, tf.pad(ids, [[0, 1], [0, 1]], "SYMMETRIC"))
    unknown = tf.nn.max_pool2d(tf.cast(ids == ignore, tf.float32)[None, ..., None], 3, 1, "SAME")[0, ..., 0] > 0
    return tf.where(unknown, tf.constant(UNKNOWN, tf.uint8), tf.cast(edges, tf.uint8))
