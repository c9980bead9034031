"""A folder of your own with a dataset.json: `<root>/<split>/{rgb,semseg,depth}/<id>.<ext>`, or as that says."""

import unicodedata

from mtl_tf.config import Config, DataConfig
from mtl_tf.data import descriptors, found_files
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.file_names import SAME, Pattern, in_folder
from mtl_tf.data.samples import FileSource, by_image, natural_order
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.roots import find_root, parent_of, shown
from mtl_tf.data.split_lists import SplitList
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing, maps
from mtl_tf.storage.listing import PassedOver
from mtl_tf.tasks import DepthLabels, Labels, usual

_LAYOUT = "<root>/<split>/rgb/<id>.jpg, beside it semseg/<id>.png and depth/<id>.png"
_USUAL = in_folder(SAME, "rgb")
_ONLY = "train"  # the split of all samples, where nothing says which are in which


def open_split(config: Config, split: str, descriptor: Descriptor) -> FileSource:
    """The samples of a split.

    Raises:
        UsageError: there is no such folder or split, or it holds no images; says what was expected where.
    """
    descriptor.check_has(config.tasks)
    data, root = config.data, find_root(config.data, _LAYOUT)
    split = find_split(data, split, descriptor)
    # What is passed over is told of all folders: labels that cannot be read may be why a task is not trained.
    found, passed_over = {}, []
    for modality in dict.fromkeys(("rgb", *descriptor.task_names, *usual())):
        labels, pattern = descriptor.labels.get(modality), descriptor.pattern(modality)
        found[modality], passed = list_files(root, split, pattern, modality, labels)
        if modality not in ("rgb", *descriptor.task_names):
            reason = f"{descriptors.FILE_NAME} describes no {modality}"
            # What is read of labels that are described.
            maybe = [each.path for each in passed if each.path.lower().endswith(maps.ENDINGS)]
            passed = [each for each in passed if each.path not in maybe]
            passed_over += [PassedOver(path, reason) for path in (*found.pop(modality).values(), *maybe)]
        passed_over += passed
    if split in descriptor.split_lists:
        path = files.join(root, descriptor.split_lists[split])
        chosen = SplitList(path, descriptor.task_names)
        found, lost = chosen.select(root, split, descriptor.pattern("rgb"), found, data.skip_bad)
        passed_over += lost
    for task in [task for task in descriptor.task_names if _holds_all(descriptor, task)]:
        labels = by_image(found[task], found["rgb"])
        found[task] = {name: path for name, path in labels.items() if name in found["rgb"]}
    passed_over = _told_once(passed_over, found)
    if not found["rgb"]:
        if _is_path(descriptor, "rgb"):
            raise UsageError(_no_file(root, split, descriptor, "rgb") + instead_of(data, split))
        told = listing.told(passed_over)
        raise UsageError(
            f"{files.join(root, split, 'rgb')}: no images ({', '.join(listing.PICTURES)}); expected {_LAYOUT}"
            f"{f'; {told}' if told else ''}{instead_of(data, split)}"
        )
    for task in config.tasks:
        _demand_labels(root, split, descriptor, task, found)
    paths = {
        task: f"put the labels where file_names.{task} says" for task in config.tasks if _is_path(descriptor, task)
    }
    return FileSource(descriptor, config.tasks, found, limit=data.limit, where=paths, passed_over=passed_over)


def _holds_all(descriptor, task):
    """Whether the labels of all splits lie together, so that a split has some without a picture."""
    return "split" in descriptor.pattern("rgb").fields and "split" not in descriptor.pattern(task).fields


def _told_once(passed_over, found):
    """What no pattern means: a folder may hold the files of several."""
    taken = {path for paths in found.values() for path in paths.values()}
    return list({each.path: each for each in passed_over if each.path not in taken}.values())


def _demand_labels(root, split, descriptor, task, found):
    """Raises a UsageError if the pattern of the labels of a task, which dataset.json states, leads to none."""
    if not _is_path(descriptor, task):
        return
    pattern, images = descriptor.pattern(task), found["rgb"]
    labels = by_image(found[task], images)
    if not labels and not list_files(root, "", pattern, task, descriptor.labels[task])[0]:
        raise UsageError(_no_file(root, split, descriptor, task))
    if labels and images.keys().isdisjoint(labels):
        label, image = min(labels, key=natural_order), min(images, key=natural_order)
        where, pictures = files.join(root, descriptors.FILE_NAME), descriptor.pattern("rgb")
        raise UsageError(
            f'{where}: file_names.{task} "{pattern.text}": none of its ids is that of a picture: the first is {label}, '
            f'that of file_names.rgb "{pictures.text}" {image}; correct one of the two'
        )


def _is_path(descriptor, modality):
    """Whether dataset.json states paths for the files of a modality."""
    return "{" in descriptor.file_names.get(modality, "")


def _no_file(root, split, descriptor, modality):
    """What is wrong where the pattern of a modality leads to no file."""
    pattern = descriptor.pattern(modality)
    where = f'{files.join(root, descriptors.FILE_NAME)}: file_names.{modality} "{pattern.text}"'
    of = f" of split {split}" if split else ""
    return f"{where} matches no file{of}; {found_files.instead_of(root, pattern, split)}"


# === Splits ===


def splits_in(root: str, descriptor: Descriptor | None = None) -> list[str]:
    """The names of the splits that a folder has: as its lists and patterns say, or as its folders with pictures do."""
    pattern = descriptor.pattern("rgb") if descriptor else _USUAL
    found = [*(descriptor.split_lists if descriptor else ()), *found_files.splits_of(root, pattern)]
    if not found and "split" not in pattern.fields:
        found = [*descriptor.splits, _ONLY][:1]
    return sorted(set(found))


def find_split(data: DataConfig, split: str, descriptor: Descriptor | None = None) -> str:
    """The name of a split, as its folder is called.

    Raises:
        UsageError: it is not there; guesses where it is when the root is one level too high or too low.
    """
    root = find_root(data, _LAYOUT)
    there = splits_in(root, descriptor)
    for name in there:  # composed or decomposed, as the one who typed it sees no difference
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", split):
            return name
    if there:
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(there)}{instead_of(data, split)}")
    if descriptor and _is_path(descriptor, "rgb"):
        raise UsageError(_no_file(root, "", descriptor, "rgb"))
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


# === Files ===


def list_files(
    root: str,
    split: str,
    pattern: Pattern,
    modality: str,
    labels: Labels | None = None,
    more: tuple[str, ...] = (),
) -> tuple[dict[str, str], list[PassedOver]]:
    """The files of one modality ("rgb" or a task) of a split.

    Args:
        root: of the data set.
        split: its name; "" = any.
        pattern: of the files.
        modality: "rgb" or a task.
        labels: of the task; None = those of a kind that is not known.
        more: endings that are read besides.

    Returns:
        Id -> file, and what is passed over. Both are empty where the folder is missing.

    Raises:
        UsageError: two files have one id, a folder cannot be listed, or the ending of the pattern is not read.
    """
    endings = listing.PICTURES if modality == "rgb" else labels.endings if labels else listing.LABELS
    others = labels.other_endings if labels else ()
    if pattern.ending and pattern.ending not in (*endings, *others, *more):
        raise UsageError(
            f'file_names.{modality} "{pattern.text}": {pattern.ending} is not read; expected one of '
            f"{', '.join((*endings, *others, *more))}"
        )
    found, passed_over = found_files.find(root, pattern, (*endings, *more), split)
    if not found and others:
        by_others = found_files.find(root, pattern, others, split)
        found, passed_over = by_others if by_others.paths else (found, passed_over)
    if beside := labels.beside if labels else ():  # read with the labels
        found = {name: path for name, path in found.items() if not path.endswith(beside)}
        passed_over = [passed for passed in passed_over if not passed.path.endswith(beside)]
    return found, passed_over


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
    descriptor = _describe(data)
    return sorted({*descriptor.splits, *splits_in(data.root, descriptor)})


def laid_out(descriptor: Descriptor) -> DataSet:
    """A data set in this layout whose descriptor is known; a dataset.json in its folder goes before it."""

    def describe(data):
        written = data.root and files.is_file(files.join(data.root, descriptors.FILE_NAME))
        return descriptors.read(data.root) if written else descriptor

    def splits(data):
        find_root(data, _LAYOUT)
        return splits_in(data.root, describe(data))

    return DataSet(describe, splits, open_split)


DATA_SET = DataSet(_describe, _splits, open_split)
