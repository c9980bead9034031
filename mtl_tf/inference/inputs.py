"""What is predicted: pictures by a file, folder or glob, or a split of the run's data set; and what is passed over."""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mtl_tf.config import Config
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.storage import listing
from mtl_tf.storage.listing import PICTURES, PassedOver
from mtl_tf.storage.pixels import read_rgb
from mtl_tf.training.trained_run import is_export


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The pictures.

    Attributes:
        what: they are, in words that differ for other inputs.
        names: of their predictions, without suffix.
        read: from a position in `names` to the picture, uint8 (H, W, 3).
        paths: their files; none of a split.
        told: a line about files that are passed over; "" where there are none.
    """

    what: str
    names: Sequence[str]
    read: Callable[[int], np.ndarray]
    paths: Sequence[pathlib.Path] = ()
    told: str = ""


def inputs_of(config: Config) -> Inputs:
    """The pictures that `input` names, or those of `data.split`.

    Raises:
        UsageError: there are none.
    """
    if not config.input:
        if is_export(pathlib.Path(config.run_dir)):
            raise UsageError("--input=PICTURE, FOLDER or GLOB is missing: an export has no data set of its own")
        split = config.data.split
        source = open_split(config, split, read_descriptor(config.run_dir))
        what = f"split {split} of {config.data.name} {os.path.abspath(config.data.root)}"
        told = listing.told_of(source, split)
        return Inputs(what, source.ids, lambda position: source.read(position)["image"], told=told)
    paths, told = _files(config.input)
    names = _names(paths)
    return Inputs(os.path.abspath(config.input), names, lambda position: read_rgb(str(paths[position])), paths, told)


def _files(given):
    """The files of pictures, and a line about what is passed over."""
    if os.path.isdir(given):
        try:
            found, passed_over, left_behind = listing.look_through(given, PICTURES)
        except OSError as error:
            raise UsageError(f"--input={given}: cannot list {error.filename or given} ({error.strerror})") from None
        found = [os.path.join(given, path) for path in found]
    elif os.path.lexists(given):
        found, passed_over, left_behind = [given], [], 0
    else:
        found, passed_over, left_behind = _matches(sorted(glob.glob(_pattern(given), recursive=True)))
        if not found and not passed_over:
            raise UsageError(f"--input={given}: there is no such file, folder or match")
    nowhere = [path for path in found if not os.path.exists(path)]
    passed_over += [PassedOver(path, "a link that leads nowhere") for path in nowhere]
    told = listing.told(passed_over)
    if left_behind:
        told = f"{told}{'; ' if told else ''}not looked at: {left_behind} that systems leave behind, or notes"
    found = [pathlib.Path(path) for path in found if os.path.exists(path)]
    if not found:
        raise UsageError(f"--input={given} holds no pictures ({', '.join(PICTURES)}){'; ' if told else ''}{told}")
    return found, told


def _pattern(given):
    """A pattern, of which the folders that it begins with and that there are count as they are written."""
    literal, parts = pathlib.Path(), pathlib.Path(given).parts
    while parts and (literal / parts[0]).exists():
        literal, parts = literal / parts[0], parts[1:]
    return os.path.join(glob.escape(str(literal)), *parts)


def _matches(paths):
    """Of what matches a pattern the pictures, what is passed over, and the number of files systems leave behind."""
    found = listing.Listing([], [], 0)
    left_behind = 0
    for path in paths:
        if os.path.isdir(path):
            continue  # beside its files where the pattern has two asterisks
        why = listing.why_passed_over(os.path.basename(path), PICTURES)
        if any(listing.is_of_predictions(str(folder)) for folder in pathlib.Path(os.path.abspath(path)).parents):
            why = listing.OF_PREDICTIONS
        if why is None:
            left_behind += 1
        elif why:
            found.passed_over.append(PassedOver(path, why))
        else:
            found.paths.append(path)
    return found._replace(left_behind=left_behind)


def _names(files):
    """Names by which no two pictures are told alike: with folders below the common one, with the suffix if need be."""
    files = [pathlib.Path(os.path.abspath(file)) for file in files]  # no name with ".."
    common = pathlib.Path(*_common_parts([file.parent.parts for file in files]))
    names = [str(file.relative_to(common).with_suffix("")) for file in files]
    if len(set(names)) < len(names):
        names = [str(file.relative_to(common)) for file in files]
    return names


def _common_parts(paths):
    first, last = min(paths), max(paths)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]
