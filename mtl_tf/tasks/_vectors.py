"""A direction for every pixel: what all kinds share whose labels are unit vectors."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.tasks._maps import MapLabels, encoding, named
from mtl_tf.tasks._regions import STEPS, Regions, directions
from mtl_tf.tasks._task import Metric, PredictedFile, Task

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

    tolerance: ClassVar[float] = 0.5
    faces_camera: ClassVar[bool] = False  # whether z < 0 of all

    objective: str  # one of `VECTOR_OBJECTIVES`

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(dataclasses.replace(metric, group=self.title) for metric in ANGLES)

    def compare(self, answer, target) -> dict:
        from mtl_tf import metrics

        return metrics.angles(answer, target, self.valid(target))

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

    @property
    def regions(self) -> Regions:
        """The nearest of so many directions."""
        from keras import ops

        def nearest(target):
            return ops.argmax(ops.matmul(target, directions(self.faces_camera).T), -1)

        return Regions(STEPS, nearest, self.valid)

    @property
    def units(self) -> dict[str, str]:
        return {self.name: "unit vector"}

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
        """The colours of `codecs.USUAL_AXES`, checkered where there is no label."""
        from mtl_tf import pictures

        def colour(values):
            known = self.valid(values)[..., None]
            return np.where(known, codecs.encode_directions(values), pictures.checker(values.shape[:2]))

        return named(self, truth, answer, colour)

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
        axes: what the stored components are, as `axes_of` takes them.
        encoding: a key of `VECTOR_ENCODINGS`. rgb8: n = 2 v / 255 - 1; grey and black = no label.
        intrinsics: of the camera, as `_intrinsics` takes them; for labels that are derived, and perspective crops.
        source: the task that they are derived from; "" = they lie in files.
        fit: `radius` and `spacing` of `surfaces.normals_of_depth`; () = differences where depth is fine, else 4, 2.
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

    def in_files(self) -> "VectorLabels":
        return dataclasses.replace(self, source="", axes="right,down,forward", encoding="npy", fit=())

    @classmethod
    def parse(cls, entry) -> "VectorLabels":
        """Of files `axes` has to be there, of what is derived `intrinsics`."""
        source = entry.take("source", keys.text, default="")
        axes, intrinsics = ({"default": ""}, {}) if source else ({}, {"default": ()})
        return cls(
            entry.take("axes", axes_of, **axes),
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
        from mtl_tf.storage import arrays, pixels

        if self.encoding == "npy":
            return codecs.to_camera_axes(arrays.read_floats(path, self.expected, part), self.axes)
        return codecs.decode_directions(pixels.read_exact_rgb(path, self.expected, part), self.axes)

    @property
    def expected(self) -> str:
        """What a file holds, for messages."""
        return f"{self.kind} in {VECTOR_ENCODINGS[self.encoding]}"

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


# === Kinds of values ===


def axes_of(value):
    """what x, y and z are, such as "right,up,to_camera": one each of right or left, up or down, to_camera or forward"""
    names = [name.strip() for name in keys.text(value).split(",")]
    if len(names) != 3 or {codecs.AXES[name][0] for name in names} != {0, 1, 2}:
        raise ValueError
    return ",".join(names)


def _intrinsics(value):
    """six numbers: focal lengths fx, fy and principal point cx, cy of a picture of width, height, all in pixels"""
    found = keys.numbers(value)
    if len(found) != 6 or not all(found[i] > 0 for i in (0, 1, 4, 5)):
        raise ValueError
    return found


def _fit(value):
    """two whole numbers: radius (0 = differences, no fit) and spacing in pixels of the window that is fitted"""
    radius, spacing = map(keys.whole, value)
    if radius > 8 or not 1 <= spacing <= 8:
        raise ValueError
    return radius, spacing
