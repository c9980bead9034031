"""The z-buffer: which primitive each ray meets first, and at what depth.

Only + - * / and square roots of float32 numbers decide depth and label here, because these are rounded alike on
every processor.
"""

import numpy as np

from mtl_tf.data.synthetic import shapes

_TINY = 1e-10


def draw(primitives, camera, rays, depth: np.ndarray, surface: np.ndarray, first_surface) -> None:
    """Draw the primitives into the buffers.

    Args:
        primitives: sequence of `shapes.Primitive`.
        camera: the `Camera`.
        rays: ray components x, y, z, each (H, W) float32.
        depth: (H, W) float32 depth in metres of what is drawn already; updated.
        surface: (H, W) int number of the surface seen; updated.
        first_surface: number of the first surface of each primitive; a solid has one surface per plane.
    """
    if not primitives:
        return
    height, width = depth.shape
    boxes, nearest = camera.screen_boxes(shapes.corners(primitives), height, width)
    boxes, order = boxes.tolist(), np.argsort(nearest, kind="stable").tolist()
    nearest = nearest.tolist()
    for i in order:
        top, bottom, left, right = boxes[i]
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        seen = depth[window]
        # Near things come first, so much of what is far is found hidden here.
        if nearest[i] > seen.max():
            continue
        primitive = primitives[i]
        found = _INTERSECT[primitive.shape](primitive, *_local(primitive, camera, rays, window))
        if found is None:
            continue
        hit, at, face = found
        hit &= at < seen
        np.copyto(seen, at, where=hit)
        np.copyto(surface[window], face + first_surface[i], where=hit)


def _local(primitive, camera, rays, window):
    """Return the camera position (3 numbers) and the ray directions (3 arrays) in the primitive's frame."""
    cos, sin = primitive.cos, primitive.sin
    wx, wy = -primitive.centre[0], -primitive.centre[1]
    origin = (cos * wx - sin * wy, sin * wx + cos * wy, camera.height - primitive.centre[2])
    dx, dy, dz = (ray[window] for ray in rays)
    return origin, (cos * dx - sin * dy, sin * dx + cos * dy, dz)


def _solid(primitive, origin, direction):
    enter = leave = face = None
    for number, (nx, ny, nz, k) in enumerate(primitive.planes):
        outside = nx * origin[0] + ny * origin[1] + nz * origin[2] - k
        terms = [n * d for n, d in zip((nx, ny, nz), direction, strict=True) if n]
        slope = terms[0] if len(terms) == 1 else terms[0] + terms[1]
        if outside > 1e-4:  # the camera sees this face: rays enter through it or miss
            at = -outside / np.minimum(slope, -_TINY)
            if enter is None:
                enter, face = at, np.full(at.shape, number, np.int32)
            else:
                np.copyto(face, number, where=at > enter)
                enter = np.maximum(enter, at)
        else:
            at = -outside / np.maximum(slope, _TINY)
            leave = at if leave is None else np.minimum(leave, at)
    if enter is None:
        return None  # the camera is inside
    return enter <= leave, enter, face


def _ellipsoid(primitive, origin, direction):
    (ox, oy, oz), (rx, ry, rz) = (o / r for o, r in zip(origin, primitive.half, strict=True)), primitive.half
    constant = ox * ox + oy * oy + oz * oz - 1
    if constant <= 0:
        return None
    dx, dy, dz = direction[0] * (1 / rx), direction[1] * (1 / ry), direction[2] * (1 / rz)
    a = dx * dx + dy * dy + dz * dz
    b = dx * ox + dy * oy + dz * oz
    disc = b * b - a * constant
    at = (-b - np.sqrt(np.maximum(disc, 0))) / a
    if primitive.ragged:
        across = (dx * at + ox) * rx + (dy * at + oy) * ry
        row = np.floor((dz * at + oz) * (rz / shapes.LEAF_CELL)).astype(np.int32) & 63
        column = np.floor(across * (1 / shapes.LEAF_CELL)).astype(np.int32) & 63
        disc = disc - a * (primitive.ragged * shapes.leaf_noise()[row, column])
    return (disc > 0) & (b < 0), at, 0


def _cylinder(primitive, origin, direction):
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    constant = ox * ox + oy * oy - primitive.half[0] * primitive.half[0]
    if constant <= 0:
        return None
    a = dx * dx + dy * dy
    b = dx * ox + dy * oy
    disc = b * b - a * constant
    at = (-b - np.sqrt(np.maximum(disc, 0))) / a
    return (disc > 0) & (b < 0) & (np.abs(dz * at + oz) <= primitive.half[2]), at, 0


def _panel(primitive, origin, direction):
    slope = direction[1]
    # Towards the plate the slope has the sign opposite to the camera's side.
    side = 1 if origin[1] > 0 else -1
    at = side * origin[1] / np.maximum(-side * slope, _TINY)
    u = direction[0] * at + origin[0]
    v = direction[2] * at + origin[2]
    hx, hz = primitive.half[0], primitive.half[2]
    return outline_mask(primitive.outline, u * (1 / hx), v * (1 / hz), hx) & (at > 0), at, 0


def outline_mask(outline, u: np.ndarray, v: np.ndarray, half_width: float) -> np.ndarray:
    """Tell which points of a panel are material.

    Args:
        outline: ("rectangle",), ("disc",), ("ring", inner radius / outer), ("triangle", +1 point up or -1 down),
            ("octagon",), ("diamond",), ("pickets", pitch in metres, fill) for a picket fence with two rails,
            ("boards", count, fill) for level boards on end posts.
        u, v: coordinates across and up, -1..1 on the panel's bounding rectangle.
        half_width: of the panel in metres.

    Returns:
        A boolean array.
    """
    name = outline[0]
    if name in ("disc", "ring"):
        square = u * u + v * v
        mask = square <= 1
        return mask & (square >= outline[1] * outline[1]) if name == "ring" else mask
    across, up = np.abs(u), np.abs(v)
    if name == "diamond":
        return across + up <= 1
    mask = (across <= 1) & (up <= 1)
    if name == "triangle":
        mask &= across <= (1 - outline[1] * v) * 0.5
    elif name == "octagon":
        mask &= across + up <= 1.414214
    elif name == "pickets":
        phase = (u + 1) * (half_width / outline[1])
        mask &= (phase - np.floor(phase) < outline[2]) | (np.abs(up - 0.6) < 0.1)
    elif name == "boards":
        phase = (v + 1) * (outline[1] / 2)
        mask &= (phase - np.floor(phase) >= 1 - outline[2]) | (across * half_width > half_width - 0.08)
    return mask


def ground_shadow(primitives, camera, sun, x, y, ground) -> np.ndarray:
    """Find the ground that primitives shade.

    Boxes stand for solids, cylinders and panels here; shadows concern the colours only.

    Args:
        primitives: the primitives.
        camera: the camera.
        sun: unit vector towards the sun.
        x, y: (H, W) world coordinates of the ground in metres.
        ground: (H, W) whether the ground is visible.

    Returns:
        (H, W) float32, 1 in shadow.
    """
    height, width = ground.shape
    shade = np.zeros((height, width), np.float32)
    casters = [p for p in primitives if p.shadow]
    if not casters:
        return shade
    foot = shapes.corners(casters)
    foot = foot - foot[..., 2:] * (np.array(sun) / sun[2])
    boxes, nearest = camera.screen_boxes(foot, height, width)
    for primitive, box, near in zip(casters, boxes.tolist(), nearest.tolist(), strict=True):
        top, bottom, left, right = box
        if top >= bottom or left >= right or near > 120:
            continue
        window = (slice(top, bottom), slice(left, right))
        if not ground[window].any():
            continue
        cos, sin, (cx, cy, cz) = primitive.cos, primitive.sin, primitive.centre
        wx, wy = x[window] - cx, y[window] - cy
        ox, oy = cos * wx - sin * wy, sin * wx + cos * wy
        direction = (cos * sun[0] - sin * sun[1], sin * sun[0] + cos * sun[1], sun[2])
        shaded = _shaded(primitive, ox, oy, -cz, direction)
        np.copyto(shade[window], 1, where=shaded)
    return shade


def _shaded(primitive, ox, oy, oz, direction):
    """Tell whether lines from local points (ox, oy, oz) in a fixed direction meet a primitive."""
    hx, hy, hz = (max(h, 0.03) for h in primitive.half)
    dx, dy, dz = direction
    if primitive.shape == shapes.ELLIPSOID:
        ox, oy, oz, dx, dy, dz = ox / hx, oy / hy, oz / hz, dx / hx, dy / hy, dz / hz
        b = ox * dx + oy * dy + oz * dz
        return b * b > (dx * dx + dy * dy + dz * dz) * (ox * ox + oy * oy + (oz * oz - 1))
    low, high = (-hz - oz) / dz, (hz - oz) / dz
    for offset, slope, half in ((ox, dx, hx), (oy, dy, hy)):
        slope = slope if abs(slope) > 1e-6 else 1e-6
        first, second = (-half - offset) / slope, (half - offset) / slope
        low, high = np.maximum(low, np.minimum(first, second)), np.minimum(high, np.maximum(first, second))
    return low <= high


_INTERSECT = {
    shapes.SOLID: _solid,
    shapes.ELLIPSOID: _ellipsoid,
    shapes.CYLINDER: _cylinder,
    shapes.PANEL: _panel,
}
