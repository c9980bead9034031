"""How people store class maps: numbers to renumber, tables of colours, masks, arrays; read, or named in one line."""

import json
import struct
import zlib

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


# === Kinds of pictures ===

CLASSES = np.array([[0, 1, 1, 0]], np.uint8)


def png_of(path, pixels, bits, kind):
    """A PNG that Pillow cannot write: of `bits` a channel, `kind` as its header has it (2 RGB, 4 grey + alpha)."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), bits, kind, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return str(path)


def with_alpha(alpha):
    image = Image.fromarray(CLASSES).convert("LA")
    image.putalpha(Image.fromarray(np.array(alpha, np.uint8)))
    return image


def with_palette():
    image = Image.fromarray(CLASSES, mode="P")
    image.putpalette([*TWO["palette"][0], *TWO["palette"][1]])
    return image


@pytest.mark.parametrize(
    ("picture", "ending", "options"),
    [
        (CLASSES, ".bmp", {}),
        (CLASSES.astype(bool), ".bmp", {}),
        (with_palette(), ".bmp", {}),
        (CLASSES.astype(bool), ".tif", {"compression": "group4"}),
        (CLASSES, ".tiff", {"compression": "tiff_lzw"}),
        (CLASSES.astype(np.uint16), ".tif", {"compression": "tiff_adobe_deflate"}),
        (CLASSES.astype(np.int32), ".tif", {}),
        (with_palette(), ".tif", {}),
        (with_palette(), ".png", {"transparency": 0}),
        (with_alpha([[255] * 4]), ".png", {}),
        (np.repeat(CLASSES[..., None], 3, 2), ".bmp", {}),
        (np.repeat(CLASSES[..., None], 3, 2), ".tif", {}),
    ],
)
def test_numbers_in_every_kind_of_picture(tmp_path, picture, ending, options):
    path = tmp_path / f"m{ending}"
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    assert labels_of(tmp_path / "data").read(str(path)).tolist() == CLASSES.tolist()


def test_colours_of_palettes_whatever_their_order_and_ending(tmp_path):
    labels = labels_of(tmp_path / "data", encoding="colour")
    for ending in (".png", ".bmp", ".tif"):
        for image, name in ((with_palette(), "a"), (with_palette().remap_palette([1, 0]), "b")):
            image.save(tmp_path / f"{name}{ending}")
            assert labels.read(str(tmp_path / f"{name}{ending}")).tolist() == CLASSES.tolist()


@pytest.mark.parametrize(
    ("bits", "kind", "channels", "encoding", "told"),
    [
        (16, 2, 3, "index", "got a 16-bit RGB picture"),
        (16, 2, 3, "colour", "expected a colour per pixel: an 8-bit RGB or palette picture, got a 16-bit RGB picture"),
        (16, 6, 4, "index", "got a 16-bit RGBA picture"),
        (16, 4, 2, "index", "got a 16-bit"),
    ],
)
def test_channels_of_16_bits_are_not_cut(tmp_path, bits, kind, channels, encoding, told):
    """Pillow would read ids 0 and 1 in them as 0."""
    pixels = np.repeat(CLASSES[..., None], channels, 2)
    path = png_of(tmp_path / "m.png", pixels, bits, kind)
    assert told in refusal(labels_of(tmp_path / "data", encoding=encoding), path)


def test_pictures_that_are_refused_by_name(tmp_path):
    labels = labels_of(tmp_path / "data")
    with_alpha([[255, 0, 0, 255]]).save(tmp_path / "m.png")
    assert refusal(labels, str(tmp_path / "m.png")).startswith("some of its pixels are transparent")
    for ending in (".png", ".bmp", ".tif"):
        path = saved(tmp_path / f"n{ending}", np.zeros((40, 40), np.uint8))
        whole = (tmp_path / f"n{ending}").read_bytes()
        for content in (b"", whole[: len(whole) // 2]):
            (tmp_path / f"n{ending}").write_bytes(content)
            assert "replace it" in refusal(labels, path)
