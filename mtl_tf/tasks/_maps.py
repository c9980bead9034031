"""Maps that several kinds of tasks have: a direction a pixel, yes or no a pixel. One class for each, and its labels."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.tasks._labels import Labels
from mtl_tf.tasks._task import Metric, PredictedFile, Task

UNKNOWN = 255  # of a binary label map, and of one in the report page


def named(task: Task, truth, answer, colour) -> list[tuple[str, np.ndarray]]:
    """Captions and pictures of the maps that there are; `colour` makes the picture of one."""
    maps = {f"true {task.name}": truth, f"predicted {task.name}": answer}
    return [(name, colour(np.asarray(values))) for name, values in maps.items() if values is not None]


def encoding(entry, known: tuple[str, ...]) -> str:
    """The entry "encoding" of a section, the first of those known where it is missing."""
    return entry.take("encoding", keys.one_of(*known), default=known[0])


@dataclasses.dataclass(frozen=True)
class MapLabels(Labels):
    """Labels whose section holds the fields that are not as usual; a pixel without a label is `blank`."""

    def content(self) -> dict:
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        found = {key: value for key, value in dataclasses.asdict(self).items() if value != usual[key]}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    @property
    def storage(self) -> tuple:
        return dataclasses.astuple(self)

    def emptiness(self, path: str, label: np.ndarray) -> list[str]:
        return [f"{path}: no pixel has a label"] * bool((label == self.blank).all())


VECTOR_OBJECTIVES = ("cosine", "l1_pixels", "l1_elements")  # keys of `losses.VECTOR_LOSSES`
VECTOR_ENCODINGS = {
    "rgb8": '8-bit RGB, as PNG (floats in .npy files: "encoding": "npy" in dataset.json)',
    "npy": "floats (H, W, 3), as numpy.save writes them",
}
ANGLES = (
    Metric("mean", "Mean angle", 2, "\N{DEGREE SIGN}", higher=False, main=True),
    Metric("median", "Median angle", 2, "\N{DEGREE SIGN}", higher=False),
    Metric("rmse", "RMSE of the angle", 2, "\N{DEGREE SIGN}", higher=False),
    Metric("within_11_25", "Within 11.25\N{DEGREE SIGN}", 2, " %", higher=True),
    Metric("within_22_5", "Within 22.5\N{DEGREE SIGN}", 2, " %", higher=True),
    Metric("within_30", "Within 30\N{DEGREE SIGN}", 2, " %", higher=True),
)


class VectorMap(Task):
    """A unit vector for every pixel, in the axes of the camera: x right, y down, z forward.

    Labels are float32 (B, H, W, 3); pixels without one have the zero vector.
    """

    objective: str  # one of `VECTOR_OBJECTIVES`

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(dataclasses.replace(metric, group=self.title) for metric in ANGLES)

    def measure(self, raw, target) -> dict:
        from mtl_tf import metrics

        return metrics.angles(self.decode(raw), target, self.valid(target))

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Degrees and percentages, pooled over all pixels."""
        from mtl_tf import metrics

        return metrics.angle_scores(statistics)

    @property
    def channels(self) -> int:
        """The three components, of any length."""
        return 3

    def valid(self, target):
        square = target * target
        # Also False for NaN.
        return square[..., 0] + square[..., 1] + square[..., 2] > 0.25

    def decode(self, raw):
        """Unit vectors, float32 (B, H, W, 3): raw / max(|raw|, 1e-12)."""
        from keras import ops

        from mtl_tf import losses

        return losses.unit(ops.cast(raw, "float32"))

    def loss(self, raw, target) -> tuple:
        """The objective over the valid pixels, of the raw head made one long; counts pixels."""
        from keras import ops

        from mtl_tf import losses

        valid = self.valid(target)
        # A head near zero would get a gradient of any size: what is shorter is not made one long.
        answer = losses.unit(raw, shortest=1e-3)
        truth = ops.where(valid[..., None], target, 0.0)
        return losses.over_pixels(losses.VECTOR_LOSSES[self.objective](answer, truth), valid)

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Towards the camera."""
        vectors = random.normal(0, 1, (*shape, 3)) * [1, 1, 0.1] - [0, 0, 1]
        return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        """The colours of `codecs.USUAL_AXES`; black where there is no label."""
        return named(self, truth, answer, codecs.encode_directions)

    def page(self) -> dict:
        """Of colours in `codecs.USUAL_AXES`; (0, 0, 0) = no label."""
        return {"kind": "vectors"}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        return {"pixels": codecs.encode_directions(values)}

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.name,)

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """8-bit colours in `codecs.USUAL_AXES`, the usual look of normals; the picture is the same file."""
        return [PredictedFile(self.name, codecs.encode_directions(answer))]

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Sum of the unit vectors, (H, W, 3)."""
        return np.where(np.asarray(self.valid(label))[..., None], label, 0).astype(np.float64)

    def constant(self, sums: np.ndarray):
        """The mean direction."""
        return sums


@dataclasses.dataclass(frozen=True)
class VectorLabels(MapLabels):
    """How unit vectors are stored; in memory their axes are x right, y down, z forward.

    Attributes:
        axes: what the stored components are, as `_axes` takes them.
        encoding: a key of `VECTOR_ENCODINGS`. rgb8: n = 2 v / 255 - 1; grey and black = no label.
        intrinsics: of the camera, as `_intrinsics` takes them; for labels that are derived, and perspective crops.
        source: the task that they are derived from; "" = they lie in files.
        fit: `radius` and `spacing` of `surfaces.normals_of_depth`; () = differences where depth has 16 bits, else 4, 2.
    """

    keys: ClassVar[tuple[str, ...]] = ("axes", "encoding", "intrinsics", "source", "fit")
    turns: ClassVar[bool] = True
    example: ClassVar[str] = '{"axes": "right,up,to_camera"}'
    dtype: ClassVar[type] = np.float32
    shape: ClassVar[tuple[int, ...]] = (3,)

    axes: str = ""
    encoding: str = "rgb8"
    intrinsics: tuple[float, ...] = ()
    source: str = ""
    fit: tuple[int, ...] = ()

    @property
    def camera(self):
        from mtl_tf.surfaces import Intrinsics

        *focal_and_centre, width, height = self.intrinsics or (None,) * 6
        return Intrinsics(*focal_and_centre, (height, width)) if self.intrinsics else None

    def check_turns(self, name: str, data_set: str, config) -> None:
        """Raises a UsageError if directions cannot be turned as augmentation asks for."""
        if config.augment.wiggle and not self.intrinsics:
            raise UsageError(
                f"augment.wiggle={config.augment.wiggle:g} turns the {name} of {data_set} by its camera, which is "
                f'unknown; state "intrinsics" under {name} in dataset.json, or turn it off'
            )

    @classmethod
    def parse(cls, entry) -> "VectorLabels":
        """Of files `axes` has to be there, of what is derived `intrinsics`."""
        source = entry.take("source", keys.text, default="")
        axes, intrinsics = ({"default": ""}, {}) if source else ({}, {"default": ()})
        return cls(
            entry.take("axes", _axes, **axes),
            encoding(entry, tuple(VECTOR_ENCODINGS)),
            entry.take("intrinsics", _intrinsics, **intrinsics),
            source,
            entry.take("fit", _fit, default=()),
        )

    def told(self, name: str) -> str:
        if self.source:
            return f"{name}: derived from {self.source}"
        unknown = "0,0,0, 127,127,127, 128,128,128" if self.encoding == "rgb8" else "shorter than 0.5"
        return f"{name}: {self.encoding}; x,y,z = {self.axes}; {unknown} = no label"

    @property
    def endings(self) -> tuple[str, ...]:
        return (".npy",) if self.encoding == "npy" else super().endings

    def read(self, path, part=None) -> np.ndarray:
        """Unit vectors, float32 (H, W, 3); zero = no label."""
        from mtl_tf.storage import pixels

        expected = f"{self.kind} in {VECTOR_ENCODINGS[self.encoding]}"
        if self.encoding == "npy":
            return codecs.to_camera_axes(pixels.read_floats(path, expected, part), self.axes)
        return codecs.decode_directions(pixels.read_exact_rgb(path, expected, part), self.axes)

    def seen(self, path: str, label=None) -> dict:
        from mtl_tf.tasks.reading import suspect_maps

        return suspect_maps.seen_directions(self, path, label)

    def suspicions(self, name: str, seen, trained):
        from mtl_tf.tasks.reading import suspect_maps

        return suspect_maps.suspect_directions(self, name, seen)

    def moved(self, label, move, config):
        """Turned with the camera, then mirrored with the picture."""
        import tensorflow as tf

        if move.turn is not None:
            label = tf.tensordot(label, tf.transpose(move.turn), 1)
        return label * tf.where(move.mirrored, [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0])


class BinaryMap(Task):
    """Yes or no for every pixel; labels are uint8: 1, 0, and `UNKNOWN` without a label."""

    positive: float  # weight of the positive pixels in the loss, see `losses.balanced_cross_entropy`

    @property
    def channels(self) -> int:
        """One logit."""
        return 1

    def valid(self, target):
        return target != UNKNOWN

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
        return "" if theirs.class_names else "the name of a task of kind classes"

    def told(self, name: str) -> str:
        if self.source:
            return f"{name}: derived from {self.source}"
        unknown = f", {self.ignore} = no label" if self.ignore is not None else ""
        return f"{name}: {BINARY_ENCODINGS[self.encoding]}{unknown}"

    def read(self, path, part=None) -> np.ndarray:
        """1, 0 and `UNKNOWN`, uint8 (H, W)."""
        from mtl_tf.storage import windows

        codes = self.codes(path)
        yes = codes > (127 if self.encoding == "grey" else 0)
        label = np.where(codes == self.ignore, UNKNOWN, yes).astype(np.uint8)
        return windows.cut(label, part and part.of(path, label.shape), UNKNOWN)

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


def class_edges(ids, ignore: int):
    """The edges between classes: where the right, the lower or the lower right neighbour has another class.

    The rule of the Berkeley segmentation benchmark (its seg2bmap), where nothing is thinned. TensorFlow, in a graph or
    outside.

    Args:
        ids: class ids, int (H, W).
        ignore: the value of pixels without a class.

    Returns:
        uint8 (H, W): 1, 0, and `UNKNOWN` for pixels without a class and their eight neighbours.
    """
    import tensorflow as tf

    ids = tf.convert_to_tensor(ids)
    around = tf.pad(ids, [[0, 1], [0, 1]], "SYMMETRIC")
    edges = (ids != around[:-1, 1:]) | (ids != around[1:, :-1]) | (ids != around[1:, 1:])
    unknown = tf.nn.max_pool2d(tf.cast(ids == ignore, tf.float32)[None, ..., None], 3, 1, "SAME")[0, ..., 0] > 0
    return tf.where(unknown, tf.constant(UNKNOWN, tf.uint8), tf.cast(edges, tf.uint8))


# === Kinds of values ===


def _axes(value):
    """what x, y and z are, such as "right,up,to_camera": one each of right or left, up or down, to_camera or forward"""
    names = [name.strip() for name in keys.text(value).split(",")]
    if len(names) != 3 or {codecs.AXES[name][0] for name in names} != {0, 1, 2}:
        raise ValueError
    return ",".join(names)


def _intrinsics(value):
    """six numbers: focal lengths fx, fy and principal point cx, cy of a picture of width, height, all in pixels"""
    if not isinstance(value, list) or len(value) != 6 or not all(keys.number(value[i]) > 0 for i in (0, 1, 4, 5)):
        raise ValueError
    return tuple(map(keys.number, value))


def _fit(value):
    """two whole numbers: radius (0 = differences, no fit) and spacing in pixels of the window that is fitted"""
    radius, spacing = map(keys.whole, value)
    if radius > 8 or not 1 <= spacing <= 8:
        raise ValueError
    return radius, spacing
