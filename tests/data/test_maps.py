"""A number a pixel in every kind of file: the same numbers come back; what is damaged or ambiguous is one line."""

import io
import pathlib
import re
import sys
import threading

import h5py
import numpy as np
import OpenEXR
import pytest
import scipy.io
from PIL import Image

from mtl_tf.errors import UsageError
from mtl_tf.storage.files import InMemory
from mtl_tf.storage.maps import read_map

METRES = np.array([[0.5, 2.0, 3.25], [1e3, np.nan, -1.0]], np.float32)
WHOLE = np.array([[0, 700, 65535], [1, 2, 3]], np.uint16)


def write_pfm(path, numbers, order="<", scale=1.0):
    """Rows from the bottom up; the sign of the scale says the order of the bytes."""
    height, width = numbers.shape
    head = f"Pf\n{width} {height}\n{-scale if order == '<' else scale}\n".encode()
    path.write_bytes(head + numbers[::-1].astype(f"{order}f4").tobytes())


def write_exr(path, **channels):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def write_h5(path, matlab=False, **arrays):
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        for name, array in arrays.items():
            file[name] = array.T if matlab else array
    if matlab:
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, by hand".ljust(124) + b"\x00\x02IM")


WRITERS = {
    "x.npy": lambda path, numbers: np.save(path, numbers),
    "deep.npy": lambda path, numbers: np.save(path, numbers[..., None]),
    "first.npy": lambda path, numbers: np.save(path, numbers[None]),
    "x.npz": lambda path, numbers: np.savez_compressed(path, any=numbers),
    "x.mat": lambda path, numbers: scipy.io.savemat(path, {"depth": numbers, "note": "text"}),
    "new.mat": lambda path, numbers: write_h5(path, matlab=True, depth=numbers),
    "x.h5": lambda path, numbers: write_h5(path, depth=numbers),
    "x.HDF5": lambda path, numbers: write_h5(path, **{"one/dataset": numbers}),
    "x.tif": lambda path, numbers: Image.fromarray(numbers).save(path),
    "packed.tiff": lambda path, numbers: Image.fromarray(numbers).save(path, compression="tiff_adobe_deflate"),
}
FLOATING = {
    "x.pfm": write_pfm,
    "big.pfm": lambda path, numbers: write_pfm(path, numbers, ">", 0.5),
    "x.exr": lambda path, numbers: write_exr(path, Z=numbers, A=numbers + 1),
    "other.exr": lambda path, numbers: write_exr(path, **{"View.V": numbers}),
}


@pytest.mark.parametrize("name", [*WRITERS, *FLOATING])
def test_what_was_written_is_read(tmp_path, name):
    for numbers in (METRES, WHOLE)[: 2 if name in WRITERS else 1]:
        (WRITERS | FLOATING)[name](tmp_path / name, numbers)
        found = read_map(str(tmp_path / name), "depth")
        np.testing.assert_array_equal(found, numbers)
        assert found.dtype.newbyteorder("=") == numbers.dtype
    content = (tmp_path / name).read_bytes()
    np.testing.assert_array_equal(read_map(InMemory(f"shard 1, {name}", content), "depth"), numbers)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", [*WRITERS, *FLOATING])
def test_a_damaged_file_is_one_line(tmp_path, capfd, name):
    path = tmp_path / name
    random = np.random.default_rng(0).random((40, 50), np.float32)
    (WRITERS | FLOATING)[name](path, random)
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[: len(whole) // 2], whole[:-5], b"<html>not found</html>" * 9):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=re.escape(str(path))) as caught:
            read_map(str(path), "depth")
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UsageError, match=r": no such file"):
        read_map(str(path), "depth")
    assert "tif" in name or capfd.readouterr() == ("", "")  # libtiff says a line of its own


@pytest.mark.parametrize("ending", ["npz", "mat", "h5"])
def test_of_several_arrays_one_is_named(tmp_path, ending):
    path = str(tmp_path / f"x.{ending}")
    arrays = {"depth": METRES, "rgb": np.zeros((2, 3, 3)), "conf": METRES > 1, "names": np.array(["a"])}
    if ending == "npz":
        np.savez(path, **arrays)
    elif ending == "mat":
        scipy.io.savemat(path, arrays)
    else:
        write_h5(pathlib.Path(path), **{name: array for name, array in arrays.items() if name != "names"})
    np.testing.assert_array_equal(read_map(path, "depth", "depth"), METRES)
    with pytest.raises(UsageError, match=r"expected depth in one array, got .*depth float32 .*state which by its"):
        read_map(path, "depth")
    with pytest.raises(UsageError, match=r"expected depth, numbers \(H, W\), got .*rgb float64 \(2, 3, 3\)"):
        read_map(path, "depth", "rgb")
    with pytest.raises(UsageError, match=r"expected depth as array 'Depth', got .*depth float32"):
        read_map(path, "depth", "Depth")


def test_hdf5_does_not_lead_elsewhere(tmp_path):
    write_h5(tmp_path / "other.h5", depth=METRES)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["depth"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "depth")
        file.create_dataset("raw", (2, 3), "f4", external=[(str(tmp_path / "other.h5"), 0, 24)])
    for key in ("", "depth", "raw"):
        with pytest.raises(UsageError, match=r"x.h5: expected depth.*, got no numbers"):
            read_map(str(tmp_path / "x.h5"), "depth", key)


def test_pictures_of_another_kind(tmp_path):
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "x.tif")
    with pytest.raises(UsageError, match=r"x.tif: expected depth, got a RGB picture"):
        read_map(str(tmp_path / "x.tif"), "depth")
    write_exr(tmp_path / "x.exr", R=METRES, G=METRES, B=METRES)
    with pytest.raises(UsageError, match=r"x.exr: expected a floating-point channel Z, found B, G, R"):
        read_map(str(tmp_path / "x.exr"), "depth")
    np.testing.assert_array_equal(read_map(str(tmp_path / "x.exr"), "depth", "G"), METRES)


def test_reading_exr_keeps_what_others_print(tmp_path, monkeypatch):
    write_exr(tmp_path / "x.exr", Z=np.random.default_rng(0).random((400, 500), np.float32))
    whole = (tmp_path / "x.exr").read_bytes()
    (tmp_path / "half.exr").write_bytes(whole[: len(whole) // 2])
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            read_map(str(tmp_path / "x.exr"), "depth")
            with pytest.raises(UsageError):
                read_map(str(tmp_path / "half.exr"), "depth")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(200):
        print(number)
        stop.wait(0.0005)
    stop.set()
    for thread in threads:
        thread.join()
    assert sys.stdout is printed
    assert printed.getvalue().split() == [str(number) for number in range(200)]
