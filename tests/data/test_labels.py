"""Label files of every kind that people have, read as dataset.json says that they are stored."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.mixture import Part
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from mtl_tf.storage import windows
from tests.helpers import changed, described, in_this_process, tool_module, write_dataset

TRUTH = np.repeat([[0, 1, 1, 0, 1, 0]], 4, 0)
COLOURS = np.array([[128, 64, 128], [0, 0, 142]], np.uint8)
INDEX = described("mine", ("road", "car"), tuple(map(tuple, COLOURS.tolist())))
BY_COLOUR = changed(INDEX, semseg_encoding="colour")


def with_values(descriptor=INDEX, **values):
    return changed(descriptor, semseg_values=tuple((key.strip("_"), name) for key, name in values.items()))


def palette_picture(indices, colours):
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    return picture


def saved(tmp_path, picture, name="label.png", **options):
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(tmp_path / name, **options)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("picture", "descriptor"),
    [
        (TRUTH.astype(np.uint8), INDEX),
        (TRUTH.astype(bool), INDEX),
        (TRUTH.astype(np.uint16), INDEX),
        (np.repeat(TRUTH[..., None], 3, 2).astype(np.uint8), INDEX),
        (palette_picture(TRUTH, COLOURS), INDEX),
        (palette_picture(TRUTH, COLOURS), BY_COLOUR),
        (palette_picture(1 - TRUTH, COLOURS[::-1]), BY_COLOUR),
        (COLOURS[TRUTH], BY_COLOUR),
        ((255 * TRUTH).astype(np.uint8), with_values(_0="road", _255="car")),
        ((999 * TRUTH + 1).astype(np.uint16), with_values(_1="road", _1000="car")),
        ((TRUTH + 7).astype(np.uint8), with_values(_7="road", other="car")),
    ],
)
def test_the_same_labels_in_every_kind_of_file(tmp_path, picture, descriptor):
    labels = descriptor["semseg"].read(saved(tmp_path, picture))
    assert labels.dtype == np.int32 and (labels == TRUTH).all()


def test_values_without_a_class(tmp_path):
    path = saved(tmp_path, np.array([[0, 1, 2, 255]], np.uint8))
    assert with_values(_0="ignore", _1="road", _2="car", _255="ignore")["semseg"].read(path).tolist() == [
        [255, 0, 1, 255]
    ]
    path = saved(tmp_path, np.array([[[0, 0, 142], [0, 0, 0], [9, 9, 9]]], np.uint8))
    listed = changed(BY_COLOUR, semseg_values=(("0,0,0", "ignore"), ("other", "road")))
    assert listed["semseg"].read(path).tolist() == [[1, 255, 0]]


@pytest.mark.parametrize(
    ("picture", "descriptor", "expected"),
    [
        (np.array([[0, 9]], np.uint8), with_values(_0="road"), '(1 pixels, first at row 0, column 1) is not in "val'),
        (np.array([[0, 9]], np.uint16), INDEX, "value 9 (1 pixels, first at row 0, column 1) is neither a class (0..1"),
        (np.array([[[1, 2, 3]]], np.uint8), BY_COLOUR, "RGB colour 1,2,3 (1 pixels, first at row 0, column 0) is no"),
        (COLOURS[TRUTH], INDEX, '(classes by colour: "encoding": "colour" in dataset.json), got a RGB picture'),
        (np.full((2, 2), 0.5, np.float32), INDEX, "expected a class id per pixel"),
        (np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), INDEX, "some of its pixels are transparent"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_named(tmp_path, picture, descriptor, expected):
    path = saved(tmp_path, picture, "label.tiff" if picture.dtype == np.float32 else "label.png")
    with pytest.raises(UsageError) as caught:
        descriptor["semseg"].read(path)
    assert expected in str(caught.value) and str(caught.value).startswith(path) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.webp", "lossy WebP"), ("a.tif", "JPEG")])
def test_compressions_that_change_values_are_refused(tmp_path, name, kind):
    options = {"compression": "jpeg"} if kind == "JPEG" and name == "a.tif" else {}
    grey = np.zeros((16, 16), np.uint8)
    path = saved(tmp_path, grey if name != "a.webp" else np.repeat(grey[..., None], 3, 2), name, **options)
    depth = changed(INDEX, depth_encoding="uint8_scaled", depth_scale=0.04)
    for labels in (INDEX["semseg"], BY_COLOUR["semseg"], depth["depth"]):
        with pytest.raises(UsageError, match=rf"compression \({kind}\) changes values; make it again as PNG"):
            labels.read(path)


def test_webp_without_losses_is_read(tmp_path):
    path = saved(tmp_path, COLOURS[TRUTH], "a.webp", lossless=True)
    assert (BY_COLOUR["semseg"].read(path) == TRUTH).all()


def test_linear_8_bit_depth_and_codes_without_measurement(tmp_path):
    linear = described(
        "mine", depth_encoding="uint8_scaled", depth_scale=10 / 255, depth_minimum=0.1, depth_maximum=10.0
    )
    path = saved(tmp_path, np.array([[0, 51, 128, 255]], np.uint8))
    np.testing.assert_allclose(linear["depth"].read(path), [[0, 2, 128 / 25.5, 10]], rtol=1e-6)
    path = saved(tmp_path, np.repeat(np.array([[[51]]], np.uint8), 3, 2))
    assert changed(linear, depth_invalid=(255,))["depth"].read(path) == pytest.approx(2)
    scaled = changed(linear, depth_encoding="uint16_scaled", depth_scale=0.001, depth_maximum=100.0)
    path = saved(tmp_path, np.array([[2000, 65535]], np.uint16))
    np.testing.assert_allclose(scaled["depth"].read(path), [[2, 65.535]])
    np.testing.assert_allclose(changed(scaled, depth_invalid=(65535,))["depth"].read(path), [[2, 0]])


def test_metres_in_numpy_files(tmp_path):
    metres = described("mine", depth_encoding="npy", depth_minimum=0.5, depth_maximum=10.0)
    stored = np.array([[0.25, 0.5, 2.5, 10, 11], [0, -1, np.nan, np.inf, 3]])
    for name, values in (("a.npy", stored), ("b.npy", stored[..., None].astype(np.float32))):
        np.save(tmp_path / name, values)
        read = metres["depth"].read(str(tmp_path / name))
        np.testing.assert_array_equal(read, [[0, 0.5, 2.5, 10, 0], [0, 0, 0, 0, 3]])
        assert read.dtype == np.float32
    part = windows.Part("a.jpg", (2, 5), windows.Window(0, -1, 1, 4))
    np.testing.assert_array_equal(metres["depth"].read(str(tmp_path / "a.npy"), part), [[0, 0, 0.5, 2.5]])
    np.save(tmp_path / "a.npy", stored[0])
    with pytest.raises(UsageError, match=r"a.npy: expected depth as numbers \(H, W\) in a .npy file"):
        metres["depth"].read(str(tmp_path / "a.npy"))


def test_metres_in_numpy_files_of_a_folder(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 2})
    metres = [np.full((32, 48), 2.0 + number) for number in range(2)]
    for number in range(2):
        (root / f"train/depth/{number}.png").unlink()
        np.save(root / f"train/depth/{number}.npy", metres[number])
    descriptors.write(root, changed(descriptors.read(root), depth_encoding="npy", depth_scale=0.001))
    place = f"--data.root={root}"
    for tool, *options in (
        ("check_dataset", "--data.name=folder"),
        ("describe_dataset", "--noask", "--replace"),
        ("dataset_statistics", "--data.name=folder", "--write"),
        ("pack_dataset", "--data.name=folder", f"--output={tmp_path}/packed", "--verify"),
    ):
        done = in_this_process(tool, place, *options)
        assert done.returncode == 0, done.stderr
    assert descriptors.read(root)["depth"].encoding == "npy" and descriptors.read(root)["depth"].mean == 2.5
    for data in (dict(name="folder", root=str(root)), dict(name="packed", root=f"{tmp_path}/packed")):
        source = open_split(configuration.Config(data=configuration.DataConfig(**data)), "train")
        np.testing.assert_array_equal([source.read(number)["depth"] for number in range(2)], metres)


DESCRIBED = {
    "name": "mine",
    "splits": ["train"],
    "semseg": {
        "classes": ["road", "car"],
        "palette": COLOURS.tolist(),
        "ignore": 255,
        "values": {"0": "road", "255": "car", "7": "ignore"},
    },
    "depth": {"encoding": "uint8_scaled", "scale": 0.04, "invalid": [255], "minimum": 0.1, "maximum": 10.0},
}


@pytest.fixture
def root(tmp_path):
    """Masks of 0, 7 and 255, and linear 8-bit depth in which 255 is no measurement."""
    root = tmp_path / "mine"
    pictures = {
        "rgb": np.zeros((4, 6, 3), np.uint8),
        "semseg": np.repeat(np.array([[0, 255, 255, 0, 255, 7]], np.uint8), 4, 0),
        "depth": np.repeat(np.array([[50, 100, 255, 0, 200, 25]], np.uint8), 4, 0),
    }
    for kind, pixels in pictures.items():
        (root / "train" / kind).mkdir(parents=True)
        saved(root / "train" / kind, pixels, "0.png")
    (root / "dataset.json").write_text(json.dumps(DESCRIBED))
    return root


def sample_of(name, root):
    config = configuration.replace(configuration.Config(), data__name=name, data__root=str(root))
    return open_split(config, "train", describe(config.data)).read(0)


def test_packed_both_ways_the_labels_are_the_same(root, tmp_path):
    expected = sample_of("folder", root)
    assert expected["semseg"][0].tolist() == [0, 1, 1, 0, 1, 255]
    np.testing.assert_allclose(expected["depth"][0], [2, 4, 0, 0, 8, 1])
    pack = tool_module("pack_dataset")
    for content in ("files", "pixels"):
        packed = tmp_path / content
        arguments = ["--data.name=folder", f"--data.root={root}", f"--output={packed}", f"--content={content}"]
        assert pack.run_tool(pack.pack, pack.Options, [*arguments, "--verify"]) == 0
        for name, pixels in sample_of("packed", packed).items():
            np.testing.assert_array_equal(pixels, expected[name])


def test_written_again_the_description_is_the_same(root, tmp_path):
    assert json.loads(descriptors.write(tmp_path, descriptors.read(root)).read_text()) == DESCRIBED


def test_a_mix_matches_what_the_values_mean(root):
    other = json.loads(json.dumps(DESCRIBED))
    other["semseg"] |= {"classes": ["car", "road"], "values": {"0": "car", "255": "road", "7": "ignore"}}
    second = root.parent / "second"
    shutil.copytree(root, second)
    (second / "dataset.json").write_text(json.dumps(other))
    own = descriptors.read(second)
    config = configuration.replace(configuration.Config(), data__name="folder", data__root=str(second))
    part = Part(open_split(config, "train", own), own, descriptors.read(root), ("semseg", "depth"))
    assert part.read(0)["semseg"][0].tolist() == [1, 0, 0, 1, 0, 255]


def test_a_run_reads_other_data_as_these_are_stored(root):
    """evaluate --data.root=OTHER: the run says what the classes are, the other data how they are stored."""
    other = root.parent / "other"
    shutil.copytree(root, other)
    plain = json.loads(json.dumps(DESCRIBED))
    del plain["semseg"]["values"]
    plain["depth"] |= {"encoding": "uint16_scaled", "scale": 0.01, "invalid": []}
    (other / "dataset.json").write_text(json.dumps(plain))
    semseg, depth = (np.asarray(Image.open(root / f"train/{kind}/0.png")).astype(int) for kind in ("semseg", "depth"))
    saved(other / "train/semseg", np.select([semseg == 255, semseg == 7], [1, 255], 0).astype(np.uint8), "0.png")
    saved(other / "train/depth", (depth % 255 * 4).astype(np.uint16), "0.png")
    config = configuration.replace(configuration.Config(), data__name="folder", data__root=str(other))
    expected = sample_of("folder", root)
    for name, pixels in open_split(config, "train", descriptors.read(root)).read(0).items():
        np.testing.assert_allclose(pixels, expected[name], rtol=1e-6)
    (other / "dataset.json").unlink()
    with pytest.raises(UsageError, match="label value 1 "):
        open_split(config, "train", descriptors.read(root)).read(0)
