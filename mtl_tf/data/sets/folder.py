"""The project's own layout: `<root>/<split>/{rgb,semseg,depth}/<id>.<ext>`, with a dataset.json."""

import os
import unicodedata

from mtl_tf.config import Config, DataConfig
from mtl_tf.data import descriptors, file_names
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing, maps
from mtl_tf.storage.listing import PassedOver
from mtl_tf.tasks import DepthLabels, Labels, usual

_LAYOUT = "<root>/<split>/rgb/<id>.jpg, beside it semseg/<id>.png and depth/<id>.png"


def open_split(config: Config, split: str, descriptor: Descriptor) -> FileSource:
    """The samples of a split.

    Raises:
        UsageError: there is no such folder or split, or it holds no images; says what was expected where.
    """
    descriptor.check_has(config.tasks)
    folder = find_split(config.data, split)
    # What is passed over is told of all folders: labels that cannot be read may be why a task is not trained.
    found, passed_over = {}, []
    for modality in dict.fromkeys(("rgb", *descriptor.task_names, *usual())):
        labels, pattern = descriptor.labels.get(modality), descriptor.pattern(modality)
        found[modality], passed = list_files(folder, modality, labels, pattern=pattern)
        if modality not in ("rgb", *descriptor.task_names):
            reason = f"{descriptors.FILE_NAME} describes no {modality}"
            # What is read of labels that are described.
            maybe = [each.path for each in passed if each.path.lower().endswith(maps.ENDINGS)]
            passed = [each for each in passed if each.path not in maybe]
            passed_over += [PassedOver(path, reason) for path in (*found[modality].values(), *maybe)]
        passed_over += passed
    if not found["rgb"]:
        told = listing.told(passed_over)
        raise UsageError(
            f"{files.join(folder, 'rgb')}: no images ({', '.join(listing.PICTURES)}); expected {_LAYOUT}"
            f"{f'; {told}' if told else ''}{instead_of(config.data, split)}"
        )
    return FileSource(descriptor, config.tasks, found, limit=config.data.limit, passed_over=passed_over)


def splits_in(root: str) -> list[str]:
    """The names of the splits (folders with pictures) in a folder."""
    try:
        return [name for name in files.listing(root) if files.is_folder(files.join(root, name, "rgb"))]
    except OSError:
        return []


def find_split(data: DataConfig, split: str) -> str:
    """The folder of a split.

    Raises:
        UsageError: it is not there; guesses where it is when the root is one level too high or too low.
    """
    root = find_root(data, _LAYOUT)
    if split and files.is_folder(files.join(root, split, "rgb")):
        return files.join(root, split)
    there = splits_in(root)
    for name in there:  # composed or decomposed, as the one who typed it sees no difference
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", split):
            return files.join(root, name)
    if there:
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(there)}{instead_of(data, split)}")
    if files.is_folder(files.join(root, "rgb")):
        hint = f"{root} is a split itself: did you mean --data.root={parent_of(root)}?"
    else:
        below = [path for name in files.listing(root) if splits_in(path := files.join(root, name))]
        below.sort(key=lambda path: split not in splits_in(path))
        hint = f"did you mean --data.root={below[0]}?" if below else f"it has {shown(root)}"
    raise UsageError(f"--data.root={root}: no split {split!r} in it, expected {_LAYOUT}; {hint}")


def instead_of(data: DataConfig, split: str) -> str:
    """What to do where there is no validation split, for the end of a message; "" where another one is missing."""
    if split != data.val_split:
        return ""
    return "; --data.val_share=0.1 validates on a tenth of the training images, held out from training"


def find_root(data: DataConfig, layout: str) -> str:
    """The folder that data.root names.

    Args:
        data: the options.
        layout: what is expected in it, for the message.

    Raises:
        UsageError: it is not given, not there or a file.
    """
    root = data.root
    if not root:
        raise UsageError(f"--data.name={data.name} needs --data.root=FOLDER, the folder of the data set: {layout}")
    if files.is_file(root):
        raise UsageError(f"--data.root={root} is a file; expected the folder of a data set: {layout}")
    if not files.is_folder(root):
        raise UsageError(f"--data.root={root}: no such folder; expected {layout}")
    return root


def parent_of(root: str) -> str:
    """The folder above a folder."""
    return files.folder_of(root.rstrip("/")) if files.is_remote(root) else os.path.dirname(os.path.abspath(root))


def shown(folder: str) -> str:
    """The first names in a folder, for a message."""
    names = files.listing(folder)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def list_files(
    folder: str,
    modality: str,
    labels: Labels | None = None,
    more: tuple[str, ...] = (),
    pattern: str = file_names.SAME,
) -> tuple[dict[str, str], list[PassedOver]]:
    """The files of one modality ("rgb" or a task) of a split, in its folder and in the folders below that.

    Args:
        folder: of the split.
        modality: its folder.
        labels: of the task; None = those of a kind that is not known.
        more: endings that are read besides.
        pattern: of their names.

    Returns:
        Id -> file, an id being the path below the folder without its ending, and of the name what * stands for; and
        what is passed over. Both are empty where the folder is missing.

    Raises:
        UsageError: two files have one id, or a folder cannot be listed.
    """
    endings = listing.PICTURES if modality == "rgb" else labels.endings if labels else listing.LABELS
    found, passed_over = files_below(files.join(folder, modality), (*endings, *more), pattern)
    if not found and labels and labels.other_endings:
        others = files_below(files.join(folder, modality), labels.other_endings, pattern)
        found, passed_over = others if others[0] else (found, passed_over)
    if beside := labels.beside if labels else ():  # read with the labels
        found = {name: path for name, path in found.items() if not path.endswith(beside)}
        passed_over = [passed for passed in passed_over if not passed.path.endswith(beside)]
    return found, passed_over


def files_below(
    folder: str, endings: tuple[str, ...], pattern: str = file_names.SAME
) -> tuple[dict[str, str], list[PassedOver]]:
    """The files of some endings in a folder and in those below it; returns and raises as `list_files`."""
    found: dict[str, str] = {}
    try:
        listed = listing.look_through(folder, endings)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise UsageError(f"cannot list {error.filename or folder}: {error.strerror}") from None
    for path in listed.paths:
        name = file_names.id_by(pattern, os.path.splitext(path)[0])
        if name is None:
            listed.passed_over.append(PassedOver(files.join(folder, path), f"a name other than {pattern}"))
            continue
        if name in found:
            first = files.name_of(found[name])
            raise UsageError(f"{folder}: {first} and {files.name_of(path)} have one id, {name}; remove one of them")
        found[name] = files.join(folder, path)
    return found, listed.passed_over


def _describe(data):
    if not data.root:
        raise UsageError(
            f"--data.name={data.name} needs --data.root=FOLDER, the folder that holds {descriptors.FILE_NAME}"
        )
    descriptor = descriptors.read(data.root)
    for name, labels in descriptor.labels.items():
        if isinstance(labels, DepthLabels) and labels.encoding == "disparity" and not labels.baseline:
            section = labels.section(name)
            raise UsageError(
                f"{data.root}/{descriptors.FILE_NAME}: {section}.encoding disparity is not of the project's own layout "
                f"without {section}.baseline (metres) and fx (pixels); the file describes {descriptor.name}: state "
                "them, or read it with --data.name"
            )
    return descriptor


def _splits(data):
    find_root(data, _LAYOUT)
    return sorted({*_describe(data).splits, *splits_in(data.root)})


def laid_out(descriptor: Descriptor) -> DataSet:
    """A data set in this layout whose descriptor is known; a dataset.json in its folder goes before it."""

    def describe(data):
        written = data.root and files.is_file(files.join(data.root, descriptors.FILE_NAME))
        return descriptors.read(data.root) if written else descriptor

    def splits(data):
        find_root(data, _LAYOUT)
        return splits_in(data.root)

    return DataSet(describe, splits, open_split)


DATA_SET = DataSet(_describe, _splits, open_split)
