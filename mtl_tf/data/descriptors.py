"""What a data set is: how the labels of each task are stored, its statistics. Built in, or in `dataset.json`."""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from mtl_tf import config as configuration
from mtl_tf import keys
from mtl_tf.atomic import leads_out, write_text
from mtl_tf.balancing.configured import balance_of
from mtl_tf.data.file_names import SAME, Pattern, in_folder, patterns
from mtl_tf.data.split_lists import lists
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.parsing import parse_json
from mtl_tf.selection import found_by
from mtl_tf.storage import files
from mtl_tf.tasks import KINDS, Labels, Task, blanks_of, loss_weight, usual

FILE_NAME = "dataset.json"
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Called so in batches, folders and files of scores or statistics.
RESERVED = ("image", "index", "rgb", "split", "scored", "num_images", "total", "grader", "loss")
RESERVED += ("classes", "ignore", "samples", "pixels", "name", "tasks")


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A data set, apart from its samples.

    Attributes:
        name: for messages.
        labels: task name -> how its labels are stored and what they mean; the usual tasks first.
        rgb_mean, rgb_std: of the training pictures, 0..255; empty = not measured.
        splits: names of the splits; empty = whatever folders there are.
        crop_multiple: where data.image_size is unset, whole pictures are cropped from the top left to multiples of
            this many pixels; 0 = not at all.
        may_be_blank: tasks of whose label maps many have no labelled pixel by nature: that is no fault.
        file_names: "rgb" or task name -> the pattern of its files (`data.file_names`), where it is not "*".
        split_lists: split -> the list of its samples (`data.split_lists`), a path below the root.
    """

    name: str
    labels: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    rgb_mean: tuple[float, ...] = ()
    rgb_std: tuple[float, ...] = ()
    splits: tuple[str, ...] = ()
    crop_multiple: int = 0
    may_be_blank: tuple[str, ...] = ()
    file_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    split_lists: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        first = [name for name in usual() if name in self.labels]
        names = [*first, *(name for name in self.labels if name not in first)]
        object.__setattr__(self, "labels", {name: self.labels[name] for name in names})

    def __getitem__(self, task: str) -> Labels:
        """The labels of a task: those that the data set has, or that follow from them without a word of it."""
        return self.labels[task] if task in self.labels else self._implied[task]

    def __contains__(self, task: str) -> bool:
        return task in self.labels or task in self._implied

    @functools.cached_property
    def _implied(self):
        found = {kind.name: kind.implied(self.labels) for kind in KINDS.values() if kind.name not in self.labels}
        return {name: labels for name, labels in found.items() if labels}

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that the data set has labels of its own for."""
        return tuple(name for name, labels in self.labels.items() if not labels.source)

    @property
    def lacks_statistics(self) -> bool:
        """Whether labels have not been measured that are to be."""
        return any(labels.lacks_statistics for labels in self.labels.values())

    @property
    def assumed(self) -> "Descriptor":
        """The same with assumed statistics where there are none (`Labels.assumed`)."""
        return dataclasses.replace(self, labels={name: labels.assumed for name, labels in self.labels.items()})

    @property
    def blanks(self) -> dict[str, float]:
        """Task name -> value of a pixel without a label."""
        return blanks_of(self.labels)

    def pattern(self, folder: str) -> Pattern:
        """Of the paths of pictures ("rgb") or of the label files of a task."""
        return in_folder(self.file_names.get(folder, SAME), folder)

    def with_labels(self, **labels: Labels) -> "Descriptor":
        """The same with other labels of some tasks."""
        return dataclasses.replace(self, labels={**self.labels, **labels})

    def of(self, tasks: Sequence[str]) -> "Descriptor":
        """The same with the labels of some tasks only, and what is derived from them."""
        kept = {name: labels for name, labels in self.labels.items() if name in tasks or labels.source in tasks}
        labels = {name: labels.among(tuple(kept)) for name, labels in kept.items()}
        may_be_blank = tuple(name for name in self.may_be_blank if name in kept)
        named = {name: pattern for name, pattern in self.file_names.items() if name in ("rgb", *kept)}
        return dataclasses.replace(self, labels=labels, may_be_blank=may_be_blank, file_names=named)

    def says_the_same(self, other: "Descriptor", tasks: Sequence[str]) -> bool:
        """Whether another descriptor is the same, as far as these tasks are concerned; none = all that one has.

        Statistics that only one of them has are no difference: then no task was trained with them.
        """
        names = tuple(tasks) or tuple({**self.labels, **other.labels})
        names += tuple(self[name].source for name in names if name in self and self[name].source)
        same = all(name in self and name in other and _agree(self[name], other[name]) for name in names)
        rest = dict(labels={}, may_be_blank=(), file_names={}, split_lists={})
        if not (self.rgb_mean and other.rgb_mean):
            rest |= dict(rgb_mean=(), rgb_std=())
        return same and dataclasses.replace(self, **rest) == dataclasses.replace(other, **rest)

    def told(self) -> list[str]:
        """How label files are read, a line a task."""
        return [labels.told(name) for name, labels in self.labels.items()]

    def tasks(self, config: configuration.Config) -> tuple[Task, ...]:
        """The tasks of `config.tasks`, in that order; all that there are labels for where it is empty.

        Raises:
            UsageError: the data set has no such labels, labels lack statistics, or none of the tasks has the
                score that is to choose the best weights.
        """
        alone = [self[name].task(name, self.name, config) for name in self.chosen(config.tasks)]
        found = tuple(task.beside(alone) for task in alone)
        found_by(config.train.best_metric, found)
        self._check_options(config, found)
        return found

    def _check_options(self, config, tasks):
        """Raises a UsageError where an option is about no task: a usual one may be left out of those trained."""
        names, kinds = [task.name for task in tasks], [task.kind for task in tasks]
        trained = f"the tasks are {', '.join(names)}"
        for name, weight in config.loss.weights:
            if name not in (*names, *usual()):
                raise UsageError(
                    f"loss.weights={name}:{weight:g} is of no task that is trained; {trained}: leave it out, or "
                    "correct its name"
                )
        if not any(loss_weight(config, task) for task in tasks):
            raise UsageError(f"loss.weights is 0 for all that is trained; {trained}: give one of them a weight")
        balance_of(config, tasks)
        for kind in config.task.changed:
            if kind not in kinds and not KINDS[kind].usual:
                raise UsageError(
                    f"task.{kind} has options, but no task of kind {kind} is trained; {trained}: leave the options of "
                    "this kind out, or name a task of it in --tasks"
                )
        if config.augment.classmix and not any(self[name].class_names for name in names):
            raise UsageError(
                f"augment.classmix={config.augment.classmix} pastes by class and needs labels that are classes; "
                f"{trained}: add such a task, or use augment.cutmix"
            )

    def chosen(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """The same tasks; where none is named, the usual ones that there are, else all. Raises as `check_has`."""
        self.check_has(tasks)
        return tuple(tasks) or tuple(name for name in usual() if name in self.labels) or self.task_names

    def check_has(self, tasks: tuple[str, ...]) -> None:
        """Raises a UsageError if the data set has no labels of one of the tasks."""
        for name in tasks:
            if name not in self:
                key = name if name in usual() else "tasks"
                use = f'use --tasks={",".join(self.labels)}, or describe them under "{key}" in {FILE_NAME}'
                hint = did_you_mean(name, [*self.labels, *self._implied], use)
                raise UsageError(f"data set {self.name} has no {name} labels; {hint}")


def _agree(one, other):
    if one.missing or other.missing:
        return one.unmeasured == other.unmeasured
    return one == other


# === dataset.json ===

_EXAMPLES = {kind.name: kind.example for kind in KINDS.values()}
_EXAMPLES[""] = '{"name": "mine", "depth": {...}}'
_EXAMPLES["rgb"] = '{"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}'
_EXAMPLES["tasks"] = '{"lanes": {"kind": "classes", "classes": ["none", "lane"], "palette": [[0, 0, 0], [255, 0, 0]]}}'


def write(root: str | os.PathLike, descriptor: Descriptor) -> pathlib.Path:
    """Writes `<root>/dataset.json`, whole or not at all, and returns its path."""
    if files.is_remote(str(root)):
        raise UsageError(f"{root}: {FILE_NAME} is written to local folders only; copy it there yourself")
    return write_file(pathlib.Path(root) / FILE_NAME, descriptor)


def write_file(path: str | os.PathLike, descriptor: Descriptor) -> pathlib.Path:
    """Writes a file like dataset.json, whole or not at all, and returns its path."""
    content: dict = {"name": descriptor.name, "splits": list(descriptor.splits)}
    if descriptor.crop_multiple:
        content["crop_multiple"] = descriptor.crop_multiple
    if descriptor.may_be_blank:
        content["may_be_blank"] = list(descriptor.may_be_blank)
    if descriptor.file_names:
        content["file_names"] = dict(descriptor.file_names)
    if descriptor.split_lists:
        content["split_lists"] = dict(descriptor.split_lists)
    for name, labels in descriptor.labels.items():
        if labels.section(name) == name:
            content[name] = labels.content()
        else:
            content.setdefault("tasks", {})[name] = {"kind": labels.kind, **labels.content()}
    if descriptor.rgb_mean:
        content["rgb"] = {"mean": list(descriptor.rgb_mean), "std": list(descriptor.rgb_std)}
    path = pathlib.Path(path)
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def read(root: str | os.PathLike) -> Descriptor:
    """The descriptor in `<root>/dataset.json`.

    Raises:
        UsageError: it is not there, or something in it is not as expected; names the key and says how to repair it.
    """
    root = str(root)
    try:
        return read_file(files.join(root, FILE_NAME))
    except OSError as error:
        raise UsageError(
            f"{files.join(root, FILE_NAME)}: {(error.strerror or str(error)).lower()}; a data set read with "
            f"--data.name=folder has a {FILE_NAME} there, beside the folders of its splits; tools/describe_dataset.py "
            f"writes it (known data sets need none: --data.name=miniscapes, --data.name=nyuv2, ...){_elsewhere(root)}"
        ) from None


def read_file(path: str) -> Descriptor:
    """The descriptor in a file like dataset.json.

    Raises:
        OSError: the file cannot be read.
        UsageError: something in it is not as expected; names the key and says how to repair it.
    """
    try:
        content = parse_json(files.read(path).decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a UTF-8 text; save it as UTF-8 JSON") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}: not JSON: line {error.lineno}, column {error.colno}: {error.msg}; correct it there, or write the "
            "file anew with tools/describe_dataset.py"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} {error}; correct it, or write the file anew with tools/describe_dataset.py") from None
    known = ("name", "splits", "crop_multiple", "may_be_blank", "file_names", "split_lists", "tasks", *usual(), "rgb")
    top = keys.Keys(path, content, known, examples=_EXAMPLES)
    found = dict(
        name=top.take("name", keys.text, default=files.name_of(os.path.dirname(os.path.abspath(path)))),
        splits=top.take("splits", _folders, default=()),
        crop_multiple=top.take("crop_multiple", keys.whole, default=0),
        may_be_blank=top.take("may_be_blank", keys.names, default=()),
        file_names=top.take("file_names", patterns, default={}),
        split_lists=top.take("split_lists", lists, default={}),
    )
    sections = [kind for kind in KINDS.values() if kind.usual and kind.name in content]
    labels = {kind.name: kind.parse(top.below(kind.name, kind.keys)) for kind in sections}
    if "tasks" in content:
        labels |= _read_tasks(top, content["tasks"], labels)
    if "rgb" in content:
        rgb = top.below("rgb", ("mean", "std"))
        found |= dict(rgb_mean=rgb.take("mean", _triple), rgb_std=rgb.take("std", _triple))
        if min(found["rgb_std"]) == 0:
            rgb.fail("std", "three positive numbers", list(found["rgb_std"]))
    if not labels:
        first, *_, last = usual()
        named = " or ".join(f'"{name}"' for name in usual())
        top.fail(first, f'an entry {named}, for example "{last}": {_EXAMPLES[last]}', None)
    if not set(labels).issuperset(found["may_be_blank"]):
        known = f"a list of tasks that are described here ({', '.join(labels)})"
        top.fail("may_be_blank", known, list(found["may_be_blank"]))
    if strange := [name for name in found["file_names"] if name not in ("rgb", *labels)]:
        known = f"an object of patterns by folder, of rgb or tasks that are described here ({', '.join(labels)})"
        top.fail("file_names", known, f"of {strange[0]}")
    pictures = found["file_names"].get("rgb", SAME)
    listed = set(found["splits"]) <= set(found["split_lists"])
    if "{" in pictures and "{split}" not in pictures and len(found["splits"]) > 1 and not listed:
        known = (
            f"an object with a list of each split ({', '.join(found['splits'])}), as file_names.rgb has no {{split}}"
        )
        top.fail("split_lists", known, found["split_lists"] or None)
    return Descriptor(labels=labels, **found)


def _folders(value):
    """a list of different names of folders in the data set"""
    if any(leads_out(name) for name in keys.names(value)):
        raise ValueError
    return tuple(value)


def _triple(value):
    """three numbers, 0..255"""
    found = keys.numbers(value)
    if len(found) != 3 or not all(0 <= part <= 255 for part in found):
        raise ValueError
    return found


def _read_tasks(top, content, there):
    """The labels of the tasks under "tasks", each of which names its kind."""
    names = tuple(content) if isinstance(content, dict) else ()
    tasks = top.below("tasks", names)
    found = {}
    for name in names:
        if name in there:
            tasks.fail(name, "a task that has no section of its own at the top of the file", "named twice")
        if not TASK_NAME.fullmatch(name):
            tasks.fail(name, "under a name of letters, digits and _ that begins with a letter", name)
        if name in RESERVED:
            tasks.fail(name, f"under another name than {', '.join(RESERVED)}", name)
        section = content[name] if isinstance(content[name], dict) else {}
        kind = KINDS.get(str(section.get("kind")))
        entry = tasks.below(name, ("kind", *(kind.keys if kind else section)))
        if kind is None:
            known = f"one of {', '.join(KINDS)}, or a kind of the file that --plugin names"
            entry.fail("kind", known, section.get("kind"))
        found[name] = kind.parse(entry)
    for name, labels in found.items():
        theirs = {**there, **found}.get(labels.source)
        if labels.source and (theirs is None or theirs.source):
            tasks.below(name, tuple(content[name])).fail("source", "a task here that has label files", labels.source)
        if labels.source and labels.wanted_source(theirs):
            tasks.below(name, tuple(content[name])).fail("source", labels.wanted_source(theirs), labels.source)
        if misfit := labels.misfit({**there, **found}):
            tasks.below(name, tuple(content[name])).fail(*misfit)
    return found


def _elsewhere(root):
    """A hint where the file is when the root is one level too high or too low."""
    if files.is_remote(root) or not files.is_folder(root):
        return ""
    for folder in (os.path.dirname(os.path.abspath(root)), *(files.join(root, name) for name in files.listing(root))):
        if files.is_file(files.join(folder, FILE_NAME)):
            return f"; did you mean --data.root={folder}?"
    return ""
