"""A pinhole camera above a flat ground, its rays and the screen boxes of things.

World axes: x to the right, y ahead, z up, in metres. The camera stands at (0, 0, height) and looks along +y,
tilted down by the pitch. A ray direction has length 1 along the optical axis, so the ray parameter of a hit
*is* its depth.
"""

import dataclasses
import math

import numpy as np

NEAR = 0.1  # metres; nothing nearer along the optical axis is drawn


@dataclasses.dataclass(frozen=True)
class Camera:
    """Where the camera is and how it looks.

    Attributes:
        height: metres above the ground.
        focal: focal length in units of sqrt(image height x image width).
        right, down, forward: unit vectors of the image axes in world coordinates.
    """

    height: float
    focal: float
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    forward: tuple[float, float, float]

    @classmethod
    def tilted(cls, height: float, focal: float, pitch: float, roll: float) -> "Camera":
        """Build a camera from angles in radians: pitch > 0 looks down, roll > 0 turns the camera clockwise."""
        # Trigonometric numbers are rounded, so that their last bits cannot differ between machines.
        cp, sp = round(math.cos(pitch), 6), round(math.sin(pitch), 6)
        cr, sr = round(math.cos(roll), 6), round(math.sin(roll), 6)
        right, down = (cr, -sr * sp, -sr * cp), (-sr, -cr * sp, -cr * cp)
        return cls(height, focal, right, down, (0.0, cp, -sp))

    def focal_pixels(self, height: int, width: int) -> float:
        """Return the focal length in pixels for an image of `height` x `width` pixels."""
        return self.focal * math.sqrt(height * width)

    def rays(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the x, y and z components of all ray directions, each (height, width) float32."""
        focal = self.focal_pixels(height, width)
        x = ((np.arange(width) + (0.5 - width / 2)) / focal)[None, :]
        y = ((np.arange(height) + (0.5 - height / 2)) / focal)[:, None]
        axes = zip(self.right, self.down, self.forward, strict=True)
        return tuple((r * x + (d * y + f)).astype(np.float32) for r, d, f in axes)

    def screen_boxes(self, corners: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Bound the images of boxes.

        Args:
            corners: (N, 8, 3) world coordinates; corner i of a box differs from corner i ^ 1, i ^ 2 and i ^ 4 by
                one edge each.
            height, width: image size in pixels.

        Returns:
            (N, 4) int pixel bounds top, bottom, left, right (bottom and right excluded; empty when unseen), and
            (N,) the least depth of each box in metres (at least NEAR).
        """
        offset = corners - np.array([0.0, 0.0, self.height])
        axes = np.array([self.right, self.down, self.forward])
        local = offset @ axes.T
        # Both ends of each of the 12 edges, an end behind the near plane moved along its edge onto that plane.
        start, end = local[:, _EDGES[:, 0]], local[:, _EDGES[:, 1]]
        gap = end[..., 2] - start[..., 2]
        at = (NEAR - start[..., 2]) / np.where(gap == 0, 1.0, gap)
        cut = start + np.clip(at, 0, 1)[..., None] * (end - start)
        points = np.concatenate([np.where(p[..., 2:] < NEAR, cut, p) for p in (start, end)], axis=1)
        seen = points[..., 2] > 0.99 * NEAR
        depth = np.maximum(points[..., 2], 0.5 * NEAR)
        focal = self.focal_pixels(height, width)
        bounds = []
        for axis, size in ((1, height), (0, width)):
            pixel = points[..., axis] / depth * focal + size / 2
            low = np.where(seen, pixel, np.inf).min(axis=1)
            high = np.where(seen, pixel, -np.inf).max(axis=1)
            bounds += [np.clip(low - 1.5, 0, size), np.clip(high + 2.5, 0, size)]
        nearest = np.maximum(local[..., 2].min(axis=1), NEAR)
        return np.stack(bounds, axis=1).astype(int), nearest


_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])
