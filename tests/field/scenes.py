"""The scenes of the field data sets: a disc (class 1, 2 m away) on a ground (class 0, 5 m)."""

import dataclasses

import numpy as np

NEAR, FAR = 2000, 5000  # millimetres: disc and ground

# Centre (y, x) and radius of the discs, as shares of the picture: y and radius of its height, x of its width.
DISCS = {
    "train": (
        (0.674, 0.568, 0.193),
        (0.487, 0.505, 0.224),
        (0.669, 0.380, 0.138),
        (0.651, 0.294, 0.151),
        (0.612, 0.724, 0.237),
        (0.589, 0.651, 0.130),
        (0.474, 0.518, 0.193),
        (0.724, 0.568, 0.214),
    ),
    "val": ((0.349, 0.513, 0.232), (0.701, 0.557, 0.224), (0.557, 0.443, 0.224), (0.401, 0.349, 0.193)),
}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    Attributes:
        rgb: uint8 (H, W, 3).
        semseg: class ids, uint8 (H, W).
        depth: millimetres, uint16 (H, W).
    """

    rgb: np.ndarray
    semseg: np.ndarray
    depth: np.ndarray


def scene(split: str, index: int, height: int = 64, width: int = 64) -> Scene:
    """The scene of a split with this index, at any size."""
    y, x, radius = DISCS[split][index]
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - int(y * height)) ** 2 + (columns - int(x * width)) ** 2 < int(radius * height) ** 2
    noise = np.random.default_rng([index, len(split)]).normal(0, 8, (height, width, 3))
    ground = np.stack([40 + 100 * rows / height, 60 + 60 * columns / width, np.full(disc.shape, 90.0)], axis=-1) + noise
    rgb = np.where(disc[..., None], (220, 200, 40), ground).clip(0, 255).astype(np.uint8)
    return Scene(rgb, disc.astype(np.uint8), np.where(disc, NEAR, FAR).astype(np.uint16))


def scenes(split: str, count: int = 8, height: int = 64, width: int = 64) -> list[Scene]:
    """The first scenes of a split."""
    return [scene(split, index, height, width) for index in range(min(count, len(DISCS[split])))]


def rectangles(split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of 64x192 with four rectangles each, tall ones (class 1) and wide ones (2), alike in colour.

    Returns:
        64 pictures for training or 16 for validation, uint8 (64, 192, 3), each with its class ids, uint8 (64, 192).
    """
    first, count = {"train": (0, 64), "val": (999, 16)}[split]
    return [_rectangles(np.random.default_rng(first + 7 * index)) for index in range(count)]


def _rectangles(random):
    rgb = random.normal(90, 10, (64, 192, 3)).astype(np.uint8)
    semseg = np.zeros((64, 192), np.uint8)
    for _ in range(4):
        label, height, width = (1, 30, 12) if random.random() < 0.5 else (2, 12, 30)
        top, left = random.integers(0, 64 - height), random.integers(0, 192 - width)
        part = np.s_[top : top + height, left : left + width]
        semseg[part], rgb[part] = label, (210, 190, 50)
    return rgb, semseg
