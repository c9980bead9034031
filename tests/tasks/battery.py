"""One small example of every kind of task, for the tests that all kinds have to pass."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mtl_tf import panoptic
from mtl_tf.tasks import (
    ClassLabels,
    Depth,
    DepthLabels,
    Disparity,
    DisparityLabels,
    EdgeLabels,
    Edges,
    InstanceLabels,
    Instances,
    Labels,
    NormalLabels,
    Normals,
    Regression,
    RegressionLabels,
    Saliency,
    SaliencyLabels,
    Segmentation,
    Task,
)


@dataclasses.dataclass(frozen=True)
class Example:
    """A task of a kind.

    Attributes:
        labels: how they are stored.
        task: of those labels.
        raw_of: the raw head (B, H, W, channels) that answers label maps; where there is no label, anything finite.
        step: by how much a label may change when it is written to a file and read.
        others: further labels of the kind, for dataset.json.
        pointwise: whether the answer at a pixel depends on the head there alone.
        every_pixel: whether each labelled pixel has a gradient of its own.
    """

    labels: Labels
    task: Task
    raw_of: Callable[[np.ndarray], np.ndarray]
    step: float = 0.0
    others: tuple[Labels, ...] = ()
    pointwise: bool = True
    every_pixel: bool = True

    def batch(self, size=(5, 7, 8), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A raw head and label maps of images: one labelled in part, one not at all, one at a pixel, others wholly."""
        random = np.random.default_rng(seed)
        target = self.task.random(random, size)
        target[0][random.random(size[1:]) < 0.4] = self.labels.blank
        target[1:3] = self.labels.blank
        target[2, 3, 4] = self.task.random(random, (1, 1, 1))[0, 0, 0]
        # Of other labels, so that it is wrong, with noise, so that no two pixels are alike.
        raw = self.raw_of(np.where(self.labelled(target), np.roll(target, 1, 2), self.task.random(random, size)))
        return (raw + random.normal(0, 0.5, raw.shape)).astype(np.float32), target

    def labelled(self, target: np.ndarray) -> np.ndarray:
        """Which pixels of label maps (B, H, W, ...) have a label, by their value: bool (B, H, W, 1 ...)."""
        return (target != self.labels.blank).any(axis=tuple(range(3, target.ndim)), keepdims=True)


def _depth(objective="l2", **options):
    return Depth(1.0, 50.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5, objective=objective, **options)


def _one_hot(target):
    return 20.0 * np.eye(3)[np.where(target == 255, 0, target)]


def _whitened(target):
    return (np.where(target > 0, target, 10.0)[..., None] - 10) / 5


def _stretched(target):
    return 3.0 * np.where((target == 0).all(-1, keepdims=True), [0.0, 0.0, -1.0], target)


def _logits(target):
    return np.where(target == 1, 20.0, -20.0)[..., None]


def _standard(mean, std):
    def raw_of(target):
        deep = target[..., None] if np.ndim(mean) == 0 else target
        return np.where(deep < -1e37, 0, (deep - mean) / std)

    return raw_of


def _centred(target):
    there = (target > 0) & (target != 65535)
    heat, ways = panoptic.targets(np.where(there, target, 0), 1.0)
    return np.concatenate([10 * heat[..., None], ways / 4.0, _logits(there)], -1)


def _classes(objective="cross_entropy", every_pixel=True, **options):
    task = Segmentation(_CLASSES.classes, _CLASSES.palette, objective=objective, **options)
    return Example(_CLASSES, task, _one_hot, every_pixel=every_pixel)


_CLASSES = ClassLabels(("a", "b", "c"), ((1, 2, 3), (250, 0, 0), (0, 250, 0)))
_DEPTH = DepthLabels("uint16_scaled", scale=0.01, minimum=1.0, maximum=50.0)
_NORMALS = NormalLabels("right,up,to_camera")
# A component changes by half a code, 1 / 255, and by as much again when the vector is made one long.
_CODE = 2 / 255
_DERIVED = NormalLabels(intrinsics=(500.0, 500.0, -0.5, 119.5, 320.0, 240.0), source="depth")

EXAMPLES = {
    "classes": dataclasses.replace(
        _classes(),
        others=(
            ClassLabels(("a",), ((1, 2, 3),), encoding="colour", values=(("9,9,9", "a"), ("other", "ignore"))),
            dataclasses.replace(_CLASSES, frequency=(0.5, 0.5, 0.0), frequency_where_present=(0.25, 0.5, 0.0)),
        ),
    ),
    "weighted classes": _classes(weights=(0.25, 1.0, 4.0)),
    "classes by focal loss": _classes("focal"),
    "classes by focal loss below 1": _classes("focal", gamma=0.5, weights=(0.25, 1.0, 4.0)),
    "classes by their hardest pixels": _classes(every_pixel=False, hardest=0.2),
    "weighted classes by their hardest pixels": _classes("focal", False, hardest=0.5, weights=(0.25, 1.0, 4.0)),
    "classes by dice": _classes("dice"),
    "classes by lovasz": _classes("lovasz"),
    "classes by cross_entropy+dice": _classes("cross_entropy+dice"),
    "classes by cross_entropy+lovasz": _classes("cross_entropy+lovasz", False, hardest=0.2),
    "depth": Example(
        _DEPTH,
        _depth(),
        _whitened,
        step=0.0051,
        others=(
            DepthLabels("inverse_uint8", "metres", invalid=(7,), mean=3.0, std=1.0, log_mean=-1.0, log_std=0.5),
            DepthLabels("npy", minimum=0.1, maximum=10.0),
        ),
    ),
    "depth by silog": Example(_DEPTH, _depth("silog"), _whitened, step=0.0051),
    "depth by silog and gradients, over pixels": Example(
        _DEPTH, _depth("silog", reduction="pixels", gradient_weight=0.5), _whitened, step=0.0051
    ),
    "depth by berhu and gradients": Example(_DEPTH, _depth("berhu", gradient_weight=0.3), _whitened, step=0.0051),
    "depth by l1 over pixels": Example(_DEPTH, _depth("l1", reduction="pixels"), _whitened, step=0.0051),
    "normals": Example(
        _NORMALS,
        Normals(),
        _stretched,
        step=_CODE,
        others=(NormalLabels("forward,left,down", "npy"), _DERIVED),
    ),
    "normals by l1_pixels": Example(_NORMALS, Normals("l1_pixels", "faces"), _stretched, step=_CODE),
    "normals by l1_elements": Example(_NORMALS, Normals("l1_elements"), _stretched, step=_CODE),
    "edges": Example(
        EdgeLabels(), Edges(), _logits, others=(EdgeLabels(ignore=255), EdgeLabels(source="semseg", ignore=1))
    ),
    "adaptive edges": Example(EdgeLabels(), Edges(-1.0, "outlines"), _logits),
    "regression": Example(
        RegressionLabels("npy"),
        Regression((2.0,), (0.5,)),
        _standard(2.0, 0.5),
        step=1e-6,
        others=(RegressionLabels("grey", 1, 0.01, -5.0, (65535.0,), " K", (1.0,), (2.0,)), RegressionLabels("rgb8", 3)),
    ),
    "regression over images": Example(
        RegressionLabels("npy"), Regression((2.0,), (0.5,), reduction="images"), _standard(2.0, 0.5), step=1e-6
    ),
    "regression of three by l2": Example(
        RegressionLabels("npy", 3),
        Regression((0.0, 10.0, -1e4), (1.0, 5.0, 100.0), "l2", name="curvature"),
        _standard(np.array([0.0, 10.0, -1e4]), np.array([1.0, 5.0, 100.0])),
        step=2e-3,
    ),
    "disparity": Example(
        DisparityLabels("npy", scale=1.0, invalid=()), Disparity((40.0,), (5.0,)), _standard(40.0, 5.0), step=1e-5
    ),
    "instances": Example(
        InstanceLabels(),
        Instances(sigma=1.0),
        _centred,
        others=(InstanceLabels("class_1000", 65535, "semseg", ("a",)), InstanceLabels("rgb24", 0xFFFFFF)),
        pointwise=False,
    ),
    "saliency": Example(SaliencyLabels(), Saliency(), _logits, others=(SaliencyLabels("grey", 255),)),
}


def loss_of(task: Task, raw, target) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the terms of a loss."""
    found = task.loss(tf.constant(raw, tf.float32), tf.constant(target))
    return tuple(np.atleast_1d(part.numpy().astype(np.float64)) for part in found)


def statistics_of(task: Task, raw, target) -> dict[str, np.ndarray]:
    """Additive statistics of each image."""
    found = task.measure(tf.constant(raw, tf.float32), tf.constant(target))
    return {name: value.numpy() for name, value in found.items()}


def scores_of(task: Task, raw, target) -> dict:
    """Of all images of a batch together, flat."""
    found = task.scores({name: value.sum(0) for name, value in statistics_of(task, raw, target).items()})
    return found | found.pop("iou", {})
