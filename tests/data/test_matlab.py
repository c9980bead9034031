"""MATLAB files: the numbers that SciPy writes, and an error for everything else."""

import io
import struct

import numpy as np
import pytest
import scipy.io

from mtl_tf.errors import UsageError
from mtl_tf.storage.matlab import read_map, read_numbers, read_variables
from tests.data.official import structs
from tests.mutations import mutate, seconds_at_most

VARIABLES = {
    "trainNdxs": np.arange(1, 700, dtype=np.uint16)[:, None],
    "testNdxs": np.array([[3.0], [70000.0]]),
    "small": np.array([[7]], np.uint8),
    "half": np.array([[0.5, -2.25]], np.float32),
    "negative": np.array([[-(2**40), 5]], np.int64),
    "map": np.arange(6, dtype=np.uint16).reshape(2, 3),
    "deep": np.arange(24.0).reshape(2, 3, 4),
    "logical": np.array([[True, False]]),
    "text": "no numbers",
    "cell": np.array(["a", "bc"], object),
    "struct": {"field": np.eye(2)},
}


def written(compressed, **variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables or VARIABLES, do_compression=compressed)
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_as_scipy_writes_them(tmp_path, compressed):
    path = tmp_path / "m.mat"
    path.write_bytes(written(compressed))
    found = read_numbers(str(path))
    expected = scipy.io.loadmat(path)
    assert set(found) == set(VARIABLES) - {"text", "cell", "struct"}
    for name, numbers in found.items():
        assert numbers.dtype == np.float64
        np.testing.assert_array_equal(numbers, expected[name], err_msg=name)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_map_has_its_rows_and_columns(tmp_path, compressed):
    path = tmp_path / "m.mat"
    depth = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
    path.write_bytes(written(compressed, depth=depth, other=np.zeros((2, 3, 2)), text="x"))
    np.testing.assert_array_equal(read_map(str(path), "depth"), depth)
    for name in ("labels", "other", "text"):
        with pytest.raises(UsageError, match=rf"named '{name}', got depth \[2, 3\], other \[2, 3, 2\]"):
            read_map(str(path), name)
    path.write_bytes(written(compressed, depth=np.zeros((0, 3))))
    with pytest.raises(UsageError, match=r"got depth \[0, 3\]; replace it"):
        read_map(str(path), "depth")


def test_big_endian_by_hand(tmp_path):
    def element(kind, content):
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix_of(*shape):
        return element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(f">{len(shape)}i", *shape)) + named

    # the name in a small element: length and type share four bytes
    named = struct.pack(">HH", 1, 1) + b"x\0\0\0" + element(9, struct.pack(">dd", 1.5, 795))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    path = tmp_path / "m.mat"
    for shape, expected in {(1, 2): [[1.5, 795.0]], (2, 1): [[1.5], [795.0]]}.items():
        path.write_bytes(header + element(14, matrix_of(*shape)))
        assert {name: values.tolist() for name, values in read_numbers(str(path)).items()} == {"x": expected}
    for shape in ((2, 2), (2,), (-1, -2), (1 << 30, 1 << 30)):
        path.write_bytes(header + element(14, matrix_of(*shape)))
        with pytest.raises(UsageError, match=r"damaged MATLAB file .(2 numbers for )?a shape of"):
            read_numbers(str(path))


def test_what_is_no_such_file(tmp_path):
    path = tmp_path / "m.mat"
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF"
    for content, expected in ((b"", "not a MATLAB file"), (b"x" * 300, "not a MATLAB file"), (newer, "with -v7")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=expected):
            read_numbers(str(path))
    with pytest.raises(UsageError, match="no such file"):
        read_numbers(str(tmp_path / "none.mat"))
    path.write_bytes(written(False)[:400])
    with pytest.raises(UsageError, match=r"damaged MATLAB file .it ends early"):
        read_numbers(str(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_an_error_or_harmless(tmp_path, compressed):
    random = np.random.default_rng(0)
    whole = written(compressed)
    path = tmp_path / "m.mat"
    for _ in range(300):
        path.write_bytes(mutate(random, whole))
        try:
            with seconds_at_most(20):
                read_numbers(str(path))
                read_map(str(path), "half")
        except UsageError as error:
            assert "\n" not in str(error)


NESTED = {
    "anno": structs(
        [
            {
                "name": "2008_000002",
                "objects": structs(
                    [
                        {"class": "person", "mask": np.arange(6, dtype=np.uint8).reshape(2, 3), "parts": structs([])},
                        {
                            "class": "Stra\N{LATIN SMALL LETTER SHARP S}e",
                            "mask": np.eye(2) > 0,
                            "parts": structs([{"a": 1.5}]),
                        },
                    ]
                ),
            }
        ]
    ),
    "cells": np.array([["ab", np.array([[1, 2]])]], object),
    "map": np.arange(459, dtype=np.uint16).reshape(17, 27),
    "empty": "",
}


@pytest.mark.parametrize("compressed", [False, True])
def test_structs_and_shapes(tmp_path, compressed):
    path = tmp_path / "m.mat"
    path.write_bytes(written(compressed, **NESTED))
    found = read_variables(str(path))
    np.testing.assert_array_equal(found["map"], NESTED["map"])
    assert found["map"].dtype == np.uint16 and found["empty"] == ""
    assert found["cells"][0] == "ab" and found["cells"][1].tolist() == [[1, 2]]
    (annotation,) = found["anno"]
    assert annotation["name"] == "2008_000002"
    first, second = annotation["objects"]
    assert first["class"] == "person" and second["class"] == "Stra\N{LATIN SMALL LETTER SHARP S}e"
    np.testing.assert_array_equal(first["mask"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(second["mask"], np.eye(2))
    assert first["parts"].size == 0
    assert second["parts"][0]["a"].tolist() == [[1.5]]


def test_what_is_nested_without_end(tmp_path):
    inner = 1.0
    for _ in range(10):
        inner = structs([{"a": inner}])
    path = tmp_path / "m.mat"
    path.write_bytes(written(False, deep=inner))
    with pytest.raises(UsageError, match=r"damaged MATLAB file .nested more than 8 deep"):
        read_variables(str(path))


def test_a_struct_that_claims_more_than_there_is(tmp_path):
    content = bytearray(written(False, many=structs([{"a": 1.0}, {"a": 2.0}])))
    shape = struct.pack("<ii", 1, 2)
    assert content.count(shape) == 1
    path = tmp_path / "m.mat"
    for claimed in ((2**30, 2**30), (1, 3), (1, -2)):
        path.write_bytes(content.replace(shape, struct.pack("<ii", *claimed)))
        with pytest.raises(UsageError, match="damaged MATLAB file"):
            read_variables(str(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_structs_are_an_error_or_harmless(tmp_path, compressed):
    random = np.random.default_rng(1)
    whole = written(compressed, **NESTED)
    path, errors = tmp_path / "m.mat", 0
    for _ in range(300):
        path.write_bytes(mutate(random, whole))
        try:
            with seconds_at_most(20):
                read_variables(str(path))
        except UsageError as error:
            assert "\n" not in str(error)
            errors += 1
    assert errors > 100  # the damage is real
