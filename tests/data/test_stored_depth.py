"""Depth as people have it: numbers in every kind of file become metres, and pass through all that reads labels."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from mtl_tf.keys import Keys
from mtl_tf.storage.windows import Window
from mtl_tf.tasks import DepthLabels
from tests.data.test_maps import FLOATING, WRITERS, write_exr
from tests.helpers import in_this_process, one_line_error

METRES = np.array([[0.5, 2.0, 3.25], [0.0, np.nan, -1.0], [np.inf, 65535, 11]], np.float32)
READ = [[0.5, 2, 3.25], [0, 0, 0], [0, 0, 0]]
RANGE = {"minimum": 0.25, "maximum": 10.0}


def write(root, ending, depths=(), save=None, **section):
    """A data set of pictures of 3x3 pixels with these depth files."""
    save = save or (WRITERS | FLOATING)[f"x{ending}"]
    for index, depth in enumerate(depths):
        for kind in ("rgb", "depth"):
            (root / "train" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 3, 3), 6 * index, np.uint8)).save(root / f"train/rgb/{index}.png")
        save(root / f"train/depth/{index}{ending}", depth)
    if section:
        content = {"name": "mine", "splits": ["train"], "depth": RANGE | section}
        (root / "dataset.json").write_text(json.dumps(content))
    return root


def labels(**section):
    """The labels of a section of dataset.json."""
    return DepthLabels.parse(Keys("dataset.json", RANGE | section, DepthLabels.keys, "depth."))


def source(root, name="folder"):
    config = configuration.replace(configuration.Config(), data__name=name, data__root=str(root))
    return open_split(config, "train", describe(config.data))


def read(root, name="folder"):
    """The metres of all samples."""
    found = source(root, name)
    return [found.read(index)["depth"] for index in range(len(found))]


def run(tool, root, *options, name="folder", status=0):
    """What a tool says, standard output or error."""
    done = in_this_process(tool, f"--data.root={root}", *([f"--data.name={name}"] if name else []), *options)
    assert done.returncode == status, done.stdout + done.stderr
    return one_line_error(status, done.stderr) if status else done.stdout


def passes(root, tmp_path):
    """Checks that a data set of a described depth passes through all tools, and that its packed copies are the same."""
    expected = read(root)
    assert "no fault" in run("check_dataset", root)
    run("dataset_statistics", root, "--write")
    known = np.concatenate([metres[metres > 0] for metres in expected])
    found = descriptors.read(root)["depth"]
    np.testing.assert_allclose([found.mean, found.log_mean], [known.mean(), np.log(known).mean()], rtol=1e-3)
    for content in ("files", "pixels"):
        packed = tmp_path / f"packed_{content}"
        assert "0 faults" in run("pack_dataset", root, f"--output={packed}", f"--content={content}", "--verify")
        np.testing.assert_array_equal(read(packed, "packed"), expected)
        assert "no fault" in run("check_dataset", packed, name="packed")
    run("pack_dataset", tmp_path / "packed_files", "--unpack", f"--output={tmp_path}/unpacked", name="packed")
    np.testing.assert_array_equal(read(tmp_path / "unpacked"), expected)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat", ".h5", ".tif", ".pfm", ".exr"])
def test_numbers_of_every_kind_of_file(tmp_path, ending):
    root = write(tmp_path / "mine", ending, [METRES, METRES + 1], encoding="numbers")
    np.testing.assert_array_equal(read(root)[0], READ)
    told = run("check_dataset", root)
    assert "depth: numbers of any type, value x 1; 0, what is negative, infinite or NaN = not measured; valid" in told
    path = root / f"train/depth/1{ending}"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match=re.escape(str(path))):
        read(root)


@pytest.mark.parametrize("ending", [".npz", ".tif"])
def test_they_pass_through_all_that_reads_labels(tmp_path, ending):
    passes(write(tmp_path / "mine", ending, [METRES, METRES + 1], encoding="numbers"), tmp_path)


def test_a_unit_a_key_and_values_that_mean_nothing(tmp_path):
    millimetres = np.array([[500, 2000, 3250], [0, 65535, 9999], [1, 250, 10000]], np.uint16)
    section = dict(encoding="numbers", scale=0.001, key="z", invalid=[65535, 9999])
    root = write(tmp_path, ".npz", [millimetres], lambda path, depth: np.savez(path, z=depth, d=depth > 0), **section)
    np.testing.assert_array_equal(read(root)[0], np.float32([[0.5, 2, 3.25], [0, 0, 0], [0, 0.25, 10]]))
    assert "z of any type, value x 0.001; 0, 65535, 9999, what is negative" in run("check_dataset", root)
    assert descriptors.read(root)["depth"].content() == RANGE | section
    write(tmp_path, ".npz", **section | {"key": "depth"})
    with pytest.raises(UsageError, match=r"0.npz: expected depth as array 'depth', got z uint16 \(3, 3\), d bool"):
        read(root)


def test_a_channel_of_its_own(tmp_path):
    def save(path, depth):
        write_exr(path, A=depth, Z=depth + 1)

    np.testing.assert_array_equal(read(write(tmp_path, ".exr", [METRES], save, encoding="numbers", key="A"))[0], READ)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"encoding": "numbers", "scale": -1}, '"depth.scale" should be a positive number'),
        ({"encoding": "numbers", "invalid": ["nan"]}, '"depth.invalid" should be a list of different numbers (NaN and'),
        ({"encoding": "numbers", "invalid": [1, 1.0]}, '"depth.invalid" should be a list of different numbers'),
        ({"encoding": "uint16_scaled", "key": "z"}, '"depth.key" should be left out'),
        ({"encoding": "uint16_scaled", "invalid": [0.5]}, '"depth.invalid" should be a list of different whole'),
    ],
)
def test_what_is_wrong_in_the_section(section, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        labels(**section)


def test_numbers_in_another_unit_are_remarked(tmp_path):
    told = run("check_dataset", write(tmp_path, ".npy", [METRES * 10], encoding="numbers"))
    assert "warning: 80% of the measured depth in 1 file lies outside of 0.25 to 10 m and is no label: half of" in told
    assert "train/depth/0.npy is beyond 32.5 m; see depth.scale, minimum and maximum in dataset.json" in told


# === Codes and disparity ===


def save_png(path, values):
    Image.fromarray(values).save(path)


def test_rotated_bits_of_sun_rgbd(tmp_path):
    """2000 mm is stored as 2000 << 3; of 10000 = 1 << 13 | 1808 the upper bit comes last."""
    stored = np.array([[16000, 14465, 0], [8, 65535, 65528], [16001, 2000, 80]], np.uint16)
    expected = np.float32([[2, 10, 0], [0, 0, 8.191], [0, 0.25, 0]])  # 16001 are 10.192 m, beyond the range
    root = write(tmp_path / "mine", ".png", [stored, stored], save_png, encoding="uint16_rotated")
    np.testing.assert_array_equal(read(root)[0], expected)
    assert "depth: 16 bits, rotated by three, value x 0.001; 0 = not measured" in run("check_dataset", root)
    passes(root, tmp_path)


@pytest.mark.parametrize(
    ("ending", "stored", "section"),
    [
        (".pfm", [[10, 20, 0], [np.inf, np.nan, -3], [100, 4, 1e9]], {}),
        (".png", np.uint16([[2560, 5120, 0], [0, 0, 0], [25600, 1024, 65535]]), {"scale": 1 / 256}),
        (".png", np.uint16([[2561, 5121, 0], [0, 0, 0], [25601, 1025, 65535]]), {"scale": 1 / 256, "offset": -1 / 256}),
        (".png", np.uint8([[10, 20, 0], [0, 0, 0], [100, 4, 201]]), {"invalid": [201]}),
        (".npz", np.int16([[15, 25, 0], [-1, -7, 0], [105, 9, 0]]), {"offset": -5}),
    ],
)
def test_disparity_of_a_stated_camera(tmp_path, ending, stored, section):
    """0.5 m x 100 pixels / 10 pixels = 5 m; 12.5 m are beyond the range."""
    section = {"encoding": "disparity", "baseline": 0.5, "fx": 100.0} | section
    save = save_png if ending == ".png" else None
    stored = np.float32(stored) if ending == ".pfm" else stored
    root = write(tmp_path / "mine", ending, [stored] * 2, save, **section)
    np.testing.assert_array_equal(read(root)[0], [[5, 2.5, 0], [0, 0, 0], [0.5, 0, 0]])
    assert "depth: 0.5 m x 100 pixels / (value x " in run("check_dataset", root)
    written = descriptors.read(root)["depth"]
    assert written.content() == RANGE | {"scale": 1.0} | section
    passes(root, tmp_path)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"encoding": "disparity", "fx": 700}, '"depth.baseline" should be a positive number; it is missing'),
        ({"encoding": "disparity", "offset": 1}, '"depth.baseline" should be a positive number; it is missing'),
        ({"encoding": "disparity", "baseline": 1, "fx": 0}, '"depth.fx" should be a positive number'),
        ({"encoding": "numbers", "fx": 700}, '"depth.fx" should be left out; it is of encoding "disparity"'),
    ],
)
def test_a_camera_is_stated_whole(section, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        labels(**section)


def test_disparity_without_a_camera_is_refused(tmp_path):
    assert labels(encoding="disparity", invalid=[65535]).invalid == (65535,)  # of a download, whose reader has cameras
    root = write(tmp_path, ".png", [np.ones((3, 3), np.uint16)], save_png, encoding="disparity")
    assert "without depth.baseline (metres) and fx (pixels)" in run("check_dataset", root, status=2)


# === Masks beside depth ===

MASK = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 1]], np.float32)


def write_masks(root, end="_mask.npy", mask=MASK):
    for path in sorted((root / "train/depth").iterdir()):
        beside = path.with_name(path.stem + end)
        np.save(beside, mask) if end.endswith("npy") else Image.fromarray(mask).save(beside)
    return root


@pytest.mark.parametrize(
    ("ending", "end", "mask", "section"),
    [
        (".npy", "_mask.npy", MASK, {"encoding": "numbers"}),
        (".npy", "_mask.png", 255 * MASK.astype(np.uint8), {"encoding": "npy"}),
        (".tif", "-valid.png", MASK > 0, {"encoding": "uint16_scaled", "scale": 0.001}),
    ],
)
def test_nothing_was_measured_where_the_mask_is_0(tmp_path, ending, end, mask, section):
    depths = [METRES, METRES + 1]
    if section["encoding"] == "uint16_scaled":
        depths = [np.nan_to_num(depth * 1000, nan=0, posinf=0).clip(0, 65535).astype(np.uint16) for depth in depths]
    root = write_masks(write(tmp_path / "mine", ending, depths, **section, mask=end), end, mask)
    np.testing.assert_array_equal(read(root)[0], [[0.5, 0, 3.25], *READ[1:]])
    window = Window(0, 1, 1, 3, True)
    np.testing.assert_array_equal(source(root).read(0, lambda size: window)["depth"], [[0, 3.25, 0]])
    told = run("check_dataset", root)
    assert f"not measured, nor where NAME{end} is 0; valid" in told and "passed over" not in told
    passes(root, tmp_path)
    assert source(root).sizes(0).keys() == {"rgb", "depth", f"depth/beside/{end}"}


def test_masks_that_lack_or_do_not_fit(tmp_path):
    root = write_masks(write(tmp_path / "mine", ".npy", [METRES], encoding="numbers", mask="_mask.npy"))
    mask = root / "train/depth/0_mask.npy"
    for content, told in (
        (np.zeros((3, 4)), r"0_mask.npy: 4x3 pixels, but 0.npy beside it is 3x3"),
        (b"", "no arrays of"),
    ):
        mask.write_bytes(content) if isinstance(content, bytes) else np.save(mask, content)
        with pytest.raises(UsageError, match=told):
            read(root)
    mask.unlink()
    with pytest.raises(UsageError, match=r"0_mask.npy: no such file"):
        read(root)
    assert "0_mask.npy: no such file" in run("pack_dataset", root, f"--output={tmp_path}/packed", status=2)
    for end in ("mask", ".npy", "/mask.npy", 7):
        with pytest.raises(UsageError, match=r'"depth.mask" should be the end of the names of masks, as "_mask.npy"'):
            labels(encoding="numbers", mask=end)
