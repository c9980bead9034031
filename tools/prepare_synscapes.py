"""tools/prepare_synscapes.py --input=SYNSCAPES --output=FOLDER: Synscapes as it is downloaded to the Miniscapes layout.

Reads SYNSCAPES/img/rgb/I.png, img/class/I.png (label ids of Cityscapes), img/depth/I.exr (metres) and, where there is
such a folder, img/instance/I.png. Makes FOLDER/SPLIT/rgb/I.jpg, semseg/I.png (train ids), depth/I.png (inverse depth in
a byte, see storage/codecs.py) and instances/I.png (numbers in 16 bits; 65535 = unknown) at 720x360 pixels. The order of
the samples is drawn with --seed; the first eight tenths are train (20000), then val (2500) and test (2500). Train then
with --data.name=miniscapes --data.root=FOLDER. A stopped run continues where it ended. Of the options of main.py it
takes --input, --output, --seed and --data.skip_bad (leave out samples that are incomplete or cannot be read).
"""

import dataclasses
import functools
import pathlib
import shlex
import sys
import zlib

import numpy as np
from _tool import run_tool
from _writing import claim, output_folder, process_pool, write_all, write_picture
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import cityscapes_ids, descriptors
from mtl_tf.data.samples import natural_order
from mtl_tf.data.sets import open_split
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.statistics import measure, summarise
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage import codecs
from mtl_tf.storage.exr import read_exr
from mtl_tf.storage.pixels import read_rgb
from mtl_tf.tasks.reading.instance_files import numbered, read_rgb24

USES = ("input", "output", "seed", "data.skip_bad")  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    height: int = option(360, "Height of the pictures made, pixels.", minimum=16, maximum=4096)
    width: int = option(720, "Width of the pictures made, pixels.", minimum=16, maximum=4096)
    rgb: str = option(
        "rgb", "Folder of the pictures in img: rgb (1440x720) or rgb-2k (2048x1024).", choices=("rgb", "rgb-2k")
    )
    statistics: bool = option(
        False,
        "Measure the training split and write dataset.json; without, the published statistics of Miniscapes hold.",
    )
    workers: int = option(0, "Processes that convert; 0 = one a core.", minimum=0)


SPLITS = ("train", "val", "test")
SETTINGS = "prepared.json"
_CLASSES = cityscapes_ids.table(cityscapes_ids.TRAIN_CLASSES)
_LAYOUT = "img/rgb/1.png, img/class/1.png, img/depth/1.exr"
_INSTANCE = "instance"  # the folder in img that need not be there


def prepare(parsed):
    """Converts what is missing.

    Raises:
        UsageError: a folder or file is missing or damaged, or the output cannot be used.
    """
    config, own, output = parsed.config, parsed.own, output_folder(parsed.config)
    root = find_root(config.input)
    sources = find_sources(root, own.rgb)
    ids = find_samples(root, sources, config.data.skip_bad)
    splits = split_ids(ids, config.seed)
    settings = {"seed": config.seed, "height": own.height, "width": own.width, "rgb": own.rgb, "samples": len(ids)}
    # Of other samples the splits would be others, and a sample could stand in two.
    settings["checksum"] = zlib.crc32("\n".join(ids).encode())
    claim(output, SETTINGS, settings, SPLITS)
    samples = [(split, name) for split, names in splits.items() for name in names]
    written = functools.partial(_written, output, _INSTANCE in sources)
    missing = [sample for sample in samples if not all(path.exists() for path in written(*sample).values())]
    write = functools.partial(write_sample, root, sources, written, (own.height, own.width), config.data.skip_bad)
    bad = [text for text in write_all("converting", write, missing, process_pool(own.workers, len(missing))) if text]
    for text in bad:
        print(text)
    counts = ", ".join(f"{len(names)} {split}" for split, names in splits.items())
    kept = f"{len(missing) - len(bad)} new, {len(samples) - len(missing)} found"
    print(f"{len(samples) - len(bad)} samples in {output}: {counts} ({kept}{f', {len(bad)} left out' if bad else ''})")
    if own.statistics and (missing or not (output / descriptors.FILE_NAME).exists()):
        config = replace(Config(), data__name="miniscapes", data__root=str(output))
        bare = MINISCAPES.of(tuple(written(*samples[0])))
        measured = summarise(measure(open_split(config, "train", bare), bare, config.data), bare)
        print(f"described in {descriptors.write(output, measured)}")
    place = shlex.quote(f"--data.root={output}")
    print(f"next: python main.py train --run_dir=RUN --data.name=miniscapes {place}")


def write_sample(root, sources, written, size, skip_bad, sample) -> str:
    """Converts a sample (split, id); its fault where it is left out for one, else an empty text."""
    split, name = sample
    paths = [str(root / "img" / kind / f"{name}{suffix}") for kind, suffix in sources.items()]
    targets = written(split, name)
    try:
        image = read_rgb(paths[0])
        labels = cityscapes_ids.read_classes(_CLASSES, paths[1])
        depth = read_exr(paths[2], "Z")
        numbers = [read_rgb24(path) for path in paths[3:]]
        check_shapes(paths, (image, labels, depth, *numbers), size)
        labels = nearest(labels, size)
        pictures = {
            "rgb": shrink(image, size),
            "semseg": labels.astype(np.uint8),
            "depth": codecs.encode_inverse_uint8(nearest(depth, size)),
        }
        if numbers:
            pictures["instances"] = instances_of(labels, nearest(numbers[0], size), paths[3])
    except UsageError as error:
        if skip_bad:
            return str(error)
        raise
    for kind, path in targets.items():
        write_picture(path, pictures[kind])
    return ""


def instances_of(labels: np.ndarray, numbers: np.ndarray, path: str) -> np.ndarray:
    """Numbers of instances, uint16 (H, W): those of things; 65535 where there is no class, or a thing without a number.

    Args:
        labels: train ids, (H, W).
        numbers: of `path`, (H, W); 0 = none. Stuff may have some.
        path: of the file, for messages.
    """
    blank, is_thing = MINISCAPES["instances"].blank, np.isin(labels, cityscapes_ids.THINGS)
    unknown = (labels == MINISCAPES["semseg"].ignore) | (is_thing & (numbers == 0))
    # A number of several classes is several instances.
    codes = np.where(is_thing, labels << 24 | numbers, 0)
    return numbered(codes, unknown, path, blank).astype(np.uint16)


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) at `size` (height, width): bilinear with anti-aliasing, as training resizes pictures."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels or depth (H, W) at `size`: the value in whose pixel the centre of the new one lies."""
    rows, columns = ((np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(size, values.shape, strict=True))
    return values[rows[:, None], columns]


def check_shapes(paths, arrays, size):
    """Raises a UsageError unless all files of a sample have the proportions of the pictures made."""
    for path, array in zip(paths, arrays, strict=True):
        height, width = array.shape[:2]
        if abs(height * size[1] / (width * size[0]) - 1) > 0.01:
            raise UsageError(
                f"{path}: {width}x{height} pixels; expected the proportions of {size[1]}x{size[0]} "
                "(--width, --height), as Synscapes has them"
            )


def _written(output: pathlib.Path, instances: bool, split: str, name: str) -> dict[str, pathlib.Path]:
    suffixes = {"rgb": ".jpg", "semseg": ".png", "depth": ".png"} | ({"instances": ".png"} if instances else {})
    return {kind: output / split / kind / f"{name}{suffix}" for kind, suffix in suffixes.items()}


# === What is there ===


def find_root(path: str) -> pathlib.Path:
    """The folder that holds `img`.

    Raises:
        UsageError: it is missing or another; guesses which one was meant.
    """
    if not path:
        raise UsageError(f"--input=FOLDER is missing: Synscapes as it is downloaded, with {_LAYOUT}")
    root = pathlib.Path(path)
    if not root.is_dir():
        kind = "is a file; unpack it first" if root.is_file() else "no such folder"
        raise UsageError(f"--input={path}: {kind}; expected the folder of Synscapes, with {_LAYOUT}")
    if (root / "img").is_dir():
        return root
    near = [*sorted(child for child in root.iterdir() if child.is_dir()), *root.absolute().parents[:2]]
    meant = [folder for folder in near if (folder / "img").is_dir()]
    hint = f"; did you mean --input={meant[0]}?" if meant else ""
    raise UsageError(f"--input={path} has no folder img; expected {_LAYOUT}{hint}")


def find_sources(root: pathlib.Path, rgb: str) -> dict[str, str]:
    """Folder in img -> ending of its files: pictures, classes, depth, and instances where there are any."""
    there = {_INSTANCE: ".png"} if (root / "img" / _INSTANCE).is_dir() else {}
    return {rgb: ".png", "class": ".png", "depth": ".exr"} | there


def find_samples(root: pathlib.Path, sources: dict[str, str], skip_bad: bool) -> list[str]:
    """The ids of the samples in natural order.

    Raises:
        UsageError: a folder is missing or files lack (with `skip_bad` such samples are left out).
    """
    found = {}
    for kind, suffix in sources.items():
        folder = root / "img" / kind
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected {_LAYOUT} in {root}")
        found[kind] = {path.stem for path in folder.iterdir() if path.suffix == suffix and path.name[0] != "."}
    complete = set.intersection(*found.values())
    if not complete:
        raise UsageError(
            f"{root}: no sample has all of {', '.join(f'img/{kind}' for kind in found)}; expected {_LAYOUT}"
        )
    for kind, names in found.items():
        lacking = sorted(set.union(*found.values()) - names, key=natural_order)
        if lacking and not skip_bad:
            raise UsageError(
                f"{root / 'img' / kind}: {len(lacking)} files lack, the first {lacking[0]}{sources[kind]}; "
                "finish the download, or leave such samples out with --data.skip_bad"
            )
    return sorted(complete, key=natural_order)


def split_ids(ids: list[str], seed: int) -> dict[str, list[str]]:
    """Split -> ids, in an order drawn with the seed: a tenth each to val and test, the rest to train.

    Raises:
        UsageError: there are too few.
    """
    tenth = len(ids) // 10
    if not tenth:
        raise UsageError(f"{len(ids)} samples; a split into train, val and test takes 10 or more")
    order = [ids[position] for position in np.random.default_rng(seed).permutation(len(ids))]
    bounds = (0, len(ids) - 2 * tenth, len(ids) - tenth, len(ids))
    return {split: order[bounds[i] : bounds[i + 1]] for i, split in enumerate(SPLITS)}


if __name__ == "__main__":
    sys.exit(run_tool(prepare, Options))
