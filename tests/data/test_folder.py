"""The folder reader: values, order, partial labels, and the error of every damaged or misplaced file."""

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data.samples import natural_order
from mtl_tf.data.sets.folder import open_split
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.errors import UsageError
from tests.helpers import changed

TASKS = ("semseg", "depth")


@pytest.fixture
def root(tmp_path):
    """Twelve samples of 6x8 pixels in the Miniscapes encoding; sample i is class i, code 100 + i."""
    split = tmp_path / "set" / "train"
    for modality in ("rgb", "semseg", "depth"):
        (split / modality).mkdir(parents=True)
    for index in range(12):
        Image.fromarray(np.full((6, 8, 3), 10 * index, np.uint8)).save(split / "rgb" / f"{index}.png")
        Image.fromarray(np.full((6, 8), index, np.uint8)).save(split / "semseg" / f"{index}.png")
        Image.fromarray(np.full((6, 8), 100 + index, np.uint8)).save(split / "depth" / f"{index}.png")
    return tmp_path / "set"


def open_folder(root, split="train", descriptor=MINISCAPES, tasks=TASKS, limit=0):
    options = dict(data__name="folder", data__root=str(root), data__limit=limit, tasks=tasks)
    return open_split(configuration.replace(configuration.Config(), **options), split, descriptor)


def open_train(root, descriptor=MINISCAPES, tasks=TASKS, **options):
    return open_folder(root, "train", descriptor, tasks, **options)


def message_of(source, index):
    with pytest.raises(UsageError) as caught:
        source.read(index)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_natural_order():
    names = ["10", "9", "1", "a10", "a9", "02", "b"]
    assert sorted(names, key=natural_order) == ["1", "02", "9", "10", "a9", "a10", "b"]


def test_samples_stand_in_numeric_order_with_their_labels(root):
    source = open_train(root)
    assert len(source) == 12
    assert source.ids == [str(index) for index in range(12)]
    sample = source.read(10)
    assert {name: (value.dtype, value.shape) for name, value in sample.items()} == {
        "image": (np.uint8, (6, 8, 3)),
        "semseg": (np.int32, (6, 8)),
        "depth": (np.float32, (6, 8)),
    }
    assert (sample["image"] == 100).all() and (sample["semseg"] == 10).all()
    inverse = 1 / 300 + (110 - 1) / 254 * (1 / 4 - 1 / 300)
    np.testing.assert_allclose(sample["depth"], 1 / inverse, rtol=1e-6)
    assert source.path(10).endswith("train/rgb/10.png")


def test_limit_and_tasks(root):
    source = open_train(root, tasks=("depth",), limit=3)
    assert source.ids == ["0", "1", "2"]
    assert set(source.read(0)) == {"image", "depth"}


def test_a_palette_label_is_its_index_not_its_colour(root):
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 19
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette([channel for colour in MINISCAPES["semseg"].palette for channel in colour])
    image.save(root / "train/semseg/3.png")
    assert Image.open(root / "train/semseg/3.png").mode == "P"
    np.testing.assert_array_equal(open_train(root).read(3)["semseg"], labels)


def test_sixteen_bit_depth_and_its_range(root):
    millimetres = np.array([[0, 99, 100, 1500], [9999, 10000, 10001, 65535]], np.uint16)
    Image.fromarray(millimetres).save(root / "train/depth/0.png")
    Image.new("RGB", (4, 2)).save(root / "train/rgb/0.png")
    depth = open_train(root, NYUV2, ("depth",)).read(0)["depth"]
    np.testing.assert_array_equal(depth, np.float32([[0, 0, 0.1, 1.5], [9.999, 10, 0, 0]]))


def test_partial_labels(root):
    (root / "train/semseg/1.png").unlink()
    (root / "train/depth/2.png").unlink()
    source = open_train(root)
    assert source.labelled == {"semseg": 11, "depth": 11}
    assert (source.read(1)["semseg"] == 255).all() and (source.read(1)["depth"] > 0).all()
    assert (source.read(2)["depth"] == 0).all() and (source.read(2)["semseg"] == 2).all()


def test_a_split_without_labels_can_be_read(root):
    (root / "train/semseg").rename(root / "elsewhere")
    source = open_train(root)
    assert source.labelled["semseg"] == 0
    assert (source.read(0)["semseg"] == 255).all()


@pytest.mark.parametrize(("mode", "fits"), [("L", True), ("P", True), ("RGBA", True), ("CMYK", False), ("I;16", False)])
def test_image_modes(root, mode, fits):
    (root / "train/rgb/0.png").unlink()
    name = "0.jpg" if mode == "CMYK" else "0.png"
    Image.new(mode, (8, 6)).save(root / "train/rgb" / name)
    source = open_train(root)
    if fits:
        assert source.read(0)["image"].shape == (6, 8, 3)
    else:
        assert f"{name}: expected an 8-bit RGB picture, got a" in message_of(source, 0)


@pytest.mark.parametrize("modality", ["rgb", "semseg", "depth"])
def test_a_file_truncated_anywhere_is_named(root, modality):
    path = root / "train" / modality / "4.png"
    noise = np.random.default_rng(0).integers(0, 19, (6, 8, 3), np.uint8)
    Image.fromarray(noise if modality == "rgb" else noise[..., 0]).save(path)
    whole = path.read_bytes()
    source = open_train(root)
    expected = source.read(4)
    pixels_end = whole.index(b"IEND") - 16  # behind them come check sums and the lengths of chunks
    for length in range(pixels_end):
        path.write_bytes(whole[:length])
        assert str(path) in message_of(source, 4), length
    for length in range(pixels_end, len(whole)):
        path.write_bytes(whole[:length])
        try:
            found = source.read(4)
        except UsageError:
            continue
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name])


def test_a_truncated_jpeg_is_named(root):
    path = root / "train/rgb/4.jpg"
    (root / "train/rgb/4.png").unlink()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    for modality in TASKS:
        Image.new("L", (64, 64), 1).save(root / "train" / modality / "4.png")
    source = open_train(root)
    source.read(4)
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path}: cannot be decoded" in message_of(source, 4)


def test_a_file_that_vanished_is_named(root):
    source = open_train(root)
    (root / "train/rgb/5.png").unlink()
    assert message_of(source, 5) == f"{root}/train/rgb/5.png: no such file"


def test_sizes_that_differ_within_a_sample(root):
    Image.new("L", (9, 6)).save(root / "train/depth/6.png")
    message = message_of(open_train(root), 6)
    assert "depth/6.png: 9x6 pixels, but its image 6.png is 8x6" in message


def test_label_values_out_of_range(root):
    labels = np.full((6, 8), 3, np.uint8)
    labels[0, :2], labels[1, 0], labels[2] = 19, 200, 255
    Image.fromarray(labels).save(root / "train/semseg/7.png")
    message = message_of(open_train(root), 7)
    assert (
        "7.png: label value 19 or 200 (3 pixels, first at row 0, column 0) is neither a class (0..18) nor ignore (255)"
        in message
    )
    tolerant = changed(MINISCAPES, ignore=200)
    assert "label value 19 or 255 (10 pixels, " in message_of(open_train(root, tolerant), 7)


@pytest.mark.parametrize("modality", ["semseg", "depth"])
def test_labels_in_colour_are_refused(root, modality):
    Image.new("RGB", (8, 6), (128, 64, 128)).save(root / "train" / modality / "8.png")
    assert "8.png: expected" in message_of(open_train(root), 8)
    assert message_of(open_train(root), 8).endswith("got a RGB picture")


def test_labels_of_four_bits_are_not_stretched(root):
    path = root / "train/semseg/8.png"
    Image.new("L", (8, 6), 1).save(path, bits=4)
    if np.asarray(Image.open(path)).max() == 1:  # this Pillow writes such files only as palettes
        path.write_bytes(four_bit_grey(8, 6, 1))
    assert np.asarray(Image.open(path)).max() == 17
    assert np.unique(open_train(root).read(8)["semseg"]).tolist() == [1]


def four_bit_grey(width, height, value):
    """A PNG with 4 bits of grey a pixel."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + bytes([value * 17]) * (width // 2)
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    pixels = zlib.compress(row * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_eight_bit_depth_where_sixteen_are_expected(root):
    message = message_of(open_train(root, NYUV2, ("depth",)), 0)
    assert "expected depth in steps of 0.001 m in a 16-bit grey PNG, got a 8-bit grey picture" in message


# === Opening ===


def opening_error(root, split="train", descriptor=MINISCAPES):
    with pytest.raises(UsageError) as caught:
        open_folder(root, split, descriptor)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_root(tmp_path):
    assert "no such folder; expected <root>/<split>/rgb" in opening_error(tmp_path / "none")
    assert "needs --data.root" in opening_error("")
    (tmp_path / "file").write_text("")
    assert "is a file" in opening_error(tmp_path / "file")
    assert "it has file" in opening_error(tmp_path)


def test_a_missing_split_lists_those_that_are_there(root):
    (root / "val/rgb").mkdir(parents=True)
    assert "has no split 'test'; it has train, val" in opening_error(root, "test")
    assert "no images (.jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff, .ppm)" in opening_error(root, "val")


def test_a_root_one_level_off(root):
    assert f"did you mean --data.root={root}?" in opening_error(root.parent)
    assert f"did you mean --data.root={root}?" in opening_error(root / "train")


def test_labels_under_other_names(root):
    for path in sorted((root / "train/semseg").iterdir()):
        path.rename(path.with_name(f"label_{path.name}"))
    assert "none of its files belongs to an image: expected 0.png for rgb/0.png, found" in opening_error(root)


def test_two_files_with_one_id(root):
    Image.new("RGB", (8, 6)).save(root / "train/rgb/3.jpg")
    assert "3.jpg and 3.png have one id, 3;" in opening_error(root)


def test_a_task_that_the_data_set_does_not_have(root):
    assert "has no depth labels" in opening_error(root, descriptor=changed(MINISCAPES, depth_encoding=""))


def test_reading_writes_nothing(root):
    before = sorted(root.rglob("*"))
    source = open_train(root)
    for index in range(len(source)):
        source.read(index)
    assert sorted(root.rglob("*")) == before


def test_one_size(root):
    assert open_train(root).one_size()
    Image.new("RGB", (9, 6)).save(root / "train/rgb/11.png")
    assert not open_train(root).one_size()
    assert open_train(root, limit=11).one_size()
