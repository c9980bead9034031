"""A data set that tools/pack_dataset.py has packed into shards: any other one, sample for sample the same."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from mtl_tf.config import DATA_SETS
from mtl_tf.data import descriptors, samples, shards
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.folder import instead_of
from mtl_tf.data.sets.roots import find_root
from mtl_tf.data.source import Source, watch_nothing
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.windows import Choose, cut
from mtl_tf.surfaces import Intrinsics

_LAYOUT = f"{shards.MARK}, {descriptors.FILE_NAME} and a folder of shards a split, as tools/pack_dataset.py writes them"


class PackedSource(Source):
    """The samples of a packed split, in the order of the data set that was packed; what that passed over was not.

    Attributes:
        split: the records.
    """

    def __init__(self, root: str, mark: dict, split: str, tasks, descriptor: Descriptor, limit: int = 0):
        descriptor.check_has(tasks)
        self.content, labelled = mark["content"], mark["tasks"]
        self.split = shards.Split(root, split, limit)
        self.tasks, self.descriptor = tuple(tasks), descriptor
        self.ids = self.split.ids
        self._bits = {task: 1 << bit for bit, task in enumerate(labelled)}
        has = self.split.index["labels"]
        self.labelled = {task: int(np.count_nonzero(has & self._bits.get(task, 0))) for task in self.tasks}
        self.where = dict.fromkeys(self.tasks, "add the labels to the data set and pack it again")

    def path(self, index: int) -> str:
        return self.split.path(index)

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        features = self.split.features(index)
        if "fault" in features:
            raise UsageError(f"{self.path(index)}: {files.from_bytes(features['fault'])}")
        try:
            if self.content == "files":
                paths = packed_files(features, f"{self.path(index)}, ")
                return samples.read_sample(paths, self.tasks, {}, self.descriptor, window)
            return unpack_pixels(features, self.tasks, self.descriptor, window)
        except (LookupError, ValueError, TypeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.path(index)}: the record is no sample of this data set; pack it again") from None

    def has(self, task: str, index: int) -> bool:
        return bool(self.split.index["labels"][index] & self._bits.get(task, 0))

    def label_file(self, task: str, index: int) -> str | None:
        try:
            found = packed_files(self.split.features(index), f"{self.path(index)}, ") if self.content == "files" else {}
        except UsageError:
            return None
        return found.get(task)

    def camera(self, index: int) -> Intrinsics | None:
        return unpack_camera(self.split.features(index))

    def sizes(self, index: int) -> dict[str, int]:
        return {"record": int(self.split.index["length"][index])}

    def size(self, index: int) -> tuple[int, int] | None:
        height, width = (int(self.split.index[side][index]) for side in ("height", "width"))
        return (height, width) if height else None

    def one_size(self) -> bool:
        size = self.split.index["height"].astype(np.uint64) << 32 | self.split.index["width"]
        return len(np.unique(size[size > 0])) <= 1

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        return [(name, functools.partial(self._faults_of, index)) for index, name in enumerate(self.ids)]

    def _faults_of(self, index, watch=watch_nothing):
        try:
            sample = self.read(index)
        except UsageError as error:
            return [str(error)]
        texts = []
        watch("rgb", self.path(index), sample["image"], None)
        for task in self.tasks:
            if self.has(task, index):
                if task not in self.descriptor.may_be_blank:
                    texts += self.descriptor[task].emptiness(self.path(index), sample[task])
                watch(task, self.path(index), sample[task], self.label_file(task, index))
            elif self.labelled[task]:
                texts.append(f"{self.path(index)}: no {task} label, though other samples of the split have one")
        return texts


def packed_files(features: dict, before: str = "") -> dict[str, files.InMemory]:
    """The original files in a record, by `FileSource.all_files`; their paths are those below the data set's folder.

    Args:
        features: of the record.
        before: is put before the paths.
    """
    names = [name.removesuffix("/path") for name in features if name.endswith("/path")]
    found = {
        name: files.InMemory(before + files.from_bytes(features[f"{name}/path"]), bytes(features[name]))
        for name in names
    }
    for name, file in found.items():
        task, _, end = name.partition("/beside/")
        if end and task in found:
            found[task].others[end] = file
    return found


# === Decoded samples ===


def pack_pixels(sample: dict[str, np.ndarray], labelled: tuple[str, ...], blanks: Mapping[str, float]) -> dict:
    """The features of a decoded sample, from which `unpack_pixels` makes the same again, bit for bit.

    Args:
        sample: as `Source.read` gives it.
        labelled: the tasks whose labels it has.
        blanks: task name -> value of a pixel without a label.
    """
    image = sample["image"]
    features = {"height": image.shape[0], "width": image.shape[1], "rgb": image.tobytes()}
    for task in labelled:
        features |= _pack(task, sample[task], blanks[task])
    return features


def unpack_pixels(features, tasks, descriptor: Descriptor, window: Choose | None = None) -> dict[str, np.ndarray]:
    """The sample, or a window of it; a label that is not in the features has no labelled pixel."""
    size = features["height"], features["width"]
    chosen = window(size) if window else None
    sample = {"image": cut(np.frombuffer(features["rgb"], np.uint8).reshape(*size, 3), chosen)}
    for task in tasks:
        labels = descriptor[task]
        if task not in features:
            sample[task] = labels.empty(sample["image"].shape[:2])
        else:
            sample[task] = _unpack(features, task, (*size, *labels.shape), labels, chosen)
    return sample


_CAMERA = "rgb/camera"


def pack_camera(camera: Intrinsics | None) -> dict:
    """The feature of a picture's own camera; none where there is none."""
    return {_CAMERA: np.array([*camera[:4], *camera.size], "<f8").tobytes()} if camera else {}


def unpack_camera(features) -> Intrinsics | None:
    """What `pack_camera` was given."""
    if _CAMERA not in features:
        return None
    *focal_and_centre, height, width = np.frombuffer(features[_CAMERA], "<f8").tolist()
    return Intrinsics(*focal_and_centre, (int(height), int(width)))


def _pack(name, label, blank):
    """The features of a label map, each number in as few bytes as it takes.

    One that is not whole becomes its place in a table of all that occur, unless there are more than two bytes can tell.
    """
    if np.issubdtype(label.dtype, np.integer):
        every = np.append(label.ravel(), np.array(blank, label.dtype))  # the blank fills what lies outside of a picture
        kind = next(k for k in ("<u1", "<u2", label.dtype) if (every.astype(k) == every).all())
        return {name: label.astype(kind).tobytes()}
    # As whole numbers, so that every bit counts. The blank comes first and fills what lies outside of a picture.
    bits = label.astype("<f4").view("<u4")
    first = np.array([blank], "<f4").view("<u4")
    table, places = np.unique(bits, return_inverse=True)
    if len(table) > 65535:
        return {name: bits.tobytes()}
    kind = "<u1" if len(table) < 256 else "<u2"
    return {name: (places + 1).astype(kind).tobytes(), f"{name}/table": np.concatenate([first, table]).tobytes()}


def _unpack(features, name, shape, labels, window):
    """The label map of `_pack`, or a window of it."""
    if f"{name}/table" in features:
        table = np.frombuffer(features[f"{name}/table"], "<f4")
        places = np.frombuffer(features[name], "<u1" if len(table) <= 256 else "<u2").reshape(shape)
        return table.take(cut(places, window))
    if np.issubdtype(labels.dtype, np.integer):
        kind = f"<u{len(features[name]) // math.prod(shape)}"
        return cut(np.frombuffer(features[name], kind).reshape(shape), window, labels.blank).astype(labels.dtype)
    return cut(np.frombuffer(features[name], "<f4").reshape(shape), window, labels.blank)


# === The data set ===


def _find(data):
    root = find_root(data, _LAYOUT)
    return root, shards.read_mark(root)


@functools.lru_cache(maxsize=4)
def _mount(root):
    return files.mount(root, shards.Files(shards.Split(root, shards.TREE)))


def _original(data, root, mark):
    """The data set whose files are packed as they are, and its options."""
    if str(mark.get("data")) not in DATA_SETS:
        raise UsageError(
            f"{files.join(root, shards.MARK)}: data set {mark.get('data')!r} is not known here; unpack it "
            "(tools/pack_dataset.py --unpack) and give its name"
        )
    return DATA_SETS[mark["data"]], dataclasses.replace(data, name=mark["data"], root=_mount(root))


def _splits(data):
    root, mark = _find(data)
    if mark["content"] == "tree":
        original, options = _original(data, root, mark)
        return original.splits(options)
    return [name for name in files.listing(root) if files.is_file(files.join(root, name, shards.MANIFEST))]


def _open(config, split, descriptor):
    root, mark = _find(config.data)
    if mark["content"] == "tree":
        original, options = _original(config.data, root, mark)
        return original.open(dataclasses.replace(config, data=options), split, descriptor)
    there = _splits(config.data)
    if split not in there and not files.is_folder(files.join(root, split)):
        told = f"{', '.join(there) or 'none'}{instead_of(config.data, split)}"
        raise UsageError(f"{root} has no split {split!r}; it has {told}")
    return PackedSource(root, mark, split, config.tasks, descriptor, config.data.limit)


DATA_SET = DataSet(lambda data: descriptors.read(_find(data)[0]), _splits, _open)
