"""Normals of rendered scenes: exact against the ray caster, free where nobody asks, given by the source."""

import dataclasses

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.data.sets.synthetic import SyntheticSource
from mtl_tf.data.synthetic import build_scene, classes, render, sample_seed, shapes
from mtl_tf.data.synthetic.normals import normals as scene_normals
from mtl_tf.data.synthetic.render import trace
from mtl_tf.data.synthetic.scene import Scene
from mtl_tf.storage.windows import Window
from mtl_tf.surfaces import Intrinsics, normals_of_depth
from tests.data.ray_caster import HIT, cast, to_local, world_ray

EXTRAS = ("normals",)


def degrees(first, second):
    """Angles between unit vectors."""
    return np.degrees(2 * np.arctan2(np.linalg.norm(first - second, axis=-1), np.linalg.norm(first + second, axis=-1)))


def camera_rays(camera, height, width):
    """(H, W, 3) directions in the axes of the camera."""
    focal = camera.focal_pixels(height, width)
    y, x = (np.indices((height, width)) + 0.5 - np.array([height / 2, width / 2])[:, None, None]) / focal
    return np.stack([x, y, np.ones((height, width))], axis=-1)


def small_step_normal(scene, met, row, column, height, width):
    """The normal of the surface a ray meets, from the points that rays beside it meet, in the axes of the camera.

    None where these do not lie on one smooth piece of surface.
    """
    step = 1e-3  # pixels
    eye = np.array([0.0, 0.0, scene.camera.height])

    def point(down, right):
        direction = world_ray(scene.camera, row + down * step, column + right * step, height, width)
        if met is None:
            at = -eye[2] / direction[2]
        else:
            at = HIT[met.shape](met, to_local(met, eye - met.centre), to_local(met, direction))
        return np.full(3, np.nan) if at is None else at * direction

    found = []
    for sign in (1, -1):
        normal = np.cross(point(sign, 0) - point(0, 0), point(0, sign) - point(0, 0))
        found.append(normal / np.linalg.norm(normal))
    if not degrees(*found) < 1:  # of other faces, or of none (NaN)
        return None
    normal = np.array([scene.camera.right, scene.camera.down, scene.camera.forward]) @ sum(found)
    return normal / np.linalg.norm(normal)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_normals_agree_with_a_ray_caster(index):
    height, width, count = 72, 96, 200
    scene, sample = build_scene(21, index), render(21, index, height, width, EXTRAS)
    random = np.random.default_rng(index)
    errors, skipped = [], 0
    for row, column in zip(random.integers(0, height, count), random.integers(0, width, count), strict=True):
        label, _, met = cast(scene, world_ray(scene.camera, row, column, height, width))
        normal = sample["normals"][row, column]
        if label == classes.SKY:
            errors.append(0 if not normal.any() else 180)
            continue
        truth = small_step_normal(scene, met, row, column, height, width)
        if truth is None or label != sample["semseg"][row, column]:
            skipped += 1
        else:
            errors.append(degrees(normal, truth))
    assert skipped <= 4
    # A ray within float32 rounding of an edge between two faces may fall on its other side.
    assert np.sort(errors)[-2] < 0.1 and np.mean(np.array(errors) > 0.1) <= 0.01


def shapes_in_view():
    frame = shapes.Frame(0.3, 6.0, 1.0, 0.0)
    return {
        "box": shapes.solid(1, frame.at(0, 0, 0.5), (-1, 1), (-2, 1), (0.2, 2.2), 0, taper=(0.4, 0.9, 0.1)),
        "ball": shapes.ellipsoid(1, frame.at(0, 0, 0.5), 1.5, (1.5, 0.7, 1.1), 0, ragged=0.5),
        "pole": shapes.cylinder(1, frame, (0.1, 2.4), 0.6, 0),
        "front of a panel": shapes.panel(1, frame.at(0, 0, 0.5), 3, (0.2, 2.8), 0, ("disc",)),
        "back of a panel": shapes.panel(1, frame.at(0, 0, 3.3), 3, (0.2, 2.8), 0, ("octagon",)),
    }


def check_shape(scene, thing, step):
    """Compares the normals of a thing alone, at every `step`-th pixel of 96 x 96."""
    size = 96
    scene = Scene(scene.camera, scene.light, scene.road, [thing], scene.materials)
    rays = scene.camera.rays(size, size)
    buffers, _ = trace(scene, rays)
    normals = scene_normals(scene, rays, buffers)
    errors = []
    for row, column in np.argwhere(buffers.surface[::step, ::step] >= buffers.strips) * step:
        truth = small_step_normal(scene, thing, row, column, size, size)
        if truth is not None:
            errors.append(degrees(normals[row, column], truth))
    # At the rim of a curved thing the last digits of a ray matter.
    assert len(errors) > 30 and np.quantile(errors, 0.9) < 0.1 and np.max(errors) < 2, np.sort(errors)


@pytest.mark.parametrize("name", list(shapes_in_view()))
def test_each_shape_agrees_with_the_ray_caster(name):
    check_shape(build_scene(0, 0), shapes_in_view()[name], 4)


def test_a_small_thing_far_away_is_exact():
    # Points of float32 depth would be degrees off.
    scene, away = build_scene(0, 0), 150.0
    scene = dataclasses.replace(scene, camera=dataclasses.replace(scene.camera, focal=400.0))
    x, y, z = (away * part for part in scene.camera.forward)
    frame = shapes.Frame(x, y, 0.8, 0.6)
    check_shape(scene, shapes.ellipsoid(1, frame, scene.camera.height + z, (0.1, 0.11, 0.135), 0), 6)


def test_normals_are_unit_vectors_that_face_the_camera():
    for index in range(6):
        sample = render(1, index, 64, 96, EXTRAS)
        normals, sky = sample["normals"], sample["semseg"] == classes.SKY
        assert normals.dtype == np.float32 and normals.shape == (64, 96, 3)
        assert not normals[sky].any()
        np.testing.assert_allclose(np.linalg.norm(normals[~sky], axis=-1), 1, atol=1e-6)
        rays = camera_rays(build_scene(1, index).camera, 64, 96)
        assert np.einsum("hwc,hwc->hw", normals, rays).max() < 1e-4


def test_normals_agree_with_those_of_exact_depth():
    height, width = 128, 192
    for index in range(4):
        sample = render(3, index, height, width, EXTRAS)
        focal = build_scene(3, index).camera.focal_pixels(height, width)
        camera = Intrinsics(focal, focal, width / 2 - 0.5, height / 2 - 0.5, (height, width))
        derived = normals_of_depth(sample["depth"], camera)
        known = derived.any(axis=-1)
        errors = degrees(derived, sample["normals"])[known]
        # Between two faces, and on what bends within a pixel, differences see something else.
        assert known.mean() > 0.25 and np.mean(errors < 0.1) > 0.75 and np.mean(errors < 10) > 0.9


def test_other_maps_do_not_depend_on_what_is_asked_for():
    plain = render(5, 7, 64, 96)
    assert list(plain) == ["image", "semseg", "depth"]
    sample = render(5, 7, 64, 96, EXTRAS)
    assert list(sample) == [*plain, *EXTRAS]
    assert all(sample[name].tobytes() == plain[name].tobytes() for name in plain)


# === The source ===


def open_scenes(*tasks):
    config = configuration.replace(configuration.Config(), data__synthetic_train=2, data__image_size=(48, 64))
    return SyntheticSource(dataclasses.replace(config, tasks=tasks), "train")


def test_source_gives_the_maps_it_is_opened_for():
    truth = render(sample_seed(configuration.Config().data.synthetic_seed, "train"), 1, 48, 64, EXTRAS)
    sample = open_scenes("normals", "semseg", "depth").read(1)
    assert list(sample) == ["image", "normals", "semseg", "depth"]
    for name in ("image", "semseg", "depth"):
        np.testing.assert_array_equal(sample[name], truth[name])
    assert sample["normals"].dtype == np.float32
    there = truth["normals"].any(axis=-1)
    assert 0.3 < there.mean() < 1 and not sample["normals"][~there].any()
    assert degrees(sample["normals"], truth["normals"])[there].max() < 0.01
    np.testing.assert_allclose(np.linalg.norm(sample["normals"][there], axis=-1), 1, atol=1e-4)


def test_source_keeps_only_what_it_is_opened_for():
    source = open_scenes("semseg", "normals")
    assert list(source.read(0)) == ["image", "semseg", "normals"]
    # 3 bytes of colours, 1 of classes and 6 of normals a pixel.
    assert sum(part.nbytes for part in source._scenes[0].values()) == 48 * 64 * 10


def test_source_gives_no_label_outside_of_a_scene():
    source = open_scenes("semseg", "normals")
    whole, part = source.read(0), source.read(0, lambda size: Window(-2, 60, 6, 10))
    assert (part["semseg"][:2] == 255).all() and not part["normals"][:, 4:].any()
    np.testing.assert_array_equal(part["semseg"][2:, :4], whole["semseg"][:4, 60:])
    np.testing.assert_array_equal(part["normals"][2:, :4], whole["normals"][:4, 60:])
