"""Samples in a folder: `<root>/<split>/{rgb,semseg,depth}/<id>.<ext>`. Reads; never writes."""

import contextlib
import os
import pathlib
import re
import struct
import zlib

import numpy as np
from PIL import Image

from mtl_tf.data import codecs
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.errors import UsageError

EXTENSIONS = {"rgb": (".jpg", ".jpeg", ".png"), "semseg": (".png",), "depth": (".png",)}

_LAYOUT = "<root>/<split>/rgb/<id>.jpg, beside it semseg/<id>.png and depth/<id>.png"

# What Pillow raises on damaged files, depending on where the damage is.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class FolderSource:
    """The samples of one split of a folder, in natural numeric order of their ids.

    Attributes:
        ids: the names of the samples.
        labelled: task name -> number of samples that have its label.
    """

    def __init__(self, root: str, split: str, descriptor: Descriptor, tasks: tuple[str, ...], limit: int = 0):
        """Lists the split; reads nothing yet.

        Args:
            root: folder of the data set.
            split: name of one of its splits.
            descriptor: how its files are encoded.
            tasks: the labels to read, of "semseg" and "depth".
            limit: the first so many samples only; 0 = all.

        Raises:
            UsageError: there is no such folder or split, or it holds no images; says what was expected where.
        """
        descriptor.check_has(tasks)
        self.descriptor = descriptor
        self.tasks = tuple(tasks)
        folder = find_split(root, split)
        images = list_files(folder, "rgb")
        if not images:
            raise UsageError(f"{folder / 'rgb'}: no images (.jpg, .jpeg or .png); expected {_LAYOUT}")
        self.ids = sorted(images, key=natural_order)[: limit or None]
        self._files = {"rgb": images} | {task: list_files(folder, task) for task in self.tasks}
        self.labelled = {}
        for task in self.tasks:
            files = self._files[task]
            self.labelled[task] = sum(name in files for name in self.ids)
            if files and not self.labelled[task] and not set(images) & set(files):
                raise UsageError(
                    f"{folder / task}: none of its files belongs to an image: expected {self.ids[0]}.png for "
                    f"rgb/{images[self.ids[0]].name}, found for example {next(iter(files.values())).name}; rename them"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, index: int) -> str:
        """The image file of a sample, for messages."""
        return str(self._files["rgb"][self.ids[index]])

    def read(self, index: int) -> dict[str, np.ndarray]:
        """One sample.

        Returns:
            "image" uint8 (H, W, 3) RGB, and for each task: "semseg" int32 (H, W) class ids or the ignore value;
            "depth" float32 (H, W) metres, 0 = invalid. A label that the sample lacks is all ignore or all 0.

        Raises:
            UsageError: a file cannot be read, is not of the expected kind, or differs from the image in size.
        """
        name = self.ids[index]
        image_path = self._files["rgb"][name]
        sample = {"image": read_rgb(image_path)}
        size = sample["image"].shape[:2]
        for task in self.tasks:
            path = self._files[task].get(name)
            if path is None:
                sample[task] = no_label(task, size, self.descriptor)
                continue
            sample[task] = READERS[task](path, self.descriptor)
            check_size(path, sample[task].shape, image_path, size)
        return sample

    def one_size(self) -> bool:
        """Whether all pictures have the same size, by their headers; unreadable ones are left to `read`."""
        sizes = set()
        for name in self.ids:
            with contextlib.suppress(*_UNREADABLE), Image.open(self._files["rgb"][name]) as image:
                sizes.add(image.size)
        return len(sizes) <= 1


# === Files ===


def read_rgb(path: pathlib.Path) -> np.ndarray:
    """A picture, uint8 (H, W, 3); grey and palette pictures become RGB, transparency is dropped."""
    image = _open(path)
    if image.mode not in ("RGB", "L", "P", "RGBA"):
        raise _wrong_mode(path, image, "an 8-bit RGB picture")
    return np.asarray(image.convert("RGB"))


def read_semseg(path: pathlib.Path, descriptor: Descriptor) -> np.ndarray:
    """Class ids, int32 (H, W); the value of a pixel is its id, in a palette PNG its index."""
    labels = _read_codes(path, "a class id per pixel: an 8-bit grey or palette PNG")
    counts = np.bincount(labels.ravel(), minlength=256)
    allowed = np.zeros(256, bool)
    allowed[: len(descriptor.classes)] = True
    allowed[descriptor.ignore] = True
    wrong = np.flatnonzero((counts > 0) & ~allowed)
    if wrong.size:
        values = ", ".join(map(str, wrong[:5])) + (", ..." if wrong.size > 5 else "")
        raise UsageError(
            f"{path}: label value {values} ({counts[wrong].sum()} pixels) is neither a class "
            f"(0..{len(descriptor.classes) - 1}) nor ignore ({descriptor.ignore}); expected the labels of data set "
            f"{descriptor.name}"
        )
    return labels.astype(np.int32)


def read_depth(path: pathlib.Path, descriptor: Descriptor) -> np.ndarray:
    """Metres, float32 (H, W); 0 = invalid, as is everything outside the range of the data set."""
    low, high = np.float32(descriptor.depth_minimum), np.float32(descriptor.depth_maximum)
    if descriptor.depth_encoding == "inverse_uint8":
        codes = _read_codes(path, "inverse depth in an 8-bit grey PNG")
        metres = codecs.decode_inverse_uint8(codes, descriptor.depth_minimum, descriptor.depth_maximum)
    else:
        image = _open(path)
        if image.mode not in ("I;16", "I;16B", "I"):
            expected = f"depth in steps of {descriptor.depth_scale:g} m in a 16-bit grey PNG"
            raise _wrong_mode(path, image, expected)
        metres = codecs.decode_uint16_scaled(np.asarray(image), descriptor.depth_scale)
    metres[(metres < low) | (metres > high)] = 0.0
    return metres


READERS = {"semseg": read_semseg, "depth": read_depth}


def no_label(task: str, size: tuple[int, int], descriptor: Descriptor) -> np.ndarray:
    """The label map (H, W) of a sample that has none."""
    if task == "semseg":
        return np.full(size, descriptor.ignore, np.int32)
    return np.zeros(size, np.float32)


def check_size(path, size, image_path, image_size):
    """Raises a UsageError unless a label map is as large as its image."""
    if tuple(size) != tuple(image_size):
        raise UsageError(
            f"{path}: {size[1]}x{size[0]} pixels, but its image {image_path.name} is {image_size[1]}x{image_size[0]}; "
            "all files of a sample have one size"
        )


def _read_codes(path, expected):
    image = _open(path)
    # Pillow stretches grey values of 2 and 4 bits to 0..255, which would silently change labels.
    if image.mode not in ("L", "P") or (image.mode == "L" and image.info["stored"] != "L"):
        raise _wrong_mode(path, image, expected)
    return np.array(image)


def _open(path):
    """A decoded picture; `info["stored"]` is how its pixels are stored."""
    try:
        with Image.open(path) as image:
            stored = image.tile[0][3] if image.tile else image.mode
            image.load()
            image.info["stored"] = stored if isinstance(stored, str) else stored[0]
            return image
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it") from None
    except Image.UnidentifiedImageError:
        raise UsageError(f"{path}: not a picture (or damaged at its beginning); replace it") from None
    except _UNREADABLE as error:
        raise UsageError(f"{path}: cannot be decoded ({' '.join(str(error).split())}); replace it") from None


def _wrong_mode(path, image, expected):
    kinds = {"1": "1-bit", "L": "8-bit grey", "P": "palette", "RGB": "RGB", "RGBA": "RGBA", "LA": "grey with alpha"}
    kind = "16-bit grey" if image.mode.startswith("I") else kinds.get(image.mode, f"mode {image.mode}")
    if image.mode == "L" and image.info["stored"] != "L":
        kind = f"grey of less than 8 bits ({image.info['stored']})"
    return UsageError(f"{path}: expected {expected}, got a {kind} picture")


# === Folders ===


def natural_order(name: str) -> tuple:
    """Sort key in which 10 stands after 9: runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part)


def splits_in(folder: str | pathlib.Path) -> list[str]:
    """The names of the splits (folders with pictures) in a folder."""
    try:
        return sorted(entry.name for entry in pathlib.Path(folder).iterdir() if (entry / "rgb").is_dir())
    except OSError:
        return []


def find_split(root: str, split: str) -> pathlib.Path:
    """The folder of a split.

    Raises:
        UsageError: it is not there; guesses where it is when the root is one level too high or too low.
    """
    if not root:
        raise UsageError(f"this data set needs --data.root=FOLDER; expected {_LAYOUT}")
    folder = pathlib.Path(root)
    if not folder.exists():
        raise UsageError(f"--data.root={root}: no such folder; expected {_LAYOUT}")
    if not folder.is_dir():
        raise UsageError(f"--data.root={root} is a file; expected the folder of a data set: {_LAYOUT}")
    if split and (folder / split / "rgb").is_dir():
        return folder / split
    there = splits_in(folder)
    if there:
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(there)}")
    if (folder / "rgb").is_dir():
        hint = f"{root} is a split itself: did you mean --data.root={folder.absolute().parent}?"
    else:
        below = [entry for entry in sorted(folder.iterdir()) if splits_in(entry)]
        below.sort(key=lambda entry: split not in splits_in(entry))
        hint = f"did you mean --data.root={below[0]}?" if below else f"it has {_shown(folder)}"
    raise UsageError(f"--data.root={root}: no split {split!r} in it, expected {_LAYOUT}; {hint}")


def _shown(folder):
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def list_files(folder: pathlib.Path, modality: str) -> dict[str, pathlib.Path]:
    """Id -> file of one modality ("rgb", "semseg", "depth") of a split; empty where the folder is missing.

    Raises:
        UsageError: two files have one id, or the folder cannot be listed.
    """
    found: dict[str, pathlib.Path] = {}
    try:
        entries = sorted(os.listdir(folder / modality))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot list {folder / modality}: {error.strerror}") from None
    for entry in entries:
        name, extension = os.path.splitext(entry)
        if entry.startswith(".") or extension.lower() not in EXTENSIONS[modality]:
            continue
        if name in found:
            raise UsageError(f"{folder / modality}: {found[name].name} and {entry} have one id; remove one of them")
        found[name] = folder / modality / entry
    return found
