"""How people store class maps: numbers to renumber, tables of colours, masks, arrays; read, or named in one line."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.data import descriptors
from mtl_tf.errors import UsageError

TWO = {"classes": ["road", "car"], "palette": [[128, 64, 128], [0, 0, 142]], "ignore": 255}


def labels_of(root, **changes):
    """What a dataset.json with these changes of its section says of class maps."""
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({"semseg": TWO | changes}), encoding="utf-8")
    return descriptors.read(root)["semseg"]


def saved(path, pixels, **options):
    """The path of a picture of these pixels."""
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return str(path)


def refusal(labels, path):
    """The line that a file is refused with, which begins with its name."""
    with pytest.raises(UsageError) as caught:
        labels.read(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ") and "\n" not in told
    return told.removeprefix(f"{path}: ")


# === Numbers that mean classes ===


@pytest.mark.parametrize(
    ("values", "stored", "read"),
    [
        (
            {"0": "ignore", "1": "road", "7": "road", "2": "car", "other": "ignore"},
            [0, 1, 7, 2, 99],
            [255, 0, 0, 1, 255],
        ),
        ({"1": "road", "2": "car", "0": "ignore"}, [0, 1, 2], [255, 0, 1]),
        ({"0": "road", "255": "car"}, [0, 255], [0, 1]),
        ({"1": "car", "0": "road"}, [0, 1], [0, 1]),
        ({"3": "car", "other": "road"}, [0, 3, 255], [0, 1, 0]),
    ],
)
def test_numbers_are_renumbered_and_merged(tmp_path, values, stored, read):
    labels = labels_of(tmp_path / "data", values=values)
    assert labels.read(saved(tmp_path / "m.png", np.array([stored], np.uint8))).tolist() == [read]


def test_numbers_that_the_table_lacks(tmp_path):
    labels = labels_of(tmp_path / "data", values={"1": "road", "2": "car"})
    path = saved(tmp_path / "m.png", np.array([[1, 2, 1], [2, 7, 7], [1, 9, 2]], np.uint8))
    expected = 'label value 7 or 9 (3 pixels, first at row 1, column 1) is not in "values" (1, 2); add it there'
    assert refusal(labels, path).startswith(expected)
