"""Label ids of Cityscapes (Cordts et al., CVPR 2016), which Synscapes and others use too, and their 19 train ids."""

import numpy as np

# The label id of each train id, in the order of `tasks.CITYSCAPES_CLASSES`; all other label ids are not trained on.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def train_ids(ignore: int = 255) -> np.ndarray:
    """The train id of every label id, uint8 (256,); `ignore` where there is none (-1, a licence plate, is 255)."""
    table = np.full(256, ignore, np.uint8)
    table[list(LABEL_IDS)] = range(len(LABEL_IDS))
    return table
