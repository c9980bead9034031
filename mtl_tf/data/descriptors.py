"""What a data set is: classes and colours, how its depth is stored, its statistics. Built in, or in `dataset.json`."""

import dataclasses
import difflib
import json
import math
import os
import pathlib

from mtl_tf import config as configuration
from mtl_tf.atomic import leads_out, write_text
from mtl_tf.data import codecs, files
from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.tasks import DEPTH_UNITS, Depth, Segmentation, Task

FILE_NAME = "dataset.json"
DEPTH_ENCODINGS = ("inverse_uint8", "uint16_scaled", "disparity")


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A data set, apart from its samples.

    Attributes:
        name: for messages.
        classes: names in the order of their ids; empty where the data set has no segmentation.
        palette: their colours, RGB 0..255.
        ignore: the label value of pixels without a class.
        depth_encoding: how depth is stored, one of `DEPTH_ENCODINGS`; empty where the data set has no depth.
            "disparity" (of a stereo pair) is turned into depth by the reader of a data set that has it.
        depth_unit: what the numbers of depth are, a key of `tasks.DEPTH_UNITS`; "metres" below is that unit.
        depth_scale: metres a unit of `uint16_scaled`.
        depth_minimum, depth_maximum: range of valid depth, metres; what lies outside has no label.
        depth_mean, depth_std: of depth over the training split, metres; None = not measured yet.
        depth_log_mean, depth_log_std: of its natural logarithm.
        rgb_mean, rgb_std: of the training pictures, 0..255; empty = not measured.
        splits: names of the splits; empty = whatever folders there are.
        crop_multiple: where data.image_size is unset, whole pictures are cropped from the top left to multiples of
            this many pixels; 0 = not at all.
    """

    name: str
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore: int = 255
    depth_encoding: str = ""
    depth_unit: str = "metres"
    depth_scale: float = 0.001
    depth_minimum: float = codecs.MINIMUM
    depth_maximum: float = codecs.MAXIMUM
    depth_mean: float | None = None
    depth_std: float | None = None
    depth_log_mean: float | None = None
    depth_log_std: float | None = None
    rgb_mean: tuple[float, ...] = ()
    rgb_std: tuple[float, ...] = ()
    splits: tuple[str, ...] = ()
    crop_multiple: int = 0

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that the data set has labels for."""
        found = {"semseg": bool(self.classes), "depth": bool(self.depth_encoding)}
        return tuple(name for name, labelled in found.items() if labelled)

    @property
    def lacks_statistics(self) -> bool:
        """Whether its depth has not been measured."""
        return bool(self.depth_encoding) and None in self._depth_statistics.values()

    @property
    def _depth_statistics(self):
        return {name: getattr(self, f"depth_{name}") for name in ("mean", "std", "log_mean", "log_std")}

    def tasks(self, config: configuration.Config) -> tuple[Task, ...]:
        """The tasks of `config.tasks`, in that order.

        Raises:
            UsageError: the data set has no such labels, or its depth has no statistics.
        """
        self.check_has(config.tasks)
        makers = {"semseg": self._segmentation, "depth": self._depth}
        return tuple(makers[name](config) for name in config.tasks)

    def check_has(self, tasks: tuple[str, ...]) -> None:
        """Raises a UsageError if the data set has no labels of one of the tasks."""
        for name in tasks:
            if name not in self.task_names:
                raise UsageError(
                    f"data set {self.name} has no {name} labels; use --tasks={','.join(self.task_names)}, "
                    f'or describe them under "{name}" in {FILE_NAME}'
                )

    def _segmentation(self, config):
        return Segmentation(classes=self.classes, palette=self.palette, ignore=self.ignore)

    def _depth(self, config):
        statistics = self._depth_statistics
        missing = [name for name, value in statistics.items() if value is None]
        if missing:
            raise UsageError(
                f"data set {self.name} lacks the depth statistics {', '.join(missing)}, which depend on your files: "
                f"measure them once with tools/dataset_statistics.py --write (into {FILE_NAME} in data.root), or with "
                "--output=FILE and train with --data.statistics=FILE"
            )
        if config.augment.zoom_depth and self.depth_unit != "metres":
            raise UsageError(
                f"augment.zoom_depth scales metres, but the depth of data set {self.name} is {self.depth_unit}; "
                "turn it off"
            )
        return Depth(
            minimum=self.depth_minimum,
            maximum=self.depth_maximum,
            **statistics,
            space=config.loss.depth_space,
            loss=config.loss.depth,
            codec="inverse_uint8" if self.depth_encoding == "inverse_uint8" else "metres",
            unit=self.depth_unit,
        )


# === dataset.json ===

_EXAMPLES = {
    "semseg": '{"classes": ["road", "car"], "palette": [[128, 64, 128], [0, 0, 142]], "ignore": 255}',
    "depth": '{"encoding": "uint16_scaled", "scale": 0.001, "minimum": 0.1, "maximum": 10.0}',
    "rgb": '{"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}',
}


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
    if descriptor.classes:
        content["semseg"] = {
            "classes": list(descriptor.classes),
            "palette": [list(colour) for colour in descriptor.palette],
            "ignore": descriptor.ignore,
        }
    if descriptor.depth_encoding:
        depth = {key: getattr(descriptor, f"depth_{key}") for key in _DEPTH_KEYS}
        if descriptor.depth_encoding != "uint16_scaled":
            del depth["scale"]
        if descriptor.depth_unit == "metres":
            del depth["unit"]
        content["depth"] = {key: value for key, value in depth.items() if value is not None}
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
    top = _Keys(path, "", content, ("name", "splits", "crop_multiple", "semseg", "depth", "rgb"))
    found = dict(
        name=top.take("name", _text, default=files.name_of(os.path.dirname(os.path.abspath(path)))),
        splits=top.take("splits", _folders, default=()),
        crop_multiple=top.take("crop_multiple", _whole, default=0),
    )
    if "semseg" in content:
        found |= _read_semseg(top.below("semseg", ("classes", "palette", "ignore")))
    if "depth" in content:
        found |= _read_depth(top.below("depth", _DEPTH_KEYS))
    if "rgb" in content:
        rgb = top.below("rgb", ("mean", "std"))
        found |= dict(rgb_mean=rgb.take("mean", _triple), rgb_std=rgb.take("std", _triple))
        if min(found["rgb_std"]) == 0:
            rgb.fail("std", "three positive numbers", list(found["rgb_std"]))
    if not {"semseg", "depth"} & set(content):
        top.fail("semseg", f'an entry "semseg" or "depth", for example "depth": {_EXAMPLES["depth"]}', None)
    return Descriptor(**found)


def with_statistics(descriptor: Descriptor, path: str) -> Descriptor:
    """The descriptor with the statistics in a file like dataset.json, as tools/dataset_statistics.py writes it.

    Raises:
        UsageError: the file is missing or wrong, or its statistics are of other data.
    """
    try:
        found = read_file(path)
    except OSError as error:
        raise UsageError(
            f"{path}: {(error.strerror or str(error)).lower()}; expected statistics, which "
            "tools/dataset_statistics.py --output=FILE writes"
        ) from None
    for name in _MEANING:
        if getattr(found, name) != getattr(descriptor, name):
            raise UsageError(
                f"{path}: statistics of other data: {name} is {getattr(found, name)}, but {getattr(descriptor, name)} "
                f"in data set {descriptor.name}; measure them with tools/dataset_statistics.py --output=FILE"
            )
    return dataclasses.replace(descriptor, **{name: getattr(found, name) for name in _STATISTICS})


_MEANING = ("name", "depth_encoding", "depth_unit", "depth_minimum", "depth_maximum")
_STATISTICS = ("depth_mean", "depth_std", "depth_log_mean", "depth_log_std", "rgb_mean", "rgb_std")


def _elsewhere(root):
    """A hint where the file is when the root is one level too high or too low."""
    if files.is_remote(root) or not files.is_folder(root):
        return ""
    for folder in (os.path.dirname(os.path.abspath(root)), *(files.join(root, name) for name in files.listing(root))):
        if files.is_file(files.join(folder, FILE_NAME)):
            return f"; did you mean --data.root={folder}?"
    return ""


_DEPTH_KEYS = ("encoding", "unit", "scale", "minimum", "maximum", "mean", "std", "log_mean", "log_std")


def _read_semseg(keys):
    classes, palette = keys.take("classes", _names), keys.take("palette", _colours)
    if not classes or len(classes) > 255:
        keys.fail("classes", "1 to 255 names", f"{len(classes)} names")
    if len(palette) != len(classes):
        keys.fail("palette", f"one colour for each of the {len(classes)} classes", f"{len(palette)} colours")
    ignore = keys.take("ignore", _whole, default=255)
    if not len(classes) <= ignore <= 255:
        keys.fail("ignore", f"a value of no class, {len(classes)}..255", ignore)
    return dict(classes=classes, palette=palette, ignore=ignore)


def _read_depth(keys):
    found = {"encoding": keys.take("encoding", _text)}
    if found["encoding"] not in DEPTH_ENCODINGS:
        keys.fail("encoding", f"one of {', '.join(DEPTH_ENCODINGS)}", found["encoding"])
    found["unit"] = keys.take("unit", _text, default="metres")
    if found["unit"] not in DEPTH_UNITS:
        keys.fail("unit", f"one of {', '.join(DEPTH_UNITS)}", found["unit"])
    found["scale"] = keys.take("scale", _positive, default=0.001)
    found["minimum"], found["maximum"] = keys.take("minimum", _positive), keys.take("maximum", _positive)
    if found["minimum"] >= found["maximum"]:
        keys.fail("maximum", f"more than minimum ({found['minimum']})", found["maximum"])
    for key, kind in (("mean", _positive), ("std", _positive), ("log_mean", _number), ("log_std", _positive)):
        found[key] = keys.take(key, kind, default=None)
    return {f"depth_{key}": value for key, value in found.items()}


class _Keys:
    """One object of the file: takes its values by key, and names file and key in every complaint."""

    def __init__(self, path, prefix, content, known):
        self.path, self.prefix, self.content = path, prefix, content
        if not isinstance(content, dict):
            example = _EXAMPLES.get(prefix.rstrip("."), '{"name": "mine", "depth": {...}}')
            self.fail("", f"an object such as {example}", content)
        for key in content:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f'rename it to "{close[0]}", or remove it' if close else "rename or remove it"
                raise UsageError(f'{path}: unknown key "{prefix}{key}"; known here: {", ".join(known)}; {hint}')

    def below(self, key, known):
        return _Keys(self.path, f"{self.prefix}{key}.", self.content[key], known)

    def take(self, key, kind, **default):
        """The value under `key`, converted by `kind`, whose docstring says what it takes."""
        if key not in self.content and default:
            return default["default"]
        try:
            return kind(self.content[key])
        except (KeyError, TypeError, ValueError, OverflowError):
            self.fail(key, kind.__doc__, self.content.get(key))

    def fail(self, key, expected, got):
        where = f'"{self.prefix}{key}"' if key else f'"{self.prefix.rstrip(".")}"' if self.prefix else "the file"
        came = "it is missing" if got is None else f"it is {got if isinstance(got, str) else json.dumps(got)}"
        text = f"{self.path}: {where} should be {expected}; {came}: edit the file"
        section = self.prefix.rstrip(".")
        if section in _EXAMPLES and section not in expected and key:
            text += f', for example "{section}": {_EXAMPLES[section]}'
        raise UsageError(text)


def _text(value):
    """a text that is not empty"""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _names(value):
    """a list of different names"""
    if not isinstance(value, list) or len({_text(name) for name in value}) != len(value):
        raise ValueError
    return tuple(value)


def _folders(value):
    """a list of different names of folders in the data set"""
    if any(leads_out(name) for name in _names(value)):
        raise ValueError
    return tuple(value)


def _whole(value):
    """a whole number, 0 or more"""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _number(value):
    """a number"""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _positive(value):
    """a positive number"""
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _triple(value):
    """three numbers, 0..255"""
    if not isinstance(value, list) or len(value) != 3 or not all(0 <= _number(part) <= 255 for part in value):
        raise ValueError
    return tuple(map(float, value))


def _colours(value):
    """a list of RGB colours, each three whole numbers 0..255"""
    if not isinstance(value, list) or not all(isinstance(colour, list) and len(colour) == 3 for colour in value):
        raise ValueError
    if any(_whole(part) > 255 for colour in value for part in colour):
        raise ValueError
    return tuple(map(tuple, value))
