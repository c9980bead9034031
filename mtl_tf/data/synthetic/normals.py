"""Normals of what each pixel shows: those of the surfaces themselves, not of differences of depth."""

import numpy as np

from mtl_tf.data.synthetic import shapes


def normals(scene, rays, buffers) -> np.ndarray:
    """Find the normal of the surface at the centre of each pixel.

    Args:
        scene: the `Scene`.
        rays: ray components x, y, z, each (H, W) float32.
        buffers: the `render.Buffers` of the scene.

    Returns:
        (H, W, 3) float32 unit vectors in the axes of the camera, x right, y down, z forward, towards the camera; zero
        for the sky.
    """
    camera, faces, surface = scene.camera, buffers.faces, buffers.surface
    things = _table(scene.primitives)
    axes = np.array([camera.right, camera.down, camera.forward])
    # Ground and faces of solids and panels are planes: one normal each. The last row is that of the sky, -1.
    flat = np.zeros((buffers.strips + len(faces.owner) + 1, 3))
    flat[: buffers.strips, 2] = 1
    owner = things[:, faces.owner]
    local = faces.normal.astype(np.float64)
    # A panel shows the side on which the camera is.
    behind = faces.two_sided & (_turned(owner, -owner[0], -owner[1])[1] < 0)
    flat[buffers.strips : -1] = _world(owner, np.where(behind, -local, local)).T
    result = _unit(flat @ axes.T).astype(np.float32)[surface]

    curved = np.array([thing.shape in (shapes.ELLIPSOID, shapes.CYLINDER) for thing in scene.primitives], bool)
    shows_curved = np.zeros(len(flat), bool)
    shows_curved[buffers.strips : -1] = curved[faces.owner]
    where = np.flatnonzero(shows_curved[surface])
    owner = things[:, faces.owner[surface.ravel()[where] - buffers.strips]]
    bent = _curved(owner, camera.height, [ray.ravel()[where].astype(np.float64) for ray in rays])
    result.reshape(-1, 3)[where] = _unit(bent.T @ axes.T)
    return result


def _table(things) -> np.ndarray:
    """Return per primitive: centre, cos, sin, and what makes it a unit sphere or a unit tube; (8, N) float64."""
    rows = []
    for thing in things:
        hx, hy, hz = thing.half
        stretch = (0.0, 0.0, 0.0)
        if thing.shape == shapes.ELLIPSOID:
            stretch = (1 / hx, 1 / hy, 1 / hz)
        elif thing.shape == shapes.CYLINDER:
            stretch = (1 / hx, 1 / hx, 0.0)
        rows.append((*thing.centre, thing.cos, thing.sin, *stretch))
    return np.array(rows, np.float64).reshape(-1, 8).T


def _turned(owner, x, y):
    """Return the local x and y of world vectors."""
    cos, sin = owner[3:5]
    return cos * x - sin * y, sin * x + cos * y


def _world(owner, local):
    """Return local vectors (3, N) in world axes."""
    cos, sin = owner[3:5]
    x, y, z = local
    return np.stack([cos * x + sin * y, cos * y - sin * x, z])


def _curved(owner, height, direction):
    """Return the normals (3, N) in world axes, of any length, where rays meet ellipsoids and cylinders.

    The points are found anew in double precision: a small thing far away leaves few digits of a float32 depth.
    """
    stretch = owner[5:]
    origin = np.stack([*_turned(owner, -owner[0], -owner[1]), height - owner[2]]) * stretch
    direction = np.stack([*_turned(owner, *direction[:2]), direction[2]]) * stretch
    a, b, c = (np.einsum("cn,cn->n", p, q) for p, q in ((direction, direction), (origin, direction), (origin, origin)))
    at = (-b - np.sqrt(np.maximum(b * b - a * (c - 1), 0))) / a
    # Of the quadric |stretch * p| = 1 at p: its gradient.
    return _world(owner, (origin + at * direction) * stretch)


def _unit(vectors):
    """Return vectors (N, 3) with length 1; zero stays zero."""
    length = np.sqrt(np.einsum("nc,nc->n", vectors, vectors))
    return vectors / np.where(length > 0, length, 1)[:, None]
