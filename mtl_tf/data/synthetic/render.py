"""From a scene to an image with its labels, its depth and its normals."""

import dataclasses
from collections.abc import Collection

import numpy as np

from mtl_tf.data.synthetic import raster, shapes
from mtl_tf.data.synthetic.classes import SKY, THINGS
from mtl_tf.data.synthetic.normals import normals
from mtl_tf.data.synthetic.scene import Scene, build_scene
from mtl_tf.data.synthetic.shade import shade

MINIMUM_DEPTH, MAXIMUM_DEPTH = 4.0, 300.0  # metres; what lies nearer or farther has no depth label
_END = 20000.0  # metres; the ground ends here, far less than a pixel below the horizon


@dataclasses.dataclass(frozen=True)
class Faces:
    """All surfaces of the primitives, numbered in their order; a solid has one per plane, others just one.

    Attributes:
        owner: (F,) number of the primitive.
        material: (F,) number of the material.
        normal: (3, F) local unit normal; zero on curved surfaces.
        two_sided: (F,) whether it is a panel, lit from both sides.
    """

    owner: np.ndarray
    material: np.ndarray
    normal: np.ndarray
    two_sided: np.ndarray


@dataclasses.dataclass(frozen=True)
class Buffers:
    """What each pixel shows, all arrays (H, W).

    Attributes:
        depth: metres; infinite for the sky.
        surface: -1 sky; 0 .. strips - 1 the strip of ground; from `strips` on the face of a primitive.
        strips: number of ground strips.
        x, y: world coordinates where the ray meets the ground, in metres.
        course: right, ahead and lateral of that place, see `Road.coordinates`.
        shade: 0..1, how much of the sun things hide from the ground.
        faces: the faces.
        table: (13, N) numbers of each primitive for shading, see `_table`.
        materials: (11, M) numbers of each material, see `Material.row`.
        focal: focal length in pixels.
    """

    depth: np.ndarray
    surface: np.ndarray
    strips: int
    x: np.ndarray
    y: np.ndarray
    course: tuple[np.ndarray, np.ndarray, np.ndarray]
    shade: np.ndarray
    faces: Faces
    table: np.ndarray
    materials: np.ndarray
    focal: float


def render(
    seed: int, index: int, height: int = 256, width: int = 256, extras: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Render one sample, a pure function of the arguments.

    Args:
        seed: seed of the split, see `sample_seed`.
        index: number of the scene; the scene does not depend on the image size.
        height, width: image size in pixels.
        extras: names of further maps that are wanted: "normals", "instances"; the others do not depend on it.

    Returns:
        `image` uint8 (H, W, 3) RGB; `semseg` uint8 (H, W) train ids 0..18; `depth` float32 (H, W) metres along
        the optical axis, 0 (invalid) for the sky and for what is nearer than 4 m or farther than 300 m. If asked for,
        `normals` float32 (H, W, 3), see `normals.normals`, whatever the distance; `instances` uint16 (H, W), a number
        for each vehicle, person and rider that is seen, from 1; 0 elsewhere.
    """
    scene = build_scene(seed, index)
    rays = scene.camera.rays(height, width)
    buffers, labels = trace(scene, rays)
    depth = np.where((buffers.depth >= MINIMUM_DEPTH) & (buffers.depth <= MAXIMUM_DEPTH), buffers.depth, 0)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index, 1, height, width))))
    image = shade(scene, rays, buffers, rng)
    sample = {"image": image, "semseg": labels, "depth": depth.astype(np.float32)}
    if "normals" in extras:
        sample["normals"] = normals(scene, rays, buffers)
    if "instances" in extras:
        sample["instances"] = instances(scene, buffers)
    return sample


def instances(scene: Scene, buffers: Buffers) -> np.ndarray:
    """Number what can be counted: uint16 (H, W), from 1; a rider and what they ride are two."""
    # Of each surface; those of the ground and the sky, -1, are of no thing.
    of_surface = np.zeros(buffers.strips + len(buffers.faces.owner) + 1, np.int32)
    pairs = [(scene.things[i], scene.primitives[i].label) for i in buffers.faces.owner]
    keys = [20 * thing + label if label in THINGS else 0 for thing, label in pairs]
    of_surface[buffers.strips : -1] = keys
    seen = of_surface[buffers.surface]
    return np.searchsorted(np.union1d(seen, [0]), seen).astype(np.uint16)


def trace(scene: Scene, rays) -> tuple[Buffers, np.ndarray]:
    """Find what each ray meets.

    Args:
        scene: the scene.
        rays: from `Camera.rays`.

    Returns:
        The buffers, and the train ids (H, W) uint8.
    """
    camera, road, things = scene.camera, scene.road, scene.primitives
    height, width = rays[0].shape
    below = rays[2] < -camera.height / _END
    ground_depth = np.where(below, camera.height / np.where(below, -rays[2], 1), 0).astype(np.float32)
    x, y = rays[0] * ground_depth, rays[1] * ground_depth
    course = road.coordinates(x, y)
    strips = len(road.strips)
    surface = np.where(below, road.zones(x, y, course[2]), -1).astype(np.int32)
    depth = np.where(below, ground_depth, np.float32(np.inf))

    faces = _faces(things)
    first = strips + np.searchsorted(faces.owner, np.arange(len(things)))
    raster.draw(things, camera, rays, depth, surface, first.tolist())

    label_of = [strip.label for strip in road.strips] + [things[i].label for i in faces.owner] + [SKY]
    labels = np.array(label_of, np.uint8)[surface]
    seen_ground = (surface >= 0) & (surface < strips)
    shadow = raster.ground_shadow(things, camera, scene.light.sun, x, y, seen_ground)
    materials = _columns([material.row() for material in scene.materials], 11)
    table = _table(things, scene.light.sun)
    focal = camera.focal_pixels(height, width)
    return Buffers(depth, surface, strips, x, y, course, shadow, faces, table, materials, focal), labels


def _faces(things) -> Faces:
    owner, material, normal = [], [], []
    for number, thing in enumerate(things):
        owner += [number] * len(thing.materials)
        material += thing.materials
        if thing.shape == shapes.SOLID:
            normal += [plane[:3] for plane in thing.planes]
        else:
            normal.append((0.0, 1.0, 0.0) if thing.shape == shapes.PANEL else (0.0, 0.0, 0.0))
    owner = np.array(owner, np.int32)
    flat = np.array([thing.shape == shapes.PANEL for thing in things], bool)
    return Faces(owner, np.array(material, np.int32), _columns(normal, 3), flat[owner])


def _table(things, sun) -> np.ndarray:
    """Return per primitive: centre, cos, sin, half extents, curvature of its normal, local sun direction x and y."""
    rows = []
    for thing in things:
        hx, hy, hz = thing.half
        curved = (0.0, 0.0, 0.0)
        if thing.shape == shapes.ELLIPSOID:
            curved = (1 / (hx * hx), 1 / (hy * hy), 1 / (hz * hz))
        elif thing.shape == shapes.CYLINDER:
            curved = (1.0, 1.0, 0.0)
        c, s = thing.cos, thing.sin
        local_sun = (c * sun[0] - s * sun[1], s * sun[0] + c * sun[1])
        rows.append((*thing.centre, c, s, hx, hy, hz, *curved, *local_sun))
    return _columns(rows, 13)


def _columns(rows, count: int) -> np.ndarray:
    """Return rows of `count` numbers as contiguous float32 columns, (count, N)."""
    return np.ascontiguousarray(np.array(rows, np.float32).reshape(-1, count).T)
