"""tools/prepare_nyuv2.py --mat=nyu_depth_v2_labeled.mat --splits=splits.mat --output=FOLDER: NYU Depth v2 for training.

Reads the official files of NYU Depth v2 (Silberman et al., ECCV 2012) and makes FOLDER/SPLIT/rgb/I.png, semseg/I.png
(classes 0, 1, ...; 255 = none), depth/I.png (millimetres in 16 bits; 0 = unknown) and instances/I.png (numbers in 16
bits; 0 = wall, floor or ceiling; 65535 = unknown), I being the official index, 1 to 1449, for the official train (795)
and test (654) split; measures the statistics of train and writes dataset.json. Train then with --data.name=nyuv2
--data.root=FOLDER. A stopped run continues where it ended. Of the options of main.py it takes --output.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import shlex
import sys

import h5py
import numpy as np
from _tool import run_tool
from _writing import claim, output_folder, write_all, write_picture

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets import nyuv2, open_split
from mtl_tf.data.statistics import measure, summarise
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage import codecs, matlab
from mtl_tf.tasks.reading.instance_files import numbered

USES = ("output",)  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    mat: str = option("", "The official nyu_depth_v2_labeled.mat, 2.8 GB.")
    splits: str = option("", "The official splits.mat; empty = it lies beside the other file.")
    classes: int = option(
        13, "13 classes (Couprie et al., ICLR 2013) or 40 (Gupta et al., CVPR 2013).", choices=(13, 40)
    )
    otherprop_as_objects: bool = option(
        False,
        "13 classes: the small things that are otherprop among the 40 are objects, as in the published table; without, "
        "they have no class, as in the copy of the data set that multi-task papers use.",
    )
    depth: str = option(
        "inpainted", "Depth with the holes filled, or as it was measured.", choices=("inpainted", "raw")
    )
    val: int = option(0, "Makes a split val of the last N of the 795 training samples; 0 = none.", minimum=0)


SETTINGS = "prepared.json"
_DEPTHS = {"inpainted": "depths", "raw": "rawDepths"}


def prepare(parsed):
    """Writes what is missing.

    Raises:
        UsageError: a file is missing, damaged or another than expected, or the folder cannot be used.
    """
    output, own = output_folder(parsed.config), parsed.own
    with _opened(own.mat) as file:
        _check(file, own)
        splits = read_splits(own, len(file["images"]))
        table = nyuv2.train_ids(read_names(file), own.classes, own.otherprop_as_objects)
        settings = {name: getattr(own, name) for name in ("classes", "otherprop_as_objects", "depth", "val")}
        claim(output, SETTINGS, settings, splits)
        samples = [(split, index) for split, indices in splits.items() for index in indices]
        missing = [sample for sample in samples if not all(path.exists() for path in _files(output, *sample).values())]
        # In the order of the file, whose compressed blocks may hold several samples.
        missing.sort(key=lambda sample: sample[1])
        things = np.isin(table, thing_ids(own.classes))
        write = functools.partial(write_sample, file, table, things, _DEPTHS[own.depth], output)
        write_all("preparing", write, missing, concurrent.futures.ThreadPoolExecutor(os.cpu_count()))
    counts = ", ".join(f"{len(indices)} {split}" for split, indices in splits.items())
    print(f"{len(samples)} samples in {output}: {counts} ({len(missing)} new, {len(samples) - len(missing)} found)")
    if missing or not (output / descriptors.FILE_NAME).exists():
        describe(output, own.classes, tuple(splits))
    validated = "" if own.val else " --data.val_split=test"
    place = shlex.quote(f"--data.root={output}")
    print(f"next: python main.py train --run_dir=RUN --data.name=nyuv2 {place}{validated}")


def write_sample(file, table, things, depth, output, sample):
    """Writes the files of a sample (split, official index, from 1)."""
    split, index = sample
    paths = _files(output, split, index)
    try:
        # MATLAB stores columns first: what is read is (channel, column, row).
        image, labels, metres, numbers = (file[name][index - 1].T for name in ("images", "labels", depth, "instances"))
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{file.filename}: sample {index} cannot be read ({_text(error)}); the file is damaged, download it again"
        ) from None
    if labels.max(initial=0) >= len(table):
        raise UsageError(
            f"{file.filename}: sample {index} has label {labels.max()}, beyond the {len(table) - 1} label names; "
            "expected nyu_depth_v2_labeled.mat as it is published"
        )
    write_picture(paths["rgb"], image)
    write_picture(paths["semseg"], table[labels])
    write_picture(paths["depth"], codecs.encode_uint16_scaled(metres, nyuv2.NYUV2["depth"].scale))
    write_picture(paths["instances"], instances_of(labels, numbers, table, things, f"{file.filename}: sample {index}"))


def instances_of(labels, numbers, table, things, path):
    """Numbers of instances, uint16 (H, W): each pair of a label and a number within it, as the official toolbox has it.

    Args:
        labels: official ids, (H, W).
        numbers: within each label, (H, W).
        table: official label id -> class.
        things: official label id -> whether there are instances of it.
        path: of the sample, for messages.
    """
    unknown = table[labels] == nyuv2.NYUV2["semseg"].ignore
    codes = np.where(things[labels], labels.astype(np.int64) << 32 | numbers.astype(np.int64), 0)
    return numbered(codes, unknown, path, nyuv2.NYUV2["instances"].blank).astype(np.uint16)


def thing_ids(classes):
    """The ids of the classes of which there are instances."""
    described = _described(classes)
    return [described["semseg"].classes.index(name) for name in described["instances"].things]


def describe(output, classes, splits):
    """Measures the training split and writes dataset.json."""
    bare = dataclasses.replace(_described(classes), splits=splits)
    config = replace(Config(), data__name="nyuv2", data__root=str(output))
    measured = summarise(measure(open_split(config, "train", bare), bare, config.data), bare)
    print(f"described in {descriptors.write(output, measured)}")


def _described(classes):
    return nyuv2.NYUV2_40 if classes == 40 else nyuv2.NYUV2


def _files(output: pathlib.Path, split: str, index: int) -> dict[str, pathlib.Path]:
    return {name: output / split / name / f"{index}.png" for name in ("rgb", *nyuv2.NYUV2.task_names)}


# === The official files ===


@contextlib.contextmanager
def _opened(path):
    """The labelled file, open; a UsageError where it is none."""
    if not path:
        raise UsageError("--mat=FILE is missing: the official nyu_depth_v2_labeled.mat")
    path = pathlib.Path(path)
    if path.is_dir():
        inside = path / "nyu_depth_v2_labeled.mat"
        hint = f"; did you mean --mat={inside}?" if inside.is_file() else ""
        raise UsageError(f"--mat={path} is a folder; expected the file nyu_depth_v2_labeled.mat{hint}")
    try:
        # The cache holds whole compressed blocks, so that none is unpacked for each of its samples anew.
        file = h5py.File(path, "r", rdcc_nbytes=2**28, rdcc_nslots=100_003)
    except FileNotFoundError:
        raise UsageError(f"--mat={path}: no such file") from None
    except OSError as error:
        text = _text(error)
        if "truncated" in text:
            raise UsageError(f"{path} is cut off ({text}); download it again") from None
        raise UsageError(
            f"{path}: not a MATLAB 7.3 file ({text}); expected nyu_depth_v2_labeled.mat as it is published"
        ) from None
    try:
        with file:
            yield file
    except (KeyError, OSError, RuntimeError) as error:
        # h5py's errors of damaged files; those of what is written are UsageErrors already.
        raise UsageError(f"{path} is damaged ({_text(error)}); download it again") from None


def _check(file, own):
    """Raises a UsageError unless the file holds arrays of the shapes of the official one."""
    # Axes, and what NumPy calls the kind of number: unsigned, floating-point, reference.
    expected = {"images": (4, "u"), "labels": (3, "u"), "instances": (3, "u")}
    expected |= {_DEPTHS[own.depth]: (3, "f"), "names": (2, "O")}
    for name, (rank, kind) in expected.items():
        if not isinstance(file.get(name), h5py.Dataset):
            raise UsageError(
                f"{file.filename} has no {name}; expected nyu_depth_v2_labeled.mat, with {', '.join(expected)}"
            )
        found = file[name]
        if found.ndim != rank or found.dtype.kind != kind or (name == "images" and found.dtype != np.uint8):
            raise UsageError(
                f"{file.filename}: {name} is of shape {found.shape} and type {found.dtype}; expected "
                "nyu_depth_v2_labeled.mat as it is published"
            )
    count, channels, width, height = file["images"].shape
    for name in ("labels", "instances", _DEPTHS[own.depth]):
        if channels != 3 or file[name].shape != (count, width, height):
            raise UsageError(
                f"{file.filename}: images are {file['images'].shape}, {name} {file[name].shape}; expected "
                "(samples, 3, columns, rows) and (samples, columns, rows)"
            )


def read_names(file) -> list[str]:
    """The names of labels 1, 2, ... in a MATLAB cell array of texts."""
    try:
        return ["".join(map(chr, np.ravel(file[reference][()]))) for reference in np.ravel(file["names"][()])]
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{file.filename}: its label names cannot be read ({_text(error)})") from None


def read_splits(own, count: int) -> dict[str, list[int]]:
    """Split -> official indices, from 1, rising.

    Raises:
        UsageError: splits.mat is missing, is something else or does not fit a file of `count` samples.
    """
    path = own.splits or str(pathlib.Path(own.mat).parent / "splits.mat")
    try:
        content = {name: numbers.ravel() for name, numbers in matlab.read_numbers(path).items()}
    except UsageError as error:
        raise UsageError(f"{error}; name the official splits.mat (--splits=FILE)") from None
    for name in ("trainNdxs", "testNdxs"):
        if name not in content:
            raise UsageError(f"{path} has no {name}; expected the official splits.mat")
        if not (np.isfinite(content[name]) & (content[name] == np.floor(content[name]))).all():
            raise UsageError(f"{path}: {name} are not whole numbers; expected the official splits.mat")
    found = {split: sorted(map(int, content[f"{split}Ndxs"])) for split in ("train", "test")}
    indices = found["train"] + found["test"]
    if not found["train"] or not found["test"] or len(set(indices)) != len(indices):
        raise UsageError(f"{path}: splits of {len(found['train'])} and {len(found['test'])} samples, or one in both")
    if min(indices) < 1 or max(indices) > count:
        raise UsageError(f"{path} names samples {min(indices)} to {max(indices)}, but {own.mat} holds {count}")
    if own.val >= len(found["train"]):
        raise UsageError(f"--val={own.val} leaves none of the {len(found['train'])} training samples; take fewer")
    if not own.val:
        return found
    return {"train": found["train"][: -own.val], "val": found["train"][-own.val :], "test": found["test"]}


def _text(error):
    return " ".join(str(error).split())[:200]


if __name__ == "__main__":
    sys.exit(run_tool(prepare, Options))
