"""How a packed data set lies on disk: a folder a split, with shards of records, an index to them, and a manifest.

`<root>/packed.json` says what the records hold, `<root>/dataset.json` is the descriptor. In `<root>/<split>`:
`00000.tfrecord`, `00001.tfrecord`, ... with the same number of samples each but for the last; `index.npy`, an array of
`ENTRY`, a row a sample; `names.txt`, the ids; `manifest.json`, the number of samples and the sha256 of all these.
Index and names are mapped into memory where they are local, so that a split of millions of samples costs little.
"""

import hashlib
import io
import mmap
from collections.abc import Sequence

import numpy as np

from mtl_tf.data import records
from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.storage import files

MARK, MANIFEST, INDEX, NAMES = "packed.json", "manifest.json", "index.npy", "names.txt"
FORMAT = 1

# What a record holds: a sample as its original files, or decoded; or one file of the data set ("tree", in which case
# all files of the data set are in the folder `TREE`, and its own reader finds the samples among them).
CONTENTS = ("files", "pixels", "tree")
TREE = "files"

# Where a record starts in its shard and how long it is, and where the id starts in names.txt, bytes; the size of the
# picture (0 where it cannot be read), pixels; bit i of `labels`: it has the label of task i of "tasks" in packed.json.
ENTRY = np.dtype(
    [("start", "<u8"), ("length", "<u8"), ("name", "<u8"), ("height", "<u4"), ("width", "<u4"), ("labels", "<u8")]
)
OLD_TASKS = ("semseg", "depth")  # where packed.json does not say


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"{number:05d}.tfrecord"


def read_mark(root: str) -> dict:
    """What packed.json says: "format", "content" (one of `CONTENTS`), "data" (the name of the data set), "tasks".

    Raises:
        UsageError: it is missing or wrong.
    """
    path = files.join(root, MARK)
    mark = _read_json(
        path, "a packed data set has it; --data.root=FOLDER is what tools/pack_dataset.py --output=FOLDER wrote"
    )
    if mark.get("format") != FORMAT or mark.get("content") not in CONTENTS:
        raise UsageError(f'{path}: expected "format": {FORMAT} and "content"; pack the data set again')
    return {"tasks": OLD_TASKS, **mark}


class Ids(Sequence):
    """The names of samples, each made when it is asked for."""

    def __init__(self, text, starts: np.ndarray, count: int):
        """`starts`: of all names in `text`, UTF-8 with a newline after each; the first `count` are meant."""
        self._text, self._starts, self._count = text, starts, count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index = index % len(self)
        end = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._text)
        return files.from_bytes(self._text[int(self._starts[index]) : int(end) - 1])

    def __eq__(self, other):
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))


class Files:
    """The files in the records of a split, as a `files.Tree`."""

    def __init__(self, split: "Split"):
        self._split, self._places, self._folders = split, {}, {"": set()}
        for place, path in enumerate(split.ids):
            self._places[path] = place
            while path:
                path, _, name = path.rpartition("/")
                names = self._folders.setdefault(path, set())
                if name in names:
                    break
                names.add(name)
        self._folders = {path: sorted(names) for path, names in self._folders.items()}

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        return bytes(self._split.features(self._places[path])["content"])

    def listing(self, path: str) -> list[str] | None:
        """The names in a folder; None where there is none."""
        names = self._folders.get(path)
        return None if names is None else list(names)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._places


class Split:
    """Random access to the records of a split.

    Attributes:
        folder: of the split.
        manifest: what manifest.json says.
        index: array of `ENTRY`.
        ids: the names of the samples.
    """

    def __init__(self, root: str, split: str, limit: int = 0):
        """Reads manifest, index and names.

        Args:
            root: of the packed data set.
            split: its name.
            limit: the first so many samples only; 0 = all.

        Raises:
            UsageError: one of them is missing, damaged or does not belong to the others.
        """
        self.folder = files.join(root, split)
        path = files.join(self.folder, MANIFEST)
        self.manifest = _read_json(
            path, "the split is not there, or its packing has not ended: run the same tools/pack_dataset.py again"
        )
        try:
            self.per_shard = int(self.manifest["shard_samples"])
            counts = [int(shard["samples"]) for shard in self.manifest["shards"]]
            names = [str(shard["file"]) for shard in self.manifest["shards"]]
            sums = {name: self.manifest["sha256"][name] for name in (INDEX, NAMES)}
            count = int(self.manifest["samples"])
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{path}: not a manifest of a packed split; copy it again") from None
        index, text = (self._mapped(name, sums[name]) for name in (INDEX, NAMES))
        self.index = np.load(io.BytesIO(index)) if isinstance(index, bytes) else np.load(index, mmap_mode="r")
        fits = count == len(self.index) > 0 and self.per_shard > 0
        if fits:
            expected = [min(self.per_shard, count - start) for start in range(0, count, self.per_shard)]
            fits = counts == expected and names == [shard_name(number) for number in range(len(names))]
        if not fits:
            raise UsageError(f"{path}: its numbers do not fit each other or {INDEX}; copy the split again")
        self.ids = Ids(text, self.index["name"], min(count, limit or count))
        self.index = self.index[: len(self.ids)]

    def __len__(self) -> int:
        return len(self.ids)

    def _mapped(self, name, expected):
        """A file: its path (index) or a map of it (names) where it is local, else its bytes."""
        path = files.join(self.folder, name)
        try:
            if files.is_remote(path):
                content = files.read(path)
                found, result = hashlib.sha256(content).hexdigest(), content
            else:
                with open(path, "rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                    result = path if name == INDEX else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if found != expected:
            raise UsageError(f"{path}: does not belong to {MANIFEST} beside it, or is damaged; copy the split again")
        return result

    def path(self, index: int) -> str:
        """Shard and name of a sample, for messages."""
        return f"{files.join(self.folder, shard_name(index // self.per_shard))}, sample {self.ids[index]}"

    def features(self, index: int) -> dict:
        """The features of a sample's record; see `records.decode`.

        Raises:
            UsageError: the shard is missing, the record damaged or that of another sample.
        """
        start, length = int(self.index["start"][index]), int(self.index["length"][index])
        shard = files.join(self.folder, shard_name(index // self.per_shard))
        try:
            features = records.decode(records.payload_of(files.read_range(shard, start, length)))
            name = files.from_bytes(features["id"])
        except OSError as error:
            what = (
                "the shard is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            )
            raise UsageError(f"{self.path(index)}: {what}; copy it again, or go round it (--data.skip_bad)") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.path(index)}: {error}; copy the shard again, or go round the sample (--data.skip_bad)"
            ) from None
        if name != self.ids[index]:
            raise UsageError(
                f"{self.path(index)}: the shard has sample {name} there; it is not the one that {MANIFEST} is about: "
                "copy the split again"
            )
        return features


def _read_json(path, hint):
    try:
        found = parse_json(files.read(path).decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}; {hint}") from None
    except ValueError:
        raise UsageError(f"{path}: not JSON; copy it again") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: expected a JSON object; copy it again")
    return found
