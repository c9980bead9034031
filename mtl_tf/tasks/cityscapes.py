"""The tasks of the study: the 19 classes of Cityscapes (Cordts et al., CVPR 2016), and depth."""

from mtl_tf.tasks.classes import Segmentation
from mtl_tf.tasks.depth import Depth

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
CITYSCAPES_THINGS = tuple(CITYSCAPES_CLASSES)[11:]  # those that can be counted, from person on


def cityscapes_tasks() -> tuple[Segmentation, Depth]:
    """The two tasks of the study: 19 classes, and depth 4..300 m with the published statistics."""
    return (
        Segmentation(classes=tuple(CITYSCAPES_CLASSES), palette=tuple(CITYSCAPES_CLASSES.values())),
        Depth(4.0, 300.0, mean=27.0727, std=29.1264, log_mean=2.89, log_std=0.866, codec="inverse_uint8"),
    )
