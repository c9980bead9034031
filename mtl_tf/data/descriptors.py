"""What a data set is: classes and colours, how its depth is stored, its statistics. Built in, or in `dataset.json`."""

import dataclasses
import json
import os
import pathlib

from mtl_tf import config as configuration
from mtl_tf.atomic import write_text
from mtl_tf.data import codecs, files, keys
from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.selection import found_by
from mtl_tf.tasks import DEPTH_UNITS, Depth, Segmentation, Task

FILE_NAME = "dataset.json"
SEMSEG_ENCODINGS = ("index", "colour")
OTHER, IGNORE = "other", "ignore"  # in semseg.values: every other stored value; no class
DEPTH_CODES = {"inverse_uint8": 256, "uint8_scaled": 256, "uint16_scaled": 65536, "disparity": 65536}
DEPTH_ENCODINGS = tuple(DEPTH_CODES)


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A data set, apart from its samples.

    Attributes:
        name: for messages.
        classes: names in the order of their ids; empty where the data set has no segmentation.
        palette: their colours, RGB 0..255.
        ignore: the label value of pixels without a class.
        semseg_encoding: what a label file holds, one of `SEMSEG_ENCODINGS`: a number a pixel, or a colour of `palette`.
        semseg_values: pairs of a stored value and what it means, a class or `IGNORE`; "R,G,B" stands for a colour,
            `OTHER` for every value that is not listed. Empty = a number is its class or `ignore`. A stored number that
            is not listed is an error; a colour may also be one of `palette`.
        depth_encoding: how depth is stored, one of `DEPTH_ENCODINGS`; empty where the data set has no depth.
            "disparity" (of a stereo pair) is turned into depth by the reader of a data set that has it.
        depth_unit: what the numbers of depth are, a key of `tasks.DEPTH_UNITS`; "metres" below is that unit.
        depth_scale: metres a unit of `uint16_scaled` and `uint8_scaled`.
        depth_invalid: stored values besides 0 that say that nothing was measured.
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
    semseg_encoding: str = "index"
    semseg_values: tuple[tuple[str, str], ...] = ()
    depth_encoding: str = ""
    depth_unit: str = "metres"
    depth_scale: float = 0.001
    depth_invalid: tuple[int, ...] = ()
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

    def storage(self, task: str) -> tuple:
        """All that turns stored values of a task into ids or metres; two descriptors may differ in it.

        Names and colours of classes are none of it, where they do not say how ids are stored.
        """
        if task == "semseg":
            colours = self.palette if self.semseg_encoding == "colour" else ()
            named = self.classes if self.semseg_encoding == "colour" or self.semseg_values else ()
            return self.semseg_encoding, self.semseg_values, named, colours, self.ignore
        steps = (self.depth_scale,)
        if self.depth_encoding == "inverse_uint8":
            steps = self.depth_minimum, self.depth_maximum
        return self.depth_encoding, steps, self.depth_invalid

    def told(self) -> list[str]:
        """How label files are read, a line a task."""
        lines = []
        if self.classes:
            named = [*map(str, range(len(self.classes)))]
            if self.semseg_encoding == "colour":
                named = [",".join(map(str, colour)) for colour in self.palette]
            plain = not (self.semseg_values and self.semseg_encoding == "index")
            meanings = dict(zip(named, self.classes, strict=True)) if plain else {}
            meanings |= self.semseg_values or ({str(self.ignore): IGNORE} if self.semseg_encoding == "index" else {})
            shown = "; ".join(f"{value} = {name}" for value, name in meanings.items())
            lines.append(f"semseg by {'number' if self.semseg_encoding == 'index' else 'colour'}: {shown}")
        if self.depth_encoding:
            unknown = ", ".join(map(str, (0, *self.depth_invalid)))
            symbol = DEPTH_UNITS[self.depth_unit].symbol
            low, high = f"{self.depth_minimum:g}{symbol}", f"{self.depth_maximum:g}{symbol}"
            how = {
                "inverse_uint8": f"8 bits, inverse, 255 = {low}, 1 = {high}",
                "uint8_scaled": f"8 bits, value x {self.depth_scale:g}",
                "uint16_scaled": f"16 bits, value x {self.depth_scale:g}",
                "disparity": "from disparity",
            }
            lines.append(f"depth: {how[self.depth_encoding]}; {unknown} = not measured; valid {low} to {high}")
        return lines

    def tasks(self, config: configuration.Config) -> tuple[Task, ...]:
        """The tasks of `config.tasks`, in that order; all that there are labels for where it is empty.

        Raises:
            UsageError: the data set has no such labels, its depth has no statistics, or none of the tasks has the
                score that is to choose the best weights.
        """
        makers = {"semseg": self._segmentation, "depth": self._depth}
        found = tuple(makers[name](config) for name in self.chosen(config.tasks))
        found_by(config.train.best_metric, found)
        return found

    def chosen(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """The same tasks; where none is named, all that the data set has labels for. Raises as `check_has`."""
        self.check_has(tasks)
        return tuple(tasks) or self.task_names

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
            objective=config.loss.depth,
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
        if descriptor.semseg_encoding != "index":
            content["semseg"]["encoding"] = descriptor.semseg_encoding
        if descriptor.semseg_values:
            content["semseg"]["values"] = dict(descriptor.semseg_values)
    if descriptor.depth_encoding:
        depth = {key: getattr(descriptor, f"depth_{key}") for key in _DEPTH_KEYS}
        if descriptor.depth_encoding not in ("uint16_scaled", "uint8_scaled"):
            del depth["scale"]
        if not descriptor.depth_invalid:
            del depth["invalid"]
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
    top = keys.Keys(path, "", content, ("name", "splits", "crop_multiple", "semseg", "depth", "rgb"), _EXAMPLES)
    found = dict(
        name=top.take("name", keys.text, default=files.name_of(os.path.dirname(os.path.abspath(path)))),
        splits=top.take("splits", keys.folders, default=()),
        crop_multiple=top.take("crop_multiple", keys.whole, default=0),
    )
    if "semseg" in content:
        found |= _read_semseg(top.below("semseg", _SEMSEG_KEYS))
    if "depth" in content:
        found |= _read_depth(top.below("depth", _DEPTH_KEYS))
    if "rgb" in content:
        rgb = top.below("rgb", ("mean", "std"))
        found |= dict(rgb_mean=rgb.take("mean", keys.triple), rgb_std=rgb.take("std", keys.triple))
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


_MEANING = ("name", *(f"depth_{key}" for key in ("encoding", "unit", "scale", "invalid", "minimum", "maximum")))
_STATISTICS = ("depth_mean", "depth_std", "depth_log_mean", "depth_log_std", "rgb_mean", "rgb_std")


def _elsewhere(root):
    """A hint where the file is when the root is one level too high or too low."""
    if files.is_remote(root) or not files.is_folder(root):
        return ""
    for folder in (os.path.dirname(os.path.abspath(root)), *(files.join(root, name) for name in files.listing(root))):
        if files.is_file(files.join(folder, FILE_NAME)):
            return f"; did you mean --data.root={folder}?"
    return ""


_SEMSEG_KEYS = ("classes", "palette", "ignore", "encoding", "values")
_DEPTH_KEYS = ("encoding", "unit", "scale", "invalid", "minimum", "maximum", "mean", "std", "log_mean", "log_std")


def _read_semseg(entry):
    classes, palette = entry.take("classes", keys.names), entry.take("palette", keys.colours)
    if not classes or len(classes) > 255:
        entry.fail("classes", "1 to 255 names", f"{len(classes)} names")
    if len(palette) != len(classes):
        entry.fail("palette", f"one colour for each of the {len(classes)} classes", f"{len(palette)} colours")
    ignore = entry.take("ignore", keys.whole, default=255)
    if not len(classes) <= ignore <= 255:
        entry.fail("ignore", f"a value of no class, {len(classes)}..255", ignore)
    encoding = entry.take("encoding", keys.text, default="index")
    if encoding not in SEMSEG_ENCODINGS:
        entry.fail("encoding", f"one of {', '.join(SEMSEG_ENCODINGS)}", encoding)
    if encoding == "colour" and len(set(palette)) < len(palette):
        entry.fail("palette", "different colours, since classes are read by colour", "one colour twice")
    values = entry.take("values", keys.named, default=())
    for value, name in values:
        if value != OTHER and not _is_stored(value, encoding):
            kind = 'whole numbers "0" to "65535"' if encoding == "index" else 'colours such as "128,64,128"'
            entry.fail("values", f'an object whose keys are {kind}, or "{OTHER}"', value)
        if name not in (*classes, IGNORE):
            entry.fail("values", f'an object whose values are names of classes, or "{IGNORE}"', name)
    if values and IGNORE in classes:
        entry.fail("classes", f'names other than "{IGNORE}", which means no class in semseg.values', IGNORE)
    return dict(classes=classes, palette=palette, ignore=ignore, semseg_encoding=encoding, semseg_values=values)


def _is_stored(value, encoding):
    """Whether a key of semseg.values is a number, or a colour, as a label file may hold."""
    parts = value.split(",") if encoding == "colour" else [value]
    most, count = (255, 3) if encoding == "colour" else (65535, 1)
    return len(parts) == count and all(part in map(str, range(most + 1)) for part in parts)


def _read_depth(entry):
    found = {"encoding": entry.take("encoding", keys.text)}
    if found["encoding"] not in DEPTH_ENCODINGS:
        entry.fail("encoding", f"one of {', '.join(DEPTH_ENCODINGS)}", found["encoding"])
    found["unit"] = entry.take("unit", keys.text, default="metres")
    if found["unit"] not in DEPTH_UNITS:
        entry.fail("unit", f"one of {', '.join(DEPTH_UNITS)}", found["unit"])
    if found["encoding"] == "uint8_scaled":  # whose steps are of no usual size
        found["scale"] = entry.take("scale", keys.positive)
    else:
        found["scale"] = entry.take("scale", keys.positive, default=0.001)
    found["invalid"] = entry.take("invalid", keys.wholes, default=())
    largest = DEPTH_CODES[found["encoding"]] - 1
    if any(code > largest for code in found["invalid"]):
        entry.fail("invalid", f"a list of stored values, 0..{largest}", max(found["invalid"]))
    found["minimum"], found["maximum"] = entry.take("minimum", keys.positive), entry.take("maximum", keys.positive)
    if found["minimum"] >= found["maximum"]:
        entry.fail("maximum", f"more than minimum ({found['minimum']})", found["maximum"])
    kinds = {"mean": keys.positive, "std": keys.positive, "log_mean": keys.number, "log_std": keys.positive}
    found |= {key: entry.take(key, kind, default=None) for key, kind in kinds.items()}
    return {f"depth_{key}": value for key, value in found.items()}
