"""Depth from stereo disparity: z = baseline * focal / disparity (a rectified pair), and the cameras that it needs."""

from collections.abc import Callable, Mapping

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.storage import codecs
from mtl_tf.storage.pixels import read_uint16
from mtl_tf.storage.texts import read_text
from mtl_tf.surfaces import Intrinsics
from mtl_tf.tasks.reading.depth_files import within_range

CITYSCAPES_SIZE = (1024, 2048)  # height and width of its pictures, pixels


def read_codes(path: str) -> np.ndarray:
    """The codes of a 16-bit disparity PNG, float64 (H, W)."""
    return read_uint16(path, "disparity in a 16-bit grey PNG").astype(np.float64)


def depth_reader(
    disparities: Mapping[str, str],
    cameras: Mapping[str, str],
    read_camera: Callable[[str], float],
    decode: Callable[[np.ndarray], np.ndarray],
    archive: str,
) -> Callable:
    """A reader of metres from disparity files, as `samples.FileSource` takes it.

    Args:
        disparities: id -> disparity file.
        cameras: id -> camera file.
        read_camera: camera file -> baseline times focal length, metres * pixels.
        decode: 16-bit codes -> disparity, pixels; not positive = invalid.
        archive: that the camera files come from, for the message where one lacks.
    """
    camera_of = {path: cameras.get(name) for name, path in disparities.items()}

    def read(path, labels):
        if camera_of[path] is None:
            raise UsageError(f"{path}: its camera file, by which it becomes metres, is missing; unpack {archive} again")
        return within_range(codecs.depth_of_disparity(decode(read_codes(path)), read_camera(camera_of[path])), labels)

    return read


def camera_of(cameras: Mapping[str, str], read: Callable[[str], Intrinsics], name: str) -> Intrinsics | None:
    """The camera of a picture, as `samples.FileSource` takes it; None where it has no camera file.

    Args:
        cameras: id -> camera file.
        read: camera file -> camera.
        name: id of the picture.
    """
    return read(cameras[name]) if name in cameras else None


def cityscapes_camera(path: str) -> float:
    """Baseline times focal length, metres * pixels, of a camera file of Cityscapes (JSON).

    Raises:
        UsageError: the file cannot be read, or a number is not there or not positive.
    """
    baseline, focal = _cityscapes_numbers(path, "extrinsic.baseline", "intrinsic.fx")
    return baseline * focal


def cityscapes_intrinsics(path: str) -> Intrinsics:
    """The left camera of a camera file of Cityscapes, for pictures of 1024x2048. Raises as `cityscapes_camera`."""
    names = ("fx", "fy", "u0", "v0")
    return Intrinsics(*_cityscapes_numbers(path, *(f"intrinsic.{name}" for name in names)), CITYSCAPES_SIZE)


def _cityscapes_numbers(path, *names):
    """Positive numbers of a camera file by SECTION.KEY."""
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({' '.join(str(error).split())}); replace it") from None
    for name in names:
        section, _, key = name.partition(".")
        part = content.get(section) if isinstance(content, dict) else None
        yield _positive(part.get(key) if isinstance(part, dict) else None, path, name)


def kitti_camera(path: str) -> float:
    """Baseline times focal length, metres * pixels, of a calib_cam_to_cam file of KITTI.

    A rectified projection matrix has fx * (shift of the camera, metres) in the last column of its first row, so that
    the difference between the left (02) and the right (03) colour camera is the product (Geiger et al., "Vision meets
    Robotics: The KITTI Dataset", IJRR 2013).

    Raises:
        UsageError: the file cannot be read, a matrix is not in it, or the product is not positive.
    """
    left, right = _kitti_rows(path, P_rect_02=12, P_rect_03=12)
    return _positive(left[3] - right[3], path, "P_rect_02[3] - P_rect_03[3]")


def kitti_intrinsics(path: str) -> Intrinsics:
    """The left colour camera of a calib_cam_to_cam file of KITTI, for the rectified picture.

    Raises:
        UsageError: the file cannot be read, or a number is not there or not positive.
    """
    projection, size = _kitti_rows(path, P_rect_02=12, S_rect_02=2)
    numbers = (*(projection[place] for place in (0, 5, 2, 6)), size[1], size[0])
    fx, fy, cx, cy, height, width = (_positive(value, path, "a number in P_rect_02 or S_rect_02") for value in numbers)
    return Intrinsics(fx, fy, cx, cy, (height, width))


def _kitti_rows(path, **lengths):
    """The numbers of some lines of a calibration file, which have to be so many."""
    rows = dict(line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    for name, length in lengths.items():
        try:
            found = [float(number) for number in rows[name].split()]
        except (KeyError, ValueError):
            found = []
        if len(found) != length:
            raise UsageError(f"{path}: expected a line {name}: with {length} numbers; replace the file")
        yield found


def _positive(value, path, name):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 1e9:
        raise UsageError(f"{path}: {name} should be a positive number; it is {_shown(value)}; replace the file")
    return float(value)


def _shown(value):
    return "missing" if value is None else repr(value)[:40]
