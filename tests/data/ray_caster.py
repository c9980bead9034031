"""An independent ray caster: one ray at a time, in double precision, from the definitions in shapes.py."""

import math

import numpy as np

from mtl_tf.data.synthetic import classes, shapes


def world_ray(camera, row, column, height, width):
    """Direction of a pixel's centre with length 1 along the optical axis."""
    focal = camera.focal * math.sqrt(height * width)
    x, y = (column + 0.5 - width / 2) / focal, (row + 0.5 - height / 2) / focal
    axes = (np.array(axis) for axis in (camera.right, camera.down, camera.forward))
    return sum(weight * axis for weight, axis in zip((x, y, 1.0), axes, strict=True))


def to_local(primitive, vector):
    turn = np.array([[primitive.cos, -primitive.sin, 0], [primitive.sin, primitive.cos, 0], [0, 0, 1]])
    return turn @ vector


def quadratic_root(origin, direction):
    """Nearest positive solution of |origin + t direction| = 1 seen from outside, and the discriminant, or None."""
    a, b, c = direction @ direction, origin @ direction, origin @ origin - 1
    disc = b * b - a * c
    if c <= 0 or disc <= 0 or b >= 0:
        return None
    return (-b - math.sqrt(disc)) / a, disc / a


def hit_solid(primitive, origin, direction):
    """Clip the ray by one half space after the other."""
    low, high = -math.inf, math.inf
    for *normal, k in primitive.planes:
        gap, slope = k - np.dot(normal, origin), np.dot(normal, direction)
        if slope < 0:
            low = max(low, gap / slope)
        elif slope > 0:
            high = min(high, gap / slope)
        elif gap < 0:
            return None
    return low if 0 < low <= high else None


def hit_ellipsoid(primitive, origin, direction):
    radii = np.array(primitive.half)
    found = quadratic_root(origin / radii, direction / radii)
    if found is None:
        return None
    at, margin = found
    x, y, z = origin + at * direction
    tile = shapes.leaf_noise()
    hole = tile[math.floor(z / shapes.LEAF_CELL) % 64, math.floor((x + y) / shapes.LEAF_CELL) % 64]
    return at if margin > primitive.ragged * hole else None


def hit_cylinder(primitive, origin, direction):
    radius, _, half = primitive.half
    found = quadratic_root(origin[:2] / radius, direction[:2] / radius)
    if found is None or abs(origin[2] + found[0] * direction[2]) > half:
        return None
    return found[0]


def inside_outline(outline, u, v, half_width):
    name, *numbers = outline
    radius = math.hypot(u, v)
    inside = abs(u) <= 1 and abs(v) <= 1
    if name == "rectangle":
        return inside
    if name == "disc":
        return radius <= 1
    if name == "ring":
        return numbers[0] <= radius <= 1
    if name == "diamond":
        return abs(u) + abs(v) <= 1
    if name == "octagon":
        return inside and abs(u) + abs(v) <= math.sqrt(2)
    if name == "triangle":
        return inside and 2 * abs(u) <= 1 - numbers[0] * v
    if name == "pickets":
        pitch, fill = numbers
        return inside and (((u + 1) * half_width / pitch) % 1 < fill or 0.5 < abs(v) < 0.7)
    if name == "boards":
        count, fill = numbers
        return inside and (((v + 1) / 2 * count) % 1 >= 1 - fill or (1 - abs(u)) * half_width < 0.08)
    raise AssertionError(name)


def hit_panel(primitive, origin, direction):
    at = -origin[1] / direction[1]
    x, _, z = origin + at * direction
    u, v = x / primitive.half[0], z / primitive.half[2]
    return at if at > 0 and inside_outline(primitive.outline, u, v, primitive.half[0]) else None


HIT = {
    shapes.SOLID: hit_solid,
    shapes.ELLIPSOID: hit_ellipsoid,
    shapes.CYLINDER: hit_cylinder,
    shapes.PANEL: hit_panel,
}


def ground_label(road, x, y):
    """Strip of a ground point, by its distance from the centre of the road's arc."""
    if road.crossing is not None:
        frame, half, end = road.crossing
        ahead = frame.sin * (x - frame.x) + frame.cos * (y - frame.y)
        if end is not None and ahead > half:
            return road.strips[end].label
        if abs(ahead) <= half:
            return road.strips[road.middle].label
    start, k = road.start, road.curvature
    if k == 0:
        lateral = start.cos * (x - start.x) - start.sin * (y - start.y)
    else:
        centre = (start.x + start.cos / k, start.y - start.sin / k)
        lateral = 1 / k - math.copysign(math.hypot(x - centre[0], y - centre[1]), k)
    return road.strips[sum(lateral >= bound for bound in road.bounds)].label


def cast(scene, direction):
    """Label and depth of what one ray meets first, and its primitive; None for the ground and the sky."""
    eye = np.array([0.0, 0.0, scene.camera.height])
    best, label, met = math.inf, classes.SKY, None
    if direction[2] < -eye[2] / 20000:
        best = -eye[2] / direction[2]
        label = ground_label(scene.road, *(best * direction)[:2])
    for primitive in scene.primitives:
        origin, local = to_local(primitive, eye - primitive.centre), to_local(primitive, direction)
        at = HIT[primitive.shape](primitive, origin, local)
        if at is not None and at < best:
            best, label, met = at, primitive.label, primitive
    return label, best, met
