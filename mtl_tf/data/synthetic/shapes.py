"""Geometric primitives: all that stands on the ground is made of these.

A primitive lives in a local frame: origin at its centre, turned about the vertical by its yaw, local x to its
right, local y ahead, local z up. With c = cos(yaw), s = sin(yaw) and w = point - centre

    local x = c * w.x - s * w.y,    local y = s * w.x + c * w.y,    local z = w.z.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

SOLID, ELLIPSOID, CYLINDER, PANEL = range(4)

LEAF_CELL = 0.16  # metres; grid of the holes in the rim of foliage


class Primitive(NamedTuple):
    """One analytic shape with a label.

    Attributes:
        shape: SOLID (convex, bounded by `planes`), ELLIPSOID (radii `half`), CYLINDER (upright wall without caps,
            radius half[0], half height half[2]) or PANEL (upright plate at local y = 0, half width half[0], half
            height half[2], cut out by `outline`).
        label: train id.
        centre: world coordinates in metres.
        cos, sin: of the yaw.
        half: half extents of the bounding box in the local frame, in metres.
        materials: index of a material, one per plane of a solid, else just one.
        planes: of a solid: (nx, ny, nz, k) with unit normals; inside is n . p <= k.
        ragged: of an ellipsoid: the share of the rim that foliage eats away, see `leaf_noise`.
        outline: of a panel: name and numbers, see `raster.outline_mask`.
        shadow: whether it darkens the ground.
    """

    shape: int
    label: int
    centre: tuple[float, float, float]
    cos: float
    sin: float
    half: tuple[float, float, float]
    materials: tuple[int, ...]
    planes: tuple[tuple[float, float, float, float], ...] = ()
    ragged: float = 0.0
    outline: tuple = ("rectangle",)
    shadow: bool = True


class Frame(NamedTuple):
    """A place on the ground with a direction; positions in metres, yaw clockwise seen from above."""

    x: float
    y: float
    cos: float
    sin: float

    def at(self, right: float, ahead: float, turn: float = 0.0) -> "Frame":
        """Return the frame `right` and `ahead` metres away, turned clockwise by `turn` radians."""
        x = round(self.x + self.cos * right + self.sin * ahead, 6)
        y = round(self.y - self.sin * right + self.cos * ahead, 6)
        if not turn:
            return Frame(x, y, self.cos, self.sin)
        c, s = math.cos(turn), math.sin(turn)
        return Frame(x, y, round(self.cos * c - self.sin * s, 6), round(self.sin * c + self.cos * s, 6))


def solid(label, frame: Frame, x, y, z, materials, taper=(0.0, 0.0, 0.0), shadow=True) -> Primitive:
    """Make a box, or a box whose top is narrower.

    Args:
        label: train id.
        frame: the place; `x`, `y`, `z` are (low, high) in it, in metres.
        x, y, z: extents.
        materials: one index, or six: right, left, front, back, top, bottom.
        taper: metres by which the top is drawn in at each side, at the front and at the back. A taper of half
            the width gives a gable roof.
        shadow: whether it darkens the ground.

    Returns:
        The primitive.
    """
    hx, hy, hz = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (z[1] - z[0]) / 2
    place = frame.at((x[0] + x[1]) / 2, (y[0] + y[1]) / 2)
    side, front, back = taper
    planes = []
    for axis, sign, half, inset in ((0, 1, hx, side), (0, -1, hx, side), (1, 1, hy, front), (1, -1, hy, back)):
        length = math.sqrt(4 * hz * hz + inset * inset)
        flat, up = 2 * hz / length, inset / length
        offset = flat * half - up * hz
        planes.append((sign * flat, 0.0, up, offset) if axis == 0 else (0.0, sign * flat, up, offset))
    planes += [(0.0, 0.0, 1.0, hz), (0.0, 0.0, -1.0, hz)]
    if isinstance(materials, int):
        materials = (materials,) * 6
    centre = (place.x, place.y, (z[0] + z[1]) / 2)
    half = (hx, hy, hz)
    return Primitive(SOLID, label, centre, place.cos, place.sin, half, materials, tuple(planes), shadow=shadow)


def ellipsoid(label, frame: Frame, z, radii, material, ragged=0.0, shadow=True) -> Primitive:
    """Make an ellipsoid centred `z` metres above the place, with `radii` (right, ahead, up) in metres."""
    centre = (frame.x, frame.y, z)
    return Primitive(ELLIPSOID, label, centre, frame.cos, frame.sin, radii, (material,), ragged=ragged, shadow=shadow)


def cylinder(label, frame: Frame, z, radius, material, shadow=True) -> Primitive:
    """Make an upright round pole of `radius` metres between the heights `z` (low, high)."""
    centre, half = (frame.x, frame.y, (z[0] + z[1]) / 2), (radius, radius, (z[1] - z[0]) / 2)
    return Primitive(CYLINDER, label, centre, frame.cos, frame.sin, half, (material,), shadow=shadow)


def panel(label, frame: Frame, width, z, material, outline=("rectangle",), shadow=False) -> Primitive:
    """Make an upright plate across the frame's direction, `width` metres wide, between heights `z`."""
    centre, half = (frame.x, frame.y, (z[0] + z[1]) / 2), (width / 2, 0.0, (z[1] - z[0]) / 2)
    return Primitive(PANEL, label, centre, frame.cos, frame.sin, half, (material,), outline=outline, shadow=shadow)


def corners(primitives) -> np.ndarray:
    """Return the corners of the bounding boxes, (N, 8, 3) float64 world coordinates in metres."""
    centre = np.array([p.centre for p in primitives])[:, None]
    half = np.array([p.half for p in primitives])[:, None]
    cos = np.array([p.cos for p in primitives])[:, None]
    sin = np.array([p.sin for p in primitives])[:, None]
    local = half * _SIGNS
    x = cos * local[..., 0] + sin * local[..., 1]
    y = cos * local[..., 1] - sin * local[..., 0]
    return np.stack([x, y, local[..., 2]], axis=-1) + centre


@functools.cache
def leaf_noise() -> np.ndarray:
    """Return the (64, 64) float32 tile in [0, 1) that decides where the rim of foliage has holes.

    A hit on a ragged ellipsoid counts if disc > a * ragged * noise, where disc and a belong to the quadratic
    equation of ray and unit sphere (so disc / a = 1 - squared distance of the ray from the centre), and noise is
    leaf_noise()[floor(local z / LEAF_CELL) mod 64, floor((local x + local y) / LEAF_CELL) mod 64].
    """
    raw = np.random.Philox(key=20).random_raw(64 * 64) >> np.uint64(56)
    grid = raw.astype(np.int64).reshape(64, 64)
    smooth = grid + np.roll(grid, 1, axis=0) + np.roll(grid, 1, axis=1) + np.roll(grid, (1, 1), axis=(0, 1))
    return (smooth / 1024).astype(np.float32)


_SIGNS = np.array([[1 if i & bit else -1 for bit in (1, 2, 4)] for i in range(8)], dtype=float)
