"""What is predicted: the tasks, how their targets are encoded for the loss and their answers decoded.

A task is a plain frozen description; it names its loss and metrics, which live in `losses` and `metrics`, and the
option of the section `loss` that weights it.
"""

import dataclasses
import math

CITYSCAPES_CLASSES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """A class for every pixel.

    Attributes:
        classes: the names, in the order of their ids.
        palette: their colours, RGB.
        ignore: the label value that no loss or metric counts.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore: int = 255
    name: str = "semseg"
    loss: str = "cross_entropy"
    weight: str = "semseg_weight"
    metrics: str = "segmentation"

    @property
    def channels(self) -> int:
        """Output channels: one logit a class."""
        return len(self.classes)

    def valid(self, target):
        """Which pixels of an int (B, H, W) label map count."""
        return target != self.ignore

    def decode(self, logits):
        """Class ids int32 (B, H, W) of logits (B, H, W, C)."""
        from mtl_tf import kernels

        return kernels.argmax(logits)


@dataclasses.dataclass(frozen=True)
class DepthUnit:
    """What the numbers of a depth map mean.

    Attributes:
        symbol: what is printed after a number.
        step: one step of the 16-bit PNG files that predictions are written to.
    """

    symbol: str
    step: float


DEPTH_UNITS = {
    "metres": DepthUnit(" m", 0.01),
    # The 16-bit codes of Cityscapes' disparity files over 65535, the depth of the 7-class protocol: near is large.
    "normalised_disparity": DepthUnit("", 1 / 65535),
}


@dataclasses.dataclass(frozen=True)
class Depth:
    """How far away every pixel is; 0 = no label.

    Metres along the optical axis, unless `unit` says otherwise: then wherever "metres" is said of this task's maps,
    that unit is meant.

    Attributes:
        minimum, maximum: range of valid depth, metres.
        mean, std: of depth over the training split, metres.
        log_mean, log_std: of its natural logarithm.
        space: "linear": the head predicts whitened metres; "log": whitened log metres.
        loss: name in `losses.DEPTH_LOSSES`.
        codec: "inverse_uint8" where predictions are also exchanged in the Miniscapes codec.
        unit: a key of `DEPTH_UNITS`.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    log_mean: float
    log_std: float
    space: str = "linear"
    loss: str = "l2"
    codec: str = "metres"
    unit: str = "metres"
    name: str = "depth"
    weight: str = "depth_weight"
    metrics: str = "depth"

    @property
    def channels(self) -> int:
        """Output channels."""
        return 1

    def valid(self, target):
        """Which pixels of a depth map (B, H, W), metres, count."""
        return (target >= self.minimum) & (target <= self.maximum)

    def encode(self, metres):
        """Whitened target of a depth map in metres; every element must be positive."""
        from keras import ops

        if self.space == "log":
            return (ops.log(metres) - self.log_mean) / self.log_std
        return (metres - self.mean) / self.std

    def decode(self, raw):
        """Metres (B, H, W), clipped to the valid range, of the raw head (B, H, W, 1)."""
        from keras import ops

        raw = ops.cast(raw[..., 0], "float32")
        if self.space == "log":
            # Clipping before exp keeps an untrained head from overflowing.
            low, high = math.log(self.minimum), math.log(self.maximum)
            metres = ops.exp(ops.clip(raw * self.log_std + self.log_mean, low, high))
        else:
            metres = raw * self.std + self.mean
        return ops.clip(metres, self.minimum, self.maximum)


Task = Segmentation | Depth


def answers(tasks, raws) -> dict:
    """What raw heads (B, H, W, channels) by the task's name say.

    Returns:
        Class ids and metres (B, H, W) by the task's name; for segmentation also NAME_probability: of that class, 0..1.
    """
    from keras import ops

    found = {}
    for task in tasks:
        raw = raws[task.name]
        found[task.name] = task.decode(raw)
        if isinstance(task, Segmentation):
            found[f"{task.name}_probability"] = ops.max(ops.softmax(raw, -1), -1)
    return found


def cityscapes_tasks() -> tuple[Segmentation, Depth]:
    """The two tasks of the study: 19 classes, and depth 4..300 m with the published statistics."""
    return (
        Segmentation(classes=tuple(CITYSCAPES_CLASSES), palette=tuple(CITYSCAPES_CLASSES.values())),
        Depth(4.0, 300.0, mean=27.0727, std=29.1264, log_mean=2.89, log_std=0.866, codec="inverse_uint8"),
    )
