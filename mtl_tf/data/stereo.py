"""Depth from stereo disparity: z = baseline * focal / disparity (a rectified pair), and the cameras that it needs."""

from collections.abc import Callable, Mapping

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.storage.pixels import read_uint16
from mtl_tf.storage.texts import read_text
from mtl_tf.tasks.reading.depth_files import within_range


def metres(disparity: np.ndarray, baseline_times_focal: float) -> np.ndarray:
    """Depth along the optical axis.

    Args:
        disparity: pixels, any shape; 0 and less = invalid.
        baseline_times_focal: distance of the cameras, metres, times focal length, pixels.

    Returns:
        float32 metres, the same shape; 0 = invalid.
    """
    valid = disparity > 0
    return np.where(valid, baseline_times_focal / np.where(valid, disparity, 1.0), 0.0).astype(np.float32)


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
        return within_range(metres(decode(read_codes(path)), read_camera(camera_of[path])), labels)

    return read


def cityscapes_camera(path: str) -> float:
    """Baseline times focal length, metres * pixels, of a camera file of Cityscapes (JSON).

    Raises:
        UsageError: the file cannot be read, or a number is not there or not positive.
    """
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({' '.join(str(error).split())}); replace it") from None
    product = 1.0
    for section, key in (("extrinsic", "baseline"), ("intrinsic", "fx")):
        part = content.get(section) if isinstance(content, dict) else None
        value = part.get(key) if isinstance(part, dict) else None
        product *= _positive(value, path, f"{section}.{key}")
    return product


def kitti_camera(path: str) -> float:
    """Baseline times focal length, metres * pixels, of a calib_cam_to_cam file of KITTI.

    A rectified projection matrix has fx * (shift of the camera, metres) in the last column of its first row, so that
    the difference between the left (02) and the right (03) colour camera is the product (Geiger et al., "Vision meets
    Robotics: The KITTI Dataset", IJRR 2013).

    Raises:
        UsageError: the file cannot be read, a matrix is not in it, or the product is not positive.
    """
    rows = dict(line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    shifts = []
    for name in ("P_rect_02", "P_rect_03"):
        try:
            matrix = [float(number) for number in rows[name].split()]
        except (KeyError, ValueError):
            matrix = []
        if len(matrix) != 12:
            raise UsageError(f"{path}: expected a line {name}: with 12 numbers; replace the file")
        shifts.append(matrix[3])
    return _positive(shifts[0] - shifts[1], path, "P_rect_02[3] - P_rect_03[3]")


def _positive(value, path, name):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 1e9:
        raise UsageError(f"{path}: {name} should be a positive number; it is {_shown(value)}; replace the file")
    return float(value)


def _shown(value):
    return "missing" if value is None else repr(value)[:40]
