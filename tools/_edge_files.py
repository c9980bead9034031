"""The files that tools/score_edges.py scores: pairs of a predicted and a true map, and how each is read."""

import dataclasses
import os
import pathlib

import _tool  # noqa: F401 (which makes the package importable)
import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays, files, listing, pixels
from mtl_tf.storage.strange import whole

# How the truth is stored.
LINES, CLASSES = "lines", "classes"

ENDINGS = (*listing.LABELS, *arrays.MAPS)  # of the truth


@dataclasses.dataclass(frozen=True)
class Truth:
    """How true files are read.

    Attributes:
        holds: `LINES` or `CLASSES`.
        most: the largest id that a class may have.
    """

    holds: str
    most: int = 65535

    def read(self, path: str) -> np.ndarray:
        """What a file holds, uint8 or uint16 (H, W): a picture, an array of NumPy, or the matrix of a MATLAB file.

        Raises:
            UsageError: it cannot be read, or holds something else.
        """
        if path.lower().endswith(arrays.MAPS):
            expected = "edges or class ids"
            labels = whole(path, arrays.read_map(path, expected), expected).astype(np.uint16)
        else:
            labels = pixels.read_label_codes(path, "edges or class ids in one channel")
        values = set(np.unique(labels).tolist())
        if self.holds == LINES and not (values <= {0, 1} or values <= {0, 255}):
            raise UsageError(
                f"{path}: expected edges as 0 and 1, or 0 and 255, got {len(values)} values up to {max(values)}; of "
                f"class ids say --truth_holds={CLASSES}"
            )
        if self.holds == CLASSES and max(values) > self.most:
            raise UsageError(
                f"{path}: ids up to {max(values)}, of which {self.most} may be one like all others; say by --ignore "
                "which of them is no class, or -1 = none"
            )
        return labels


def read_predicted(path: str) -> np.ndarray:
    """Predicted edges, uint8 (H, W)."""
    expected = "edges in 8-bit grey, 255 times the probability"
    if pixels.palette_of(path):
        raise UsageError(f"{path}: expected {expected}, got a palette picture")
    return pixels.read_codes(path, expected)


def pairs_of(predicted: str, truth: str, names: str, reader: Truth) -> dict[str, tuple[str, str]]:
    """The predicted and the true file by name, in order.

    Args:
        predicted, truth: the folders.
        names: a text file with those that are meant, one a line; "" = all.
        reader: of the true files.

    Raises:
        UsageError: there are none, one has no partner, or the sizes of two differ.
    """
    answered, true = _files_in(predicted, "--predicted", listing.LABELS), _files_in(truth, "--truth", ENDINGS)
    wanted = _names_in(names) if names else sorted({*answered, *true})
    for found, folder in ((answered, predicted), (true, truth)):
        if missing := [name for name in wanted if name not in found]:
            hint = "" if names else "; --names=FILE scores some only"
            raise UsageError(f"{folder} has no {missing[0]} (of {len(missing)} that are missing there){hint}")
    pairs = {name: (answered[name], true[name]) for name in wanted}
    for pair in pairs.values():
        (height, width), (true_height, true_width) = (_size(path, reader) for path in pair)
        if (height, width) != (true_height, true_width):
            raise UsageError(
                f"{pair[0]} has {height}x{width} pixels, its truth {true_height}x{true_width}; predict at the size of "
                "the truth"
            )
    return pairs


def _files_in(folder, flag, endings):
    """The files of a folder by their paths without ending."""
    if not folder:
        raise UsageError(f"{flag}=FOLDER is missing")
    if not files.is_folder(folder):
        raise UsageError(f"{flag}={folder} is no folder")
    found = {}
    for path in listing.look_through(folder, endings).paths:
        name = os.path.splitext(path)[0]
        if name in found:
            raise UsageError(f"{flag}={folder} has two files of one name, {name}; remove one")
        found[name] = files.join(folder, path)
    if not found:
        raise UsageError(f"{flag}={folder} has no pictures ({', '.join(endings)})")
    return found


def _names_in(path):
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--names={path} cannot be read: {getattr(error, 'strerror', error)}") from None
    names = sorted({line.strip() for line in lines if line.strip()})
    if not names:
        raise UsageError(f"--names={path} has no names in it")
    return names


def _size(path, reader):
    """Height and width: of a picture by its header, of other files by all that they hold."""
    size = pixels.size_of(path) if path.lower().endswith(listing.LABELS) else reader.read(path).shape
    if size is None:
        raise UsageError(f"{path}: not a picture, or damaged; replace it")
    return size
