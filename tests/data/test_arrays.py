"""Pictures in NumPy files: their range and order of channels, windows, sizes by the header, and what is none."""

import numpy as np
import pytest

from mtl_tf.errors import UsageError
from mtl_tf.storage.pixels import read_part, read_rgb, size_of
from mtl_tf.storage.windows import Window
from tests.data.official import picture, save_array


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1 / 255, np.float64), (1 / 255, np.float32), (1, np.float32), (1, np.uint8), (1, np.int64)],
)
def test_a_picture_as_numbers(tmp_path, scale, dtype, first):
    colours = picture(3)
    colours[0, 0] = 0, 128, 255
    stored = (colours * scale).astype(dtype)
    path = str(save_array(tmp_path / "x.npy", stored.transpose(2, 0, 1) if first else stored))
    np.testing.assert_array_equal(read_rgb(path), colours)
    assert size_of(path) == (4, 6)
    part, where = read_part(path, lambda size: Window(1, -1, 2, 3, True))
    np.testing.assert_array_equal(part, np.pad(colours[1:3, :2], ((0, 0), (1, 0), (0, 0)))[:, ::-1])
    assert where.size == (4, 6)


def test_what_is_no_picture(tmp_path):
    path = tmp_path / "x.npy"
    for wrong, told in (
        (np.zeros((4, 6), np.float32), "expected a picture, numbers (H, W, 3) as numpy.save writes them, got float32"),
        (np.zeros((4, 6, 4), np.float32), "got float32 (4, 6, 4)"),
        (np.zeros((0, 6, 3), np.float32), "got float32 (0, 6, 3)"),
        (np.zeros((4, 6, 3), complex), "got complex128"),
        (np.full((4, 6, 3), 1.2), "expected colours 0 to 1 or 0 to 255, got 1.2 to 1.2"),
        (np.full((4, 6, 3), -1.0), "got -1 to -1"),
        (np.full((4, 6, 3), 256), "got 256 to 256"),
        (np.full((4, 6, 3), np.nan), "got nan to nan"),
        (np.full((4, 6, 3), np.inf), "got inf to inf"),
    ):
        save_array(path, wrong)
        with pytest.raises(UsageError) as caught:
            read_rgb(str(path))
        assert str(caught.value).startswith(f"{path}: expected ") and told in str(caught.value)
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x05\x00{[(((", path.read_bytes()[:60]):
        path.write_bytes(content)
        assert size_of(str(path)) is None
        with pytest.raises(UsageError, match="no array of NumPy"):
            read_rgb(str(path))
