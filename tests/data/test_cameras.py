"""Normals that follow from the depth of known data sets: planes as their files store them, with their own cameras."""

import json
import shutil

import numpy as np
import pytest

from mtl_tf.config import Config, replace
from mtl_tf.data.sets import open_split
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.sets.vkitti2 import VKITTI2
from mtl_tf.surfaces import Intrinsics
from tests.data.official import configured, opened, refusal, save, write_cityscapes, write_kitti, write_vkitti2
from tests.helpers import tool_module

SIZE = (32, 64)  # of the pictures here
# Slopes along columns and rows, and the value at the first pixel, of codes that are linear in inverse depth.
SLOPES = [(3, 2, 400), (-2, 7, 600), (0, 9, 300), (0, 0, 500)]


def linear(across, down, first):
    """Codes of a plane, whole numbers (H, W)."""
    rows, columns = np.indices(SIZE)
    return first + across * columns + down * rows


def normal_of(across, down, first, camera):
    """The normal of the plane with these codes: n . ((u - cx) / fx, (v - cy) / fy, 1) is as the codes for all u, v."""
    fx, fy, cx, cy, _ = camera.scaled(SIZE)
    normal = -np.array([fx * across, fy * down, first + across * cx + down * cy])
    return normal / np.linalg.norm(normal)


def angles(normals, normal):
    """Those between the normals that are labelled, half of the pixels at least, and the true one, degrees."""
    known = normals.any(-1)
    assert known.mean() > 0.5
    found = normals[known].astype(np.float64)
    return np.degrees(2 * np.arctan2(*(np.linalg.norm(found + sign * normal, axis=-1) for sign in (-1, 1))))


def degrees(normals, normal):
    """The largest of these."""
    return angles(normals, normal).max()


# === Cityscapes and KITTI: a camera for each picture ===

CITY_CAMERAS = {
    "aachen": dict(fx=2262.52, fy=2265.3017905988554, u0=1096.98, v0=513.137),
    "frankfurt": dict(fx=2268.36, fy=2225.5405988775956, u0=1048.64, v0=519.277),
}


def city_intrinsics(city):
    return Intrinsics(*CITY_CAMERAS[city].values(), (1024, 2048))


@pytest.fixture
def cities(tmp_path):
    """Pictures of two cities, with the same disparity and different cameras."""
    names = [f"{city}_00000{number}_000019" for city in CITY_CAMERAS for number in range(len(SLOPES))]
    options = write_cityscapes(tmp_path / "cities", {"train": names})
    shutil.rmtree(tmp_path / "cities/gtFine")
    for index, name in enumerate(names):
        city = name.partition("_")[0]
        place = f"train/{city}/{name}"
        save(tmp_path / f"cities/leftImg8bit/{place}_leftImg8bit.png", np.zeros((*SIZE, 3), np.uint8))
        codes = 1 + 10 * linear(*SLOPES[index % len(SLOPES)])
        save(tmp_path / f"cities/disparity/{place}_disparity.png", codes.astype(np.uint16))
        content = {"extrinsic": {"baseline": 0.21}, "intrinsic": CITY_CAMERAS[city]}
        (tmp_path / f"cities/camera/{place}_camera.json").write_text(json.dumps(content))
    return options | dict(tasks=("normals",))


def test_cityscapes_has_the_camera_of_each_picture(cities):
    source = opened(cities)
    assert source.tasks == ("normals",) and source.labelled == {"normals": 8}
    for index in range(8):
        normals, slopes = source.read(index)["normals"], SLOPES[index % 4]
        city, other = list(CITY_CAMERAS)[:: 1 if index < 4 else -1]
        assert degrees(normals, normal_of(*slopes, city_intrinsics(city))) < 0.01, index
        # With the camera of the other city it is wrong, unless the plane faces the camera.
        assert (degrees(normals, normal_of(*slopes, city_intrinsics(other))) > 0.05) == (slopes[:2] != (0, 0)), index


def test_a_share_of_the_samples_has_the_camera_of_each_picture(cities):
    config = configured(cities, data__val_share=0.5)
    whole = opened(cities)
    for split in ("train", "val"):
        part = open_split(config, split)
        for index, name in enumerate(part.ids):
            np.testing.assert_array_equal(part.read(index)["normals"], whole.read(whole.ids.index(name))["normals"])


@pytest.mark.parametrize("content", ["files", "pixels", "pixels --tasks=normals"])
def test_packed_pictures_keep_their_cameras(cities, tmp_path, content):
    """What is packed of derived labels is what they are derived from."""
    tool = tool_module("pack_dataset")
    out = tmp_path / "packed"
    arguments = ["--data.name=cityscapes", f"--data.root={cities['data__root']}", f"--output={out}", "--verify"]
    assert tool.run_tool(tool.pack, tool.Options, [*arguments, *f"--content={content}".split()]) == 0
    packed = open_split(replace(Config(), data__name="packed", data__root=str(out), tasks=("normals",)), "train")
    whole = opened(cities)
    assert packed.ids == whole.ids
    for index in range(len(whole)):
        np.testing.assert_array_equal(packed.read(index)["normals"], whole.read(index)["normals"])


def test_a_camera_without_a_number_is_named(cities, tmp_path):
    path = tmp_path / "cities/camera/train/aachen/aachen_000000_000019_camera.json"
    path.write_text(json.dumps({"extrinsic": {"baseline": 0.21}, "intrinsic": {"fx": 2262.52}}))
    assert refusal(cities, index=0) == (
        f"{path}: intrinsic.fy should be a positive number; it is missing; replace the file"
    )
    assert opened(cities, tasks=("depth",)).read(0)["depth"].any()


def test_a_picture_without_disparity_has_no_normals_and_needs_no_camera(cities, tmp_path):
    for part, suffix in (("disparity", "disparity.png"), ("camera", "camera.json")):
        (tmp_path / f"cities/{part}/train/aachen/aachen_000000_000019_{suffix}").unlink()
    source = opened(cities)
    assert source.labelled == {"normals": 7} and not source.read(0)["normals"].any()


def test_normalised_disparity_has_no_normals(cities):
    assert "has no normals labels" in refusal(cities, data__name="cityscapes7")


def test_how_far_another_city_s_camera_is_off():
    """The figure in docs/datasets.md: the normals of any plane, with the camera of one city instead of the other's."""
    random = np.random.default_rng(0)
    right, wrong = (city_intrinsics(city) for city in ("frankfurt", "aachen"))
    off = []
    for _ in range(2000):
        normal = random.normal(size=3)
        normal *= -np.sign(normal[2]) / np.linalg.norm(normal)
        # Codes of that plane, seen by the right camera.
        across, down = normal[0] / right.fx, normal[1] / right.fy
        first = normal[2] - across * right.cx - down * right.cy
        found = -np.array([wrong.fx * across, wrong.fy * down, first + across * wrong.cx + down * wrong.cy])
        off.append(np.degrees(np.arccos(np.clip(-found @ normal / np.linalg.norm(found), -1, 1))))
    assert np.median(off) == pytest.approx(0.8, abs=0.2) and 1.2 < max(off) < 1.4


KITTI_CAMERAS = [(721.5377, 609.5593, 172.854, 1242, 375), (718.856, 607.1928, 185.2157, 1241, 376)]


@pytest.fixture
def drives(tmp_path):
    """Pictures of two days, with the same disparity and different cameras."""
    root = tmp_path / "kitti"
    options = write_kitti(root, root, root, count=5)
    for index in range(5):
        save(root / f"training/image_2/{index:06}_10.png", np.zeros((*SIZE, 3), np.uint8))
        save(root / f"training/disp_occ_0/{index:06}_10.png", (10 * linear(*SLOPES[index % 4])).astype(np.uint16))
        focal, cx, cy, width, height = KITTI_CAMERAS[index % 2]
        (root / f"training/calib_cam_to_cam/{index:06}.txt").write_text(
            f"S_rect_02: {width} {height}\nP_rect_02: {focal} 0 {cx} 45 0 {focal} {cy} 0.2 0 0 1 0.003\n"
            f"P_rect_03: {focal} 0 {cx} -340 0 {focal} {cy} 2.2 0 0 1 0.003\n"
        )
    return options | dict(tasks=("normals",))


def test_kitti_has_the_camera_of_each_picture(drives, tmp_path):
    source = opened(drives)
    assert source.ids == [f"{number:06}" for number in range(1, 5)]
    for index in range(4):
        focal, cx, cy, width, height = KITTI_CAMERAS[(index + 1) % 2]
        camera = Intrinsics(focal, focal, cx, cy, (height, width))
        assert degrees(source.read(index)["normals"], normal_of(*SLOPES[(index + 1) % 4], camera)) < 0.01
    path = tmp_path / "kitti/training/calib_cam_to_cam/000001.txt"
    path.write_text(path.read_text().replace("S_rect_02", "S_02"))
    assert refusal(drives, index=0) == f"{path}: expected a line S_rect_02: with 2 numbers; replace the file"


# === One camera for all pictures ===


def test_miniscapes_has_the_camera_of_synscapes(tmp_path):
    """A byte is linear in inverse depth, so planes are exact; the camera is one of Cityscapes' at another size."""
    camera = MINISCAPES["normals"].camera
    assert camera.size == (720, 1440)
    np.testing.assert_allclose(camera[:2], city_intrinsics("aachen").scaled(camera.size)[:2], rtol=1e-5)
    for index, slopes in enumerate([(1, 2, 60), (-1, 3, 90), (0, 0, 200)]):
        save(tmp_path / f"train/rgb/{index}.png", np.zeros((*SIZE, 3), np.uint8))
        save(tmp_path / f"train/depth/{index}.png", linear(*slopes).astype(np.uint8))
    options = dict(data__name="miniscapes", data__root=str(tmp_path), tasks=("normals",))
    source = opened(options)
    for index, (across, down, first) in enumerate([(1, 2, 60), (-1, 3, 90), (0, 0, 200)]):
        # Code 1 is 300 m, not infinity: inverse depth is (code - 1) (1/4 - 1/300) / 254 + 1/300.
        nothing = 1 - 254 / 300 / (1 / 4 - 1 / 300)
        normal = normal_of(across, down, first - nothing, camera)
        assert degrees(source.read(index)["normals"], normal) < 0.01, index


def test_virtual_kitti_2_has_one_camera(tmp_path):
    """Depth in whole centimetres: exact where a wall faces the camera, else a degree off, on average."""
    camera = VKITTI2["normals"].camera
    options = write_vkitti2(tmp_path) | dict(tasks=("normals",))
    frames = tmp_path / "Scene18/clone/frames"
    for frame in range(2):
        save(frames / f"rgb/Camera_0/rgb_{frame:05}.jpg", np.zeros((375, 1242, 3), np.uint8))
    v, u = np.indices((375, 1242))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)
    normal = np.array([-0.5, -0.3, -0.8]) / np.linalg.norm([0.5, 0.3, 0.8])
    facing = rays @ normal
    metres = np.where(facing < -0.2, 6 / np.maximum(-facing, 0.2), 0)
    for frame, depth in enumerate([np.full(u.shape, 8.0), metres]):
        codes = np.rint(100 * np.where(depth < 30, depth, 0)).astype(np.uint16)
        save(frames / f"depth/Camera_0/depth_{frame:05}.png", codes)
    source = opened(options, "val")
    assert degrees(source.read(0)["normals"], np.array([0, 0, -1.0])) < 1e-3
    assert angles(source.read(1)["normals"], normal).mean() < 1
