"""Arrays in NumPy and MATLAB files: pictures, maps of a number for every pixel, and what is none of them."""

import numpy as np
import pytest
import scipy.io

from mtl_tf.errors import UsageError
from mtl_tf.storage.arrays import read_map
from mtl_tf.storage.pixels import read_part, read_rgb, size_of
from mtl_tf.storage.windows import Window
from tests.data.official import picture, save_array, structs


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


# === Maps ===

MAP = np.arange(6, dtype=np.int16).reshape(2, 3) - 1


def written(path, **arrays):
    """A file of some arrays, of a kind by its ending; their names are left out of a .npy file."""
    if path.suffix == ".npy":
        np.save(path, *arrays.values())
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        scipy.io.savemat(path, arrays, do_compression=True)
    return str(path)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize("stored", [MAP, MAP.astype(float), MAP[..., None], MAP[None], MAP > 1], ids=str)
def test_a_map_in_every_kind_of_file(tmp_path, ending, stored):
    path = written(tmp_path / f"m{ending}", gt=stored)
    found = read_map(path, "ids")
    np.testing.assert_array_equal(found, stored.reshape(2, 3))


@pytest.mark.parametrize("ending", [".npz", ".mat"])
def test_one_of_several_maps(tmp_path, ending):
    path = written(tmp_path / f"m{ending}", gt=MAP, depth=MAP / 4, classes=np.array([[1, 2, 3]]))
    np.testing.assert_array_equal(read_map(path, "ids", "gt"), MAP)
    with pytest.raises(
        UsageError, match=r"expected ids as array 'labels', got gt int16 \(2, 3\), depth float64 \(2, 3\)"
    ):
        read_map(path, "ids", "labels")
    with pytest.raises(UsageError, match=r"expected ids in one array, got gt int16 \(2, 3\), .*; state which"):
        read_map(path, "ids")
    path = written(tmp_path / f"n{ending}", gt=MAP, classes=np.array([[1, 2, 3]]), name="town")
    np.testing.assert_array_equal(read_map(path, "ids"), MAP)  # the only one with rows and columns


def test_a_map_in_a_struct_of_matlab(tmp_path):
    """As SBD has it: GTcls.Segmentation beside a list of the classes in it."""
    inside = structs([{"Segmentation": MAP, "CategoriesPresent": np.array([[1], [3]]), "Boundaries": "none"}])
    path = written(tmp_path / "m.mat", GTcls=inside)
    for key in ("", "GTcls.Segmentation"):
        np.testing.assert_array_equal(read_map(path, "ids", key), MAP)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat"])
def test_what_is_no_map(tmp_path, ending):
    path = tmp_path / f"m{ending}"
    for wrong in (np.zeros((2, 3, 3)), np.zeros((0, 3)), *[np.zeros((2, 3), complex)] * (ending != ".mat")):
        with pytest.raises(UsageError, match=r"expected ids, numbers \(H, W\), got "):
            read_map(written(path, gt=wrong), "ids")
    whole = tmp_path.joinpath(path.name).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=rf"m{ending}: .*(NumPy|MATLAB)[^\n]*replace it"):
            read_map(str(path), "ids")
