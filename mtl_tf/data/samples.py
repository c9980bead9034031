"""A source of samples that lie in files: which there are, and how the label of each task is read. Never writes."""

import functools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mtl_tf.data import codecs, files
from mtl_tf.data.descriptors import DEPTH_CODES, Descriptor
from mtl_tf.data.labels import read_labels
from mtl_tf.data.listing import NO_IMAGE, PassedOver
from mtl_tf.data.pixels import read_codes, read_rgb, read_uint16, size_of
from mtl_tf.data.source import Source, watch_nothing
from mtl_tf.data.windows import Choose, cut
from mtl_tf.errors import UsageError
from mtl_tf.tasks import DEPTH_UNITS


def read_semseg(path: str, descriptor: Descriptor, window: Choose | None = None) -> np.ndarray:
    """Class ids, int32 (H, W), as the descriptor says that they are stored; see `labels.read_labels`.

    Args:
        path: of the file; all of it is checked.
        descriptor: of the data set.
        window: from its size to the part that is wanted, `ignore` outside; None = all.
    """
    labels = read_labels(path, descriptor)
    return cut(labels, window and window(labels.shape), descriptor.ignore)


def read_depth(path: str, descriptor: Descriptor, window: Choose | None = None) -> np.ndarray:
    """Metres, float32 (H, W); 0 = invalid, as is everything outside the range of the data set.

    Args:
        path: of the file.
        descriptor: of the data set.
        window: from its size to the part that is wanted, 0 outside; None = all.
    """
    return depth_table(descriptor).take(read_depth_codes(path, descriptor, window))


def read_depth_codes(path: str, descriptor: Descriptor, window: Choose | None = None) -> np.ndarray:
    """The stored values of a depth file, uint8 or uint16 (H, W); for `window` see `read_depth`."""
    if descriptor.depth_encoding == "inverse_uint8":
        return read_codes(path, "inverse depth in an 8-bit grey PNG", window)
    expected = f"depth in steps of {descriptor.depth_scale:g} m in"
    if descriptor.depth_encoding == "uint8_scaled":
        return read_codes(path, f"{expected} an 8-bit grey PNG", window)
    return read_uint16(path, f"{expected} a 16-bit grey PNG", window)


@functools.lru_cache(maxsize=8)
def depth_table(descriptor: Descriptor) -> np.ndarray:
    """The metres, float32, of every stored value; 0 where it means no measurement or lies outside the range."""
    return within_range(stored_metres(descriptor), descriptor)


def stored_metres(descriptor: Descriptor) -> np.ndarray:
    """The metres, float32, of every stored value, whether in range or not; 0 where it means no measurement."""
    every = np.arange(DEPTH_CODES[descriptor.depth_encoding])
    if descriptor.depth_encoding == "inverse_uint8":
        metres = codecs.decode_inverse_uint8(every, descriptor.depth_minimum, descriptor.depth_maximum)
    else:
        metres = codecs.decode_uint16_scaled(every, descriptor.depth_scale)
    metres[list(descriptor.depth_invalid)] = 0.0
    return metres


def within_range(metres: np.ndarray, descriptor: Descriptor) -> np.ndarray:
    """The same depth, float32 metres; 0 what lies outside the range of the data set."""
    low, high = np.float32(descriptor.depth_minimum), np.float32(descriptor.depth_maximum)
    return np.where((metres >= low) & (metres <= high), metres, np.float32(0.0))


def read_image(path: str, descriptor: Descriptor, window: Choose | None = None) -> np.ndarray:
    """A picture, uint8 (H, W, 3); black outside of it, where a window reaches there."""
    return read_rgb(path, window)


READERS: dict[str, Callable] = {"rgb": read_image, "semseg": read_semseg, "depth": read_depth}
_TAKING_WINDOWS = (read_image, read_semseg, read_depth)


class FileSource(Source):
    """The samples of one split, in natural numeric order of their ids.

    Attributes:
        files: "rgb" and task name -> id -> file; also those that belong to no sample.
        passed_over: the files that are not read, labels that belong to no picture too.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        tasks: tuple[str, ...],
        found: Mapping[str, Mapping[str, str]],
        readers: Mapping[str, Callable] | None = None,
        limit: int = 0,
        where: Mapping[str, str] | None = None,
        passed_over: Iterable[PassedOver] = (),
    ):
        """Reads nothing yet.

        Args:
            descriptor: of the data set.
            tasks: the labels to read, of "semseg" and "depth".
            found: "rgb" and task name -> id -> file. There is at least one picture; a label may lack.
            readers: task name -> function (file, descriptor) that reads its label; None = the project's own encodings.
            limit: the first so many samples only; 0 = all.
            where: task name -> what to do to get its labels; None = put them into folders, as the project's layout has.
            passed_over: the files that are in none of them.

        Raises:
            UsageError: the data set has no such labels, or none of its labels belongs to a picture.
        """
        descriptor.check_has(tasks)
        self.descriptor = descriptor
        self.tasks = tuple(tasks)
        self.files = {"rgb": dict(found.get("rgb", {}))}
        self.files |= {task: by_image(found.get(task, {}), self.files["rgb"]) for task in self.tasks}
        self.readers = READERS | dict(readers or {})
        self.where = {task: f"put the labels into its folder {task}" for task in self.tasks} | dict(where or {})
        self._limit = limit
        images = self.files["rgb"]
        self.ids = sorted(images, key=natural_order)[: limit or None]
        self.labelled, self.passed_over = {}, list(passed_over)
        for task in self.tasks:
            labels = self.files[task]
            self.labelled[task] = sum(name in labels for name in self.ids)
            self.passed_over += without_image(labels, images)
            demand_partners(images, labels, where and where[task])

    def path(self, index: int) -> str:
        return self.files["rgb"][self.ids[index]]

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        name = self.ids[index]
        paths = {modality: present[name] for modality, present in self.files.items() if name in present}
        return read_sample(paths, self.tasks, self.readers, self.descriptor, window)

    def has(self, task: str, index: int) -> bool:
        return self.ids[index] in self.files[task]

    def label_file(self, task: str, index: int) -> str | None:
        return self._own_file(task, self.ids[index])

    def _own_file(self, modality, name):
        return self.files[modality][name] if self.readers[modality] in _TAKING_WINDOWS else None

    def sizes(self, index: int) -> dict[str, int]:
        name = self.ids[index]
        return {modality: files.size(there[name]) for modality, there in self.files.items() if name in there}

    def size(self, index: int) -> tuple[int, int] | None:
        return size_of(self.path(index))  # by its header

    @property
    def own_encodings(self) -> bool:
        """Whether all files are read by the descriptor alone, as the project's own layout is."""
        return all(self.readers[modality] in _TAKING_WINDOWS for modality in self.files)

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        names = sorted(set().union(*self.files.values()), key=natural_order)[: self._limit or None]
        return [(name, lambda watch=watch_nothing, name=name: self._faults_of(name, watch)) for name in names]

    def _faults_of(self, name, watch):
        texts, sizes = [], {}
        for modality, present in self.files.items():
            if name not in present:
                if modality == "rgb":
                    label = next(labels[name] for labels in self.files.values() if name in labels)
                    texts.append(f"{label}: a label without an image; add the image, or remove the label")
                elif present:
                    image = self.files["rgb"].get(name, name)
                    texts.append(f"{image}: no {modality} label, though other samples of the split have one")
                continue
            path = present[name]
            try:
                pixels = self.readers[modality](path, self.descriptor)
            except UsageError as error:
                texts.append(str(error))
                continue
            sizes[modality] = pixels.shape[:2]
            texts += emptiness(path, modality, pixels, self.descriptor)
            watch(modality, path, pixels, self._own_file(modality, name))
        for modality in sizes.keys() - {"rgb"}:
            if "rgb" in sizes:
                try:
                    check_size(self.files[modality][name], sizes[modality], self.files["rgb"][name], sizes["rgb"])
                except UsageError as error:
                    texts.append(str(error))
        return texts


def read_sample(
    paths: Mapping[str, str],
    tasks: tuple[str, ...],
    readers: Mapping[str, Callable],
    descriptor: Descriptor,
    window: Choose | None = None,
) -> dict[str, np.ndarray]:
    """One sample from its files: see `Source.read`.

    Args:
        paths: "rgb" and task name -> file; a label may lack.
        tasks: the labels to read.
        readers: "rgb" and task name -> reader.
        descriptor: of the data set.
        window: from the height and width of the picture to the part that is wanted; None = all of it.
    """
    size, chosen = None, None

    def of_image(found):
        nonlocal size, chosen
        size, chosen = found, window(found) if window else None
        return chosen

    def read(modality, window):
        reader = readers[modality]
        if reader in _TAKING_WINDOWS:
            return reader(paths[modality], descriptor, window)
        pixels = reader(paths[modality], descriptor)
        return cut(pixels, window(pixels.shape[:2]), descriptor.ignore if modality == "semseg" else 0)

    sample = {"image": read("rgb", of_image)}
    for task in tasks:
        if task not in paths:
            sample[task] = no_label(task, sample["image"].shape[:2], descriptor)
            continue

        def of_label(found, path=paths[task]):
            check_size(path, found, paths["rgb"], size)
            return chosen

        sample[task] = read(task, of_label)
    return sample


def emptiness(path: str, modality: str, pixels: np.ndarray, descriptor: Descriptor) -> list[str]:
    """What is wrong with a label map of which no pixel is labelled; nothing with any other."""
    if modality == "depth" and not (pixels > 0).any():
        unit = DEPTH_UNITS[descriptor.depth_unit].symbol
        return [
            f"{path}: no pixel has a valid depth ({descriptor.depth_minimum:g}..{descriptor.depth_maximum:g}{unit})"
        ]
    if modality == "semseg" and (pixels == descriptor.ignore).all():
        return [f"{path}: no pixel has a class; all are ignore ({descriptor.ignore})"]
    return []


def no_label(task: str, size: tuple[int, int], descriptor: Descriptor) -> np.ndarray:
    """The label map (H, W) of a sample that has none."""
    if task == "semseg":
        return np.full(size, descriptor.ignore, np.int32)
    return np.zeros(size, np.float32)


def check_size(path, size, image_path, image_size):
    """Raises a UsageError unless a label map is as large as its image."""
    if tuple(size) != tuple(image_size):
        raise UsageError(
            f"{path}: {size[1]}x{size[0]} pixels, but its image {files.name_of(image_path)} is "
            f"{image_size[1]}x{image_size[0]}; all files of a sample have one size"
        )


def natural_order(name: str) -> tuple:
    """Sort key in which 10 stands after 9: runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), part) if _is_number(part) else (1, 0, part) for part in parts if part)


def _is_number(part):
    """Whether int() reads it: digits of any script, but no superscripts, and not thousands of them."""
    return part.isdecimal() and len(part) < 1000


def by_image(labels: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    """Labels by the names of their images: one may be composed and the other decomposed, as Macs write names."""
    if labels.keys() <= images.keys():
        return dict(labels)
    found = {name: path for name, path in labels.items() if name in images}
    spelt = {unicodedata.normalize("NFC", name): name for name in images}
    for name, path in labels.items():
        image = spelt.get(unicodedata.normalize("NFC", name), name)
        found.setdefault(name if image in labels else image, path)
    return found


def without_image(labels: Mapping[str, str], images: Mapping[str, str]) -> list[PassedOver]:
    """The labels that belong to no picture; both are id -> file."""
    return [PassedOver(path, NO_IMAGE) for name, path in labels.items() if name not in images]


def demand_partners(images: Mapping[str, str], labels: Mapping[str, str], where: str | None = None) -> None:
    """Raises a UsageError if none of the labels belongs to a picture; both are id -> file, `where` what to do then."""
    if not labels or not images or not images.keys().isdisjoint(labels):
        return
    name, path = min(images.items(), key=lambda image: natural_order(image[0]))
    label = next(iter(labels.values()))
    image = name + os.path.splitext(path)[1]
    told = f"expected {name}.png for rgb/{image}, found for example {files.name_of(label)}; rename them"
    if where:
        told = f"the first image is {image}, a label {files.name_of(label)}; {where} again, whole"
    raise UsageError(f"{files.folder_of(label)}: none of its files belongs to an image: {told}")
