"""Surface normals that are derived from depth."""

import numpy as np
import pytest

from mtl_tf.storage import codecs
from mtl_tf.surfaces import Intrinsics, normals_of_depth

# A Kinect's, of pictures of 480 x 640 pixels.
CAMERA = Intrinsics(518.9, 519.5, 325.6, 253.7, (480, 640))
SIZE = (120, 160)

# Of a plane in front of a camera: made with it in double precision, at every 20th pixel from (30, 30) on.
GOLDEN_NORMAL, GOLDEN_OFFSET = (0.35856858280031806, -0.7171371656006361, -0.5976143046671968), -1.7
GOLDEN_DEPTH = (3.447751132404268, 3.547174413476483, 3.652502127601891, 3.764276338815607)

PLANES = [(0.0, 0.0, -1.0), (0.0, -1.0, -0.2), (-0.8, 0.1, -0.6), (0.5, 0.5, -0.4), GOLDEN_NORMAL]
METHODS = [dict(), dict(radius=1), dict(radius=3), dict(radius=2, spacing=3)]


def rays(camera):
    """(H, W, 3) directions of the pixels, of length 1 along the optical axis."""
    v, u = np.indices(camera.size)
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(camera.size)], axis=-1)


def plane(normal, distance, camera):
    """Depth of a plane `distance` metres from the camera, 0 where it is not seen; its unit normal."""
    normal = np.array(normal) / np.linalg.norm(normal)
    facing = rays(camera) @ normal
    depth = np.where(facing < -1e-9, -distance / np.minimum(facing, -1e-9), 0)
    return np.where(depth < 100, depth, 0), normal


def labelled(normals):
    return (normals != 0).any(axis=-1)


def degrees(normals, truth):
    """Angles between the normals that are labelled and the true ones."""
    truth = np.broadcast_to(truth, normals.shape)[labelled(normals)]
    found = normals[labelled(normals)].astype(np.float64)
    return np.degrees(2 * np.arctan2(np.linalg.norm(found - truth, axis=-1), np.linalg.norm(found + truth, axis=-1)))


# === Normals of depth ===


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("normal", PLANES)
def test_planes_are_exact(normal, method):
    camera = CAMERA.scaled(SIZE)
    depth, normal = plane(normal, 2.5, camera)
    normals = normals_of_depth(depth, camera, **method)
    assert normals.dtype == np.float32 and normals.shape == (*SIZE, 3)
    assert degrees(normals, normal).max() < 1e-3
    np.testing.assert_allclose(np.linalg.norm(normals[labelled(normals)], axis=-1), 1, atol=1e-6)
    assert labelled(normals).sum() > 0.9 * (depth > 0).sum()
    assert not labelled(normals)[depth == 0].any()


def test_golden_plane():
    camera = Intrinsics(518.9 / 20, 519.5 / 20, (325.6 - 30) / 20, (253.7 - 30) / 20, (12, 16))
    depth, normal = plane(GOLDEN_NORMAL, -GOLDEN_OFFSET, camera)
    np.testing.assert_allclose(depth[0, :4], GOLDEN_DEPTH, rtol=1e-9)
    assert degrees(normals_of_depth(depth, camera), normal).max() < 1e-3
    # Differences of depth itself, the other formula, are not exact.
    down, across = np.gradient(depth)
    v, u = np.indices(depth.shape)
    other = np.stack(
        [
            camera.fx * across,
            camera.fy * down,
            -(depth + (u - camera.cx) * across + (v - camera.cy) * down),
        ],
        axis=-1,
    )
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    assert degrees(other, normal).max() > 0.1


def test_a_wall_that_faces_the_camera_points_back():
    normals = normals_of_depth(np.full((7, 9), 3.0), Intrinsics(8, 8, 4, 3, (7, 9)))
    np.testing.assert_allclose(normals[1:-1, 1:-1], np.broadcast_to((0, 0, -1), (5, 7, 3)), atol=1e-7)
    assert not labelled(normals)[[0, -1]].any() and not labelled(normals)[:, [0, -1]].any()


@pytest.mark.parametrize(("method", "most"), [(dict(), 0.3), (dict(radius=2), 1.5)])
def test_sphere(method, most):
    camera, centre, radius = CAMERA.scaled((240, 320)), np.array([0.2, -0.1, 4.0]), 1.2
    ray = rays(camera)
    a, b = (ray * ray).sum(-1), ray @ centre
    root = b * b - a * (centre @ centre - radius**2)
    depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    truth = (ray * depth[..., None] - centre) / radius
    depth[root < 0.3 * root.max()] = 0  # what is far from the rim
    normals = normals_of_depth(depth, camera, **method)
    assert labelled(normals).sum() > 5000 and degrees(normals, truth).max() < most
    # All of them are towards the camera.
    assert (np.einsum("hwc,hwc->hw", normals, ray)[labelled(normals)] < 0).all()


def test_the_same_normals_at_another_size():
    depth, normal = plane(PLANES[2], 2.5, CAMERA.scaled((240, 320)))
    normals = normals_of_depth(depth, CAMERA)  # scales the camera
    # The mean inverse depth of 2 x 2 pixels is that of their middle.
    half = 1 / (1 / depth).reshape(120, 2, 160, 2).mean(axis=(1, 3))
    halved = normals_of_depth(half, CAMERA)
    for found in (normals, halved):
        assert labelled(found).mean() > 0.9 and degrees(found, normal).max() < 1e-3
    # The rule for the principal point matters: without it the plane is turned.
    fx, fy, cx, cy, _ = CAMERA
    wrong = Intrinsics(fx / 4, fy / 4, cx / 4, cy / 4, SIZE)
    assert degrees(normals_of_depth(half, wrong), normal).min() > 0.05


def test_intrinsics_scale_about_the_corner_of_the_picture():
    assert Intrinsics(100, 200, 9.5, 4.5, (10, 20)).scaled((5, 40)) == Intrinsics(200, 100, 19.5, 2.0, (5, 40))
    assert Intrinsics(100, 200, 9.5, 4.5, (10, 20)).scaled((10, 20)) == Intrinsics(100, 200, 9.5, 4.5, (10, 20))


@pytest.mark.parametrize("hole", [0, -1.0, np.nan, np.inf])
def test_holes_have_no_normal_and_spoil_none(hole):
    camera = CAMERA.scaled(SIZE)
    depth, normal = plane((-0.3, 0.1, -0.9), 2.5, camera)
    depth[50, 70] = hole
    plain = labelled(normals_of_depth(depth, camera))
    assert not plain[[50, 49, 51, 50, 50], [70, 70, 70, 69, 71]].any()
    assert plain[[49, 49, 51, 51, 48], [69, 71, 69, 71, 70]].all()
    fitted = normals_of_depth(depth, camera, radius=2)
    assert labelled(fitted).sum() == labelled(fitted).size - 1 and not labelled(fitted)[50, 70]
    assert degrees(fitted, normal).max() < 1e-3
    assert not labelled(normals_of_depth(np.full((9, 9), hole), camera)).any()


def test_edges_of_depth_do_not_bleed():
    camera = CAMERA.scaled(SIZE)
    depth, far = plane((-0.3, 0.0, -1.0), 4.0, camera)
    near, front = plane((0.4, 0.0, -1.0), 2.0, camera)
    depth[:, 80:] = near[:, 80:]
    truth = np.where(np.arange(SIZE[1])[:, None] < 80, far, front)
    plain = normals_of_depth(depth, camera)
    assert not labelled(plain)[:, 79:81].any() and labelled(plain)[1:-1, 78].all() and labelled(plain)[1:-1, 81].all()
    assert degrees(plain, truth).max() < 1e-3
    # Without the mask it would.
    assert degrees(normals_of_depth(depth, camera, jump=9), truth).max() > 30
    # A fit has enough on each side.
    fitted = normals_of_depth(depth, camera, radius=3)
    assert labelled(fitted).all() and degrees(fitted, truth).max() < 1e-3
    assert degrees(normals_of_depth(depth, camera, radius=3, band=0.9), truth).max() > 30


@pytest.mark.parametrize("radius", [1, 4])
def test_a_strip_is_too_little_for_a_fit(radius):
    depth = np.zeros((30, 30))
    depth[15 : 16 + radius // 3] = 2.0  # one row, or two
    depth[:, 20] = 3.0
    assert not labelled(normals_of_depth(depth, CAMERA, radius=radius)).any()
    depth[15 : 16 + radius] = 2.0
    normals = normals_of_depth(depth, CAMERA, radius=radius)
    np.testing.assert_array_equal(labelled(normals), depth == 2)


@pytest.mark.parametrize(
    ("quantised", "distance", "method", "most"),
    [
        (lambda depth: codecs.decode_inverse_uint8(codecs.encode_inverse_uint8(depth)), 6.0, dict(radius=4), 4),
        (lambda depth: np.round(depth / 0.039) * 0.039, 2.0, dict(radius=4, spacing=3), 4),
        (lambda depth: np.round(depth, 2), 2.0, dict(radius=3), 2),
    ],
)
def test_a_fit_sees_through_quantisation(quantised, distance, method, most):
    camera = CAMERA.scaled((240, 320))
    depth, normal = plane((-0.8, 0.3, -0.6), distance, camera)
    depth = quantised(np.where(depth < 5 * distance, depth, 0))
    fitted, plain = normals_of_depth(depth, camera, **method), normals_of_depth(depth, camera, jump=1)
    assert labelled(fitted).sum() > 0.9 * (depth > 0).sum()
    error, plain_error = degrees(fitted, normal).mean(), degrees(plain, normal).mean()
    assert error < most and plain_error > 3 * error
