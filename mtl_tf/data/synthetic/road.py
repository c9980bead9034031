"""The flat ground: a road that is a circular arc, the strips along it, and a crossing road."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from mtl_tf.data.synthetic.shapes import Frame

# Patterns of a strip, for its colour only.
ASPHALT, SLABS, GRASS, SOIL, GRAVEL = range(5)


class Strip(NamedTuple):
    """A strip of ground: train id, pattern, two colours (RGB in 0..1) and the size of its slabs in metres."""

    label: int
    pattern: int
    colour: tuple[float, float, float]
    second: tuple[float, float, float]
    size: float = 0.6


class Line(NamedTuple):
    """Paint or a rail along the road: lateral position, width, dash period (0: unbroken), share painted."""

    lateral: float
    width: float
    period: float
    share: float
    colour: tuple[float, float, float]
    rail: bool = False


class Crossing(NamedTuple):
    """A band of road across the main road.

    Attributes:
        frame: its middle on the main road; local y is ahead along the main road.
        half: half its width in metres.
        end: None, or the number of the strip that covers all ground beyond it (a T junction).
    """

    frame: Frame
    half: float
    end: int | None


@dataclasses.dataclass
class Road:
    """The main road and its strips.

    Attributes:
        start: frame on the centre line beside the camera.
        curvature: 1 / radius in 1/m, positive when it bends to the right.
        flip: 1, or -1 when left and right are exchanged (traffic on the left); `place` takes care of it.
        bounds: lateral positions in metres between the strips, ascending (right is positive).
        strips: the strips from left to right, one more than `bounds`; then perhaps the one of a T junction's end.
        middle: number of the strip that is the carriageway.
        crossing: a crossing road or None.
        lines: markings along the road.
        zebras: (low, high) stations in metres of zebra crossings.
        wear: 0..1, how worn the paint is.
    """

    start: Frame
    curvature: float
    flip: int = 1
    bounds: list[float] = dataclasses.field(default_factory=list)
    strips: list[Strip] = dataclasses.field(default_factory=list)
    middle: int = 0
    crossing: Crossing | None = None
    lines: list[Line] = dataclasses.field(default_factory=list)
    zebras: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    wear: float = 0.0

    def place(self, station: float, lateral: float, turn: float = 0.0) -> Frame:
        """Return the frame at a place of the road, turned clockwise by `turn` radians from its direction.

        Args:
            station: metres along the centre line from beside the camera.
            lateral: metres to the right of the centre line (to the left where `flip` is -1).
            turn: radians; mirrored too where `flip` is -1.
        """
        angle = self.curvature * station
        if abs(angle) < 1e-6:
            right, ahead = 0.0, station
        else:
            right, ahead = (1 - math.cos(angle)) / self.curvature, math.sin(angle) / self.curvature
        on_line = self.start.at(right, ahead, angle)
        return on_line.at(self.flip * lateral, 0.0, self.flip * turn)

    def coordinates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (right, ahead) in the start frame and the lateral position, all in metres, float32."""
        qx, qy = x - self.start.x, y - self.start.y
        right = self.start.cos * qx - self.start.sin * qy
        ahead = self.start.sin * qx + self.start.cos * qy
        k = self.curvature
        # (1 - k * distance to the centre of the arc) / k, written so that it holds for k = 0 as well.
        square = right * right + ahead * ahead
        root = np.sqrt(np.maximum(1 - 2 * k * right + k * k * square, 0))
        return right, ahead, (2 * right - k * square) / (1 + root)

    def along_crossing(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return how far ahead of the middle of the crossing road each point lies, in metres."""
        frame = self.crossing.frame
        return frame.sin * (x - frame.x) + frame.cos * (y - frame.y)

    def zones(self, x: np.ndarray, y: np.ndarray, lateral: np.ndarray) -> np.ndarray:
        """Return the number of the strip each ground point belongs to.

        Args:
            x, y: world coordinates in metres.
            lateral: from `coordinates`, same shape.

        Returns:
            An int32 array of that shape.
        """
        zone = np.zeros(x.shape, np.int32)
        for bound in self.bounds:
            zone += lateral >= bound
        if self.crossing is not None:
            _, half, end = self.crossing
            along = self.along_crossing(x, y)
            zone[np.abs(along) <= half] = self.middle
            if end is not None:
                zone[along > half] = end
        return zone
