"""A source of samples that lie in files: which there are, and how the label of each task is read. Never writes."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mtl_tf.data import file_names
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Source, watch_nothing
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.listing import NO_IMAGE, PassedOver
from mtl_tf.storage.pixels import read_part, read_rgb, size_of
from mtl_tf.storage.windows import Choose, Part, cut
from mtl_tf.surfaces import Intrinsics


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
        camera: Callable[[str], Intrinsics | None] | None = None,
    ):
        """Reads nothing yet.

        Args:
            descriptor: of the data set.
            tasks: the labels to read.
            found: "rgb" and task name -> id -> file. There is at least one picture; a label may lack.
            readers: task name -> function (file, labels of the descriptor) that reads a label map, of the tasks that
                are not in one of the project's own encodings.
            limit: the first so many samples only; 0 = all.
            where: task name -> what to do to get its labels; None = put them into folders, as the project's layout has.
            passed_over: the files that are in none of them.
            camera: from an id to the camera of its picture, where they have their own.

        Raises:
            UsageError: the data set has no such labels, or none of its labels belongs to a picture.
        """
        descriptor.check_has(tasks)
        self.descriptor = descriptor
        self.tasks = tuple(tasks)
        self.files = {"rgb": dict(found.get("rgb", {}))}
        self.files |= {task: by_image(found.get(task, {}), self.files["rgb"]) for task in self.tasks}
        self.readers = dict(readers or {})
        self.where = {task: f"put the labels into its folder {task}" for task in self.tasks} | dict(where or {})
        self._limit, self._camera = limit, camera
        images = self.files["rgb"]
        self.ids = sorted(images, key=natural_order)[: limit or None]
        self.labelled, self.passed_over = {}, list(passed_over)
        for task in self.tasks:
            labels = self.files[task]
            self.labelled[task] = sum(name in labels for name in self.ids)
            self.passed_over += without_image(labels, images)
            demand_partners(images, labels, task, where and where.get(task))

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

    def camera(self, index: int) -> Intrinsics | None:
        return self._camera(self.ids[index]) if self._camera else None

    def _own_file(self, modality, name):
        return self.files[modality][name] if modality not in self.readers else None

    def sizes(self, index: int) -> dict[str, int]:
        return {part: files.size(path) for part, path in self.all_files(self.ids[index]).items()}

    def all_files(self, name: str) -> dict[str, str]:
        """The files of a sample: "rgb", task names, and TASK/beside/END of those that are read with a label file."""
        found = {modality: there[name] for modality, there in self.files.items() if name in there}
        labels = {task: path for task, path in found.items() if task in self.tasks}
        ends = {task: self.descriptor[task].beside for task in labels}
        return found | {f"{t}/beside/{end}": files.beside(path, end) for t, path in labels.items() for end in ends[t]}

    def size(self, index: int) -> tuple[int, int] | None:
        return size_of(self.path(index))  # by its header

    @property
    def own_encodings(self) -> bool:
        """Whether all files are read by the descriptor alone, as the project's own layout is."""
        return not any(modality in self.readers for modality in self.files)

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        names = sorted(set().union(*self.files.values()), key=natural_order)[: self._limit or None]
        return [(name, lambda watch=watch_nothing, name=name: self._faults_of(name, watch)) for name in names]

    def _pixels(self, path, modality):
        return read_rgb(path) if modality == "rgb" else read_label(path, modality, self.readers, self.descriptor)

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
                pixels = self._pixels(path, modality)
            except UsageError as error:
                texts.append(str(error))
                continue
            sizes[modality] = pixels.shape[:2]
            if modality not in ("rgb", *self.descriptor.may_be_blank):
                texts += self.descriptor[modality].emptiness(path, pixels)
            watch(modality, path, pixels, self._own_file(modality, name))
        for modality in sizes.keys() - {"rgb"}:
            if "rgb" in sizes:
                try:
                    Part(self.files["rgb"][name], sizes["rgb"]).of(self.files[modality][name], sizes[modality])
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
        readers: see `FileSource`.
        descriptor: of the data set.
        window: from the height and width of the picture to the part that is wanted; None = all of it.
    """
    image, part = read_part(paths["rgb"], window)
    sample = {"image": image}
    for task in tasks:
        if task in paths:
            sample[task] = read_label(paths[task], task, readers, descriptor, part)
        else:
            sample[task] = descriptor[task].empty(image.shape[:2])
    return sample


def read_label(
    path: str, task: str, readers: Mapping[str, Callable], descriptor: Descriptor, part: Part | None = None
) -> np.ndarray:
    """A label map (H, W) of a task, or a part of it; see `Labels.read`.

    Args:
        path: of its file.
        task: its name.
        readers: see `FileSource`.
        descriptor: of the data set.
        part: of its picture that is wanted; None = all.
    """
    labels = descriptor[task]
    if task not in readers:
        return labels.read(path, part)
    pixels = readers[task](path, labels)
    return cut(pixels, part and part.of(path, pixels.shape[:2]), labels.blank)


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


def demand_partners(images: Mapping[str, str], labels: Mapping[str, str], task: str, where: str | None = None) -> None:
    """Raises a UsageError if none of the labels of a task belongs to a picture.

    Args:
        images, labels: id -> file.
        task: its name.
        where: what to do then; None = rename them, or say how they are called.
    """
    if not labels or not images or not images.keys().isdisjoint(labels):
        return
    name, path = min(images.items(), key=lambda image: natural_order(image[0]))
    label = next(iter(labels.values()))
    image = name + os.path.splitext(path)[1]
    entry = file_names.told(task, images, labels)
    told = f"expected {name}.png for rgb/{image}, found for example {files.name_of(label)}; "
    told += f"write {entry} into dataset.json, which reads them so" if entry else "rename them"
    if where:
        told = f"the first image is {image}, a label {files.name_of(label)}; {where} again, whole"
    raise UsageError(f"{files.folder_of(label)}: none of its files belongs to an image: {told}")
