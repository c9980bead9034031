"""Colours of what the z-buffer found: textures, sun and shadows, haze, sky and the sensor.

Colours are kept as planes, (3, N) or (3, H, W), because NumPy is slow along short last axes.
"""

import numpy as np

from mtl_tf.data.synthetic import classes, road, textures


def shade(scene, rays, buffers, rng) -> np.ndarray:
    """Colour an image.

    Args:
        scene: the `Scene`.
        rays: ray components x, y, z, each (H, W) float32.
        buffers: the `render.Buffers` of the scene.
        rng: generator of the sensor noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = buffers.depth.shape
    image = np.empty((3, height * width), np.float32)
    surface = buffers.surface.ravel()
    depth = np.where(surface < 0, 0, buffers.depth.ravel())
    flat_rays = [ray.ravel() for ray in rays]
    sky, things = np.flatnonzero(surface < 0), np.flatnonzero(surface >= buffers.strips)
    ground = np.flatnonzero((surface >= 0) & (surface < buffers.strips))
    image[:, sky] = _sky(scene.light, *(ray[sky] for ray in flat_rays))
    image[:, ground] = _ground(scene, buffers, ground)
    image[:, things] = _things(scene, flat_rays, buffers, things)
    # Haze: the farther a thing, the more of the horizon's colour lies before it.
    haze = 1 - np.exp(-depth * np.float32(1 / scene.light.visibility))
    image = _mix(image, _rgb(scene.light.horizon) * 0.96, haze)
    return _sensor(scene.light, image.reshape(3, height, width), rng)


def _rgb(colour) -> np.ndarray:
    """Return a colour as a (3, 1) array."""
    return np.array(colour, np.float32)[:, None]


def _mix(first, second, share) -> np.ndarray:
    """Return first + share * (second - first) for colours (3, N) or (3, 1) and shares (N,)."""
    return first + np.asarray(share, np.float32) * (second - first)


def _sky(light, dx, dy, dz) -> np.ndarray:
    scale = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * scale, dy * scale, dz * scale
    up = np.clip(dz, 0, 1)
    colour = _mix(_rgb(light.horizon), _rgb(light.zenith), np.sqrt(up))
    # Clouds lie in a plane high above; it is seen at ever flatter angles towards the horizon.
    away = 1 / (up + 0.12)
    cover = textures.noise(textures.tiles()[1], dx * away, dy * away, 40.0) + 1.6 * light.clouds - 0.8
    cover = np.clip(1.4 * cover, 0, 1) * (0.3 if light.clouds == 1 else 0.9)
    white = _rgb(light.horizon) * 0.3 + (0.66 if light.clouds < 1 else 0.5)
    glow = np.clip(dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2], 0, 1)
    for _ in range(4):
        glow = glow * glow
    return _mix(colour, white, cover) + 0.5 * (1 - light.clouds) * glow


def _ground(scene, buffers, where) -> np.ndarray:
    """Return the colours (3, N) of the pixels with flat indices `where`, which show the ground."""
    plan, light, strips = scene.road, scene.light, scene.road.strips
    x, y, depth, zone = (plane.ravel()[where] for plane in (buffers.x, buffers.y, buffers.depth, buffers.surface))
    right, ahead, lateral = (plane.ravel()[where] for plane in buffers.course)
    # The station along the arc. Only paint and slabs depend on it, so an arc tangent does no harm here.
    k = plan.curvature
    along = np.arctan2(k * ahead, 1 - k * right) * np.float32(1 / k) if abs(k) > 1e-5 else ahead
    first, second = (np.array(c, np.float32).T[:, zone] for c in zip(*(s[2:4] for s in strips), strict=True))
    pattern = np.array([strip.pattern for strip in strips], np.int8)[zone]
    size = np.array([strip.size for strip in strips], np.float32)[zone]
    white, clouds = textures.tiles()
    coarse = textures.noise(clouds, x, y, 7.0)
    fine = textures.noise(white, x, y, 26.0) * np.clip(9 / depth, 0.1, 1)
    footprint = depth * np.float32(0.9 / buffers.focal)
    near = np.clip(30 / depth, 0, 1)

    soft = ((pattern == road.GRASS) | (pattern == road.SOIL)).astype(np.float32)
    gain = 1 + (0.07 + 0.09 * soft) * coarse + (0.09 + 0.17 * soft) * fine
    tyres = np.abs(np.abs(np.abs(lateral) % 3.2 - 1.6) - 0.75) < 0.3
    gain -= 0.05 * (tyres & (pattern == road.ASPHALT))
    share = np.clip(textures.noise(clouds, y, x, 17.0), 0, 1) * (0.2 + 0.6 * soft)
    slabs = np.flatnonzero(pattern == road.SLABS)
    if slabs.size:
        u, v, wide = (lateral / size)[slabs], (along / size)[slabs], footprint[slabs]
        joint = np.minimum(np.abs(u - np.rint(u)), np.abs(v - np.rint(v)) + 1 - near[slabs]) * size[slabs]
        share[slabs] = np.clip((0.035 + 0.5 * wide - joint) / (wide + 0.01), 0, 0.8)
        gain[slabs] += 0.08 * textures.noise(white, np.floor(u), np.floor(v), 1.0) * near[slabs]
    colour = _mix(first, second, share) * gain

    # A light kerb stone runs along each edge between carriageway and sidewalk.
    for number, bound in enumerate(plan.bounds):
        pair = [strips[number].label, strips[number + 1].label]
        if sorted(pair) == [classes.ROAD, classes.SIDEWALK]:
            inner = bound + (0.09 if pair[1] == classes.SIDEWALK else -0.09)
            _paint(colour, (0.72, 0.71, 0.68), _coverage(lateral - inner, 0.2, footprint) * (zone != plan.middle))
    painted = zone == plan.middle
    if plan.crossing is not None:
        painted &= np.abs(plan.along_crossing(x, y)) > plan.crossing.half
    _markings(plan, colour, lateral, along, painted, footprint, coarse)
    lit = 1 - light.shadow * buffers.shade.ravel()[where]
    return colour * (_rgb(light.ambient) + lit * (_rgb(light.direct) * light.sun[2]))


def _markings(plan, colour, lateral, along, painted, footprint, coarse) -> None:
    """Paint lines and zebra crossings over `colour` (3, N) where `painted`; rails lie on their own bed as well."""
    fresh = (1 - plan.wear * np.clip(0.5 + coarse, 0, 1)) * painted
    for line in plan.lines:
        cover = _coverage(lateral - line.lateral, line.width, footprint)
        if not line.rail:
            cover *= fresh
        if line.period:
            phase = along * np.float32(1 / line.period)
            cover *= phase - np.floor(phase) < line.share
        _paint(colour, line.colour, cover)
    for low, high in plan.zebras:
        bars = (along > low) & (along < high) & ((lateral + 100) % 1.0 < 0.52)
        _paint(colour, (0.92, 0.92, 0.9), bars * fresh)


def _paint(colour, paint, cover) -> None:
    """Blend a paint (RGB) into `colour` (3, N), only where it covers anything, which is little of the ground."""
    at = np.flatnonzero(cover > 0)
    colour[:, at] = _mix(colour[:, at], _rgb(paint), cover[at])


def _coverage(offset, width, footprint) -> np.ndarray:
    """Return the share of a pixel, `footprint` metres wide, that a line of `width` metres covers."""
    share = (0.5 * (width + footprint) - np.abs(offset)) / footprint
    return np.clip(share, 0, np.minimum(1, width / footprint))


def _things(scene, rays, buffers, where) -> np.ndarray:
    """Return the colours (3, N) of the pixels with flat indices `where`, which show primitives."""
    light, faces = scene.light, buffers.faces
    face = buffers.surface.ravel()[where] - buffers.strips
    owner = faces.owner[face]
    depth = buffers.depth.ravel()[where]
    cx, cy, cz, cos, sin, hx, hy, hz, ax, ay, az, sun_x, sun_y = np.take(buffers.table, owner, axis=1)
    dx, dy, dz = (ray[where] for ray in rays)
    wx, wy = dx * depth - cx, dy * depth - cy
    lx, ly = cos * wx - sin * wy, sin * wx + cos * wy
    lz = dz * depth + scene.camera.height - cz
    nx, ny, nz = np.take(faces.normal, face, axis=1)
    nx, ny, nz = nx + ax * lx, ny + ay * ly, nz + az * lz
    scale = 1 / np.sqrt(np.maximum(nx * nx + ny * ny + nz * nz, 1e-12))
    nx, ny, nz = nx * scale, ny * scale, nz * scale

    top = (nz > 0.9) & (ax == 0)
    sideways = (np.abs(nx) > np.abs(ny)) & ~top
    points = textures.Points(
        u=np.where(sideways, ly, lx),
        v=np.where(top, ly, lz + hz),
        half=np.maximum(np.where(sideways, hy, hx), 1e-3),
        high=np.where(top, 2 * hy, 2 * hz),
        top=top,
        depth=depth,
        primitive=owner,
        numbers=None,
    )
    material = faces.material[face]
    kinds = buffers.materials[0].astype(np.int8)[material]
    colour = np.empty((3, where.size), np.float32)
    for kind in np.flatnonzero(np.bincount(kinds, minlength=1)):
        chosen = np.flatnonzero(kinds == kind)
        rows = np.take(buffers.materials, material[chosen], axis=1)
        part = textures.Points(*(None if v is None else v[chosen] for v in points))._replace(numbers=rows[7:])
        colour[:, chosen] = textures.colours(int(kind), part, rows[1:4], rows[4:7])

    # Lambert's law for the sun; the sky lights faces that look up more, and the foot of things less.
    facing = nx * sun_x + ny * sun_y + nz * light.sun[2]
    facing = np.where(faces.two_sided[face], np.abs(facing), np.maximum(facing, 0))
    if light.clouds == 1:
        facing = 0.45 + 0.5 * facing
    low = np.clip((lz + cz) * 1.2 + 0.55, 0.55, 1) * (0.86 + 0.26 * nz)
    return colour * (low * _rgb(light.ambient) + facing * _rgb(light.direct))


def _sensor(light, image, rng) -> np.ndarray:
    """Imitate optics and sensor: slight blur, exposure, soft highlights, noise; return (H, W, 3) uint8."""
    for axis in (1, 2):
        image = 0.72 * image + 0.14 * (_shifted(image, 1, axis) + _shifted(image, -1, axis))
    image *= (_rgb(light.balance) * light.exposure)[..., None]
    image = np.where(image > 0.75, 1 - 0.0625 / (np.maximum(image, 0.75) - 0.5), image)
    # The sum of two random bytes is close enough to a normal distribution; its standard deviation is 104.5.
    raw = rng.integers(0, 256, (2, *image.shape), np.uint8)
    image = image * 255 + (raw[0].astype(np.float32) + raw[1] - 255) * (light.grain / 104.5)
    return np.ascontiguousarray(np.clip(image + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _shifted(image, by, axis) -> np.ndarray:
    """Return the image moved by one pixel along an axis (`by` is 1 or -1), its border repeated."""
    rows = np.clip(np.arange(image.shape[axis]) - by, 0, image.shape[axis] - 1)
    return np.take(image, rows, axis=axis)
