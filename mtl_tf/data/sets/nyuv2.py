"""NYU Depth v2 (Silberman et al., ECCV 2012) with 13 classes, prepared in the project's layout."""

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.folder import laid_out

_NYU_CLASSES = {
    "bed": (119, 11, 132),
    "books": (196, 156, 148),
    "ceiling": (199, 199, 199),
    "chair": (44, 160, 44),
    "floor": (148, 103, 79),
    "furniture": (255, 187, 120),
    "objects": (214, 39, 40),
    "picture": (227, 119, 194),
    "sofa": (0, 0, 142),
    "table": (188, 189, 34),
    "tv": (23, 190, 207),
    "wall": (174, 199, 232),
    "window": (31, 119, 180),
}

# Statistics of the first 700 of the 795 official training pictures.
NYUV2 = Descriptor(
    name="nyuv2",
    classes=tuple(_NYU_CLASSES),
    palette=tuple(_NYU_CLASSES.values()),
    depth_encoding="uint16_scaled",
    depth_scale=0.001,
    depth_minimum=0.1,
    depth_maximum=10.0,
    depth_mean=2.798,
    depth_std=1.402,
    depth_log_mean=0.914,
    depth_log_std=0.479,
    rgb_mean=(123.96, 106.56, 101.62),
    rgb_std=(73.03, 74.69, 78.01),
    splits=("train", "val"),
)

DATA_SET = laid_out(NYUV2)
