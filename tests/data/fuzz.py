"""Damaged data sets: every reader gives a clear error or a sample in range; it never crashes or hangs.

`python -m tests.data.fuzz 5000` runs that many damaged files through the readers of all data sets.
"""

import collections
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data.sets import describe, open_split
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.sets.vkitti2 import CLASSES
from mtl_tf.errors import UsageError
from tests.data import official
from tests.helpers import ROOT, write_dataset
from tests.mutations import mutate, seconds_at_most

PATIENCE = 20  # seconds, for one sample of a few pixels

# Name of a case -> writes a small data set into a folder and gives the options that read it.
WRITERS: dict[str, Callable[[pathlib.Path], dict]] = {}


def writer(function):
    """Adds a case."""
    WRITERS[function.__name__] = function
    return function


@writer
def folder(root):
    """The project's own layout with 16-bit depth."""
    write_dataset(root, {"train": 2})
    return dict(data__name="folder", data__root=str(root))


@writer
def miniscapes(root):
    """JPEG pictures, palette labels, inverse depth in a byte."""
    random = np.random.default_rng(0)
    for modality in ("rgb", "semseg", "depth"):
        (root / "train" / modality).mkdir(parents=True)
    for name in "01":
        pixels = {part: random.integers(0, 19, (4, 6), np.uint8).repeat(8, 0).repeat(8, 1) for part in "rgbld"}
        picture = np.stack([pixels[channel] * 12 for channel in "rgb"], -1)
        Image.fromarray(picture).save(root / "train/rgb" / f"{name}.jpg")
        labels = Image.fromarray(pixels["l"])
        labels.putpalette([value for colour in MINISCAPES["semseg"].palette for value in colour])
        labels.save(root / "train/semseg" / f"{name}.png")
        Image.fromarray(pixels["d"] * 10).save(root / "train/depth" / f"{name}.png")
    return dict(data__name="miniscapes", data__root=str(root))


@writer
def cityscapes(root):
    """Label ids, 16-bit disparity, camera files."""
    return official.write_cityscapes(root)


@writer
def cityscapes7(root):
    """The same files by the 7-class protocol."""
    return official.write_cityscapes(root) | dict(data__name="cityscapes7")


@writer
def kitti(root):
    """Label ids, 16-bit disparity, calibration texts."""
    return official.write_kitti(root, root, root)


@writer
def vkitti2(root):
    """Colours with a text that names them, 16-bit centimetres."""
    options = official.write_vkitti2(root, scenes=("Scene01",), variations=("clone",))
    names = "".join(f"{name} {red} {green} {blue}\n" for name, (red, green, blue) in CLASSES.items())
    (root / "Scene01/clone/colors.txt").write_text(f"Category r g b\n{names}")
    return options


@writer
def camvid(root):
    """Colours, with lists of the splits."""
    options = official.write_camvid(root)
    (root / "train.txt").write_text("".join(f"{name}.png\n" for name in official.CAMVID_NAMES))
    return options


@writer
def camvid_segnet(root):
    """Class ids beside the pictures."""
    return official.write_camvid_segnet(root)


@writer
def nyud_mt(root):
    """Numbers in NumPy files, with lists of the splits."""
    return official.write_nyud_mt(root)


@writer
def nyud_mt_astmt(root):
    """Numbers in MATLAB files, directions in JPEG files."""
    return official.write_nyud_mt(root, "astmt")


@writer
def mtan_nyuv2(root):
    """Pictures in NumPy files."""
    return official.write_mtan_nyuv2(root)


@writer
def pascal_mt(root):
    """Nested structs and label maps of MATLAB, lists."""
    return official.write_pascal_mt(root)


@writer
def taskonomy(root):
    """16 bits, masks, a list of buildings."""
    return official.write_taskonomy(root, tuple(name for name in official.TASKONOMY_FILES if name != "edge_texture"))


@writer
def partly_labelled(root):
    """A folder whose second sample has no labels."""
    options = folder(root)
    for modality in ("semseg", "depth"):
        (root / "train" / modality / "1.png").unlink()
    return options


def _packed(root, content):
    """A folder data set, packed by the tool; the folder itself is gone."""
    with tempfile.TemporaryDirectory() as place:
        options = [f"--data.root={folder(pathlib.Path(place) / 'data')['data__root']}", f"--output={root}"]
        command = [
            sys.executable,
            str(ROOT / "tools" / "pack_dataset.py"),
            "--data.name=folder",
            f"--content={content}",
        ]
        subprocess.run([*command, *options], check=True, capture_output=True)
    return dict(data__name="packed", data__root=str(root))


@writer
def packed_files(root):
    """Shards of the original files."""
    return _packed(root, "files")


@writer
def packed_pixels(root):
    """Shards of pixels."""
    return _packed(root, "pixels")


def cases(name: str, count: int, seed: int, place: pathlib.Path) -> collections.Counter:
    """Damages one file after another of a data set and reads the split.

    Args:
        name: of the case, a key of `WRITERS`.
        count: how many damaged files.
        seed: of the damage.
        place: an empty folder.

    Returns:
        How often there was an "error" and how often a "sample".

    Raises:
        AssertionError: a sample is not as the contract says; or whatever else a reader let through.
    """
    random = np.random.default_rng([seed, *name.encode()])
    options = WRITERS[name](place)
    config = configuration.replace(configuration.Config(), **options)
    config = configuration.replace(config, tasks=describe(config.data).task_names)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    assert _read(config) == "sample"  # as long as nothing is damaged
    outcomes = collections.Counter()
    for number in range(count):
        path = files[random.integers(len(files))]
        whole = path.read_bytes()
        path.write_bytes(mutate(random, whole))
        try:
            with seconds_at_most(PATIENCE):
                outcomes[_read(config)] += 1
        except UsageError as error:
            assert "\n" not in str(error), f"case {number}, {path}: {error}"
            outcomes["error"] += 1
        except BaseException as error:
            error.add_note(f"{name}, seed {seed}, case {number}: {path.relative_to(place)}")
            raise
        finally:
            path.write_bytes(whole)
    return outcomes


def _read(config):
    """Reads every sample of the training split; a bad sample is an error, the others are checked."""
    descriptor = describe(config.data)
    source = open_split(config, config.data.train_split, descriptor)
    outcome = "sample"
    for index in range(len(source)):
        try:
            check(source.read(index), descriptor, config.tasks)
        except UsageError as error:
            assert "\n" not in str(error), error
            outcome = "error"
    return outcome


def check(sample, descriptor, tasks):
    """Asserts that a sample is as the data contract says."""
    image = sample["image"]
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size
    if "semseg" in tasks:
        labels = sample["semseg"]
        assert labels.dtype == np.int32 and labels.shape == image.shape[:2]
        assert (
            (labels == descriptor["semseg"].ignore) | ((labels >= 0) & (labels < len(descriptor["semseg"].classes)))
        ).all()
    if "depth" in tasks:
        depth = sample["depth"]
        assert depth.dtype == np.float32 and depth.shape == image.shape[:2]
        low, high = np.float32(descriptor["depth"].minimum), np.float32(descriptor["depth"].maximum)
        assert ((depth == 0) | ((depth >= low) & (depth <= high))).all()


def main(count: int) -> None:
    """Runs `count` cases, shared among the data sets, and prints how they ended."""
    for name in WRITERS:
        with tempfile.TemporaryDirectory() as place:
            outcomes = cases(name, -(-count // len(WRITERS)), 1, pathlib.Path(place))
        print(f"{name}: {outcomes['error']} clear errors, {outcomes['sample']} samples in range", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
