"""Runs the commands on a data set in this process, with a network that knows the scenes by their colours.

Its answers are right without training, so that whatever is wrong with a score, a loss or a file of predictions is wrong
with how pictures and labels were read, and a run takes a second.
"""

import dataclasses
import json
import pathlib
import re
import shlex

import keras
import numpy as np
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data.sets import describe, open_split
from tests.field.scenes import FAR, NEAR, rectangles, scenes
from tests.helpers import in_this_process, one_line_error

NO_TRAINING = ("--optim.learning_rate=0", "--optim.weight_decay=0", "--train.epochs=1", "--train.batch_size=2")
QUIET = ("--log.every=1", "--log.panels_every=0", "--log.observed=0")
SIZES = {"exif3": (64, 96), "exif6": (96, 64)}


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command ended in: its exit status, the lines on standard output, and standard error."""

    status: int
    lines: list[str]
    errors: str

    def must(self, status: int, *patterns: str) -> "Said":
        """Checks the exit status, and that each pattern occurs in a line of the output or of the errors."""
        everything = "\n".join([*self.lines, self.errors])
        assert self.status == status, everything
        if status:
            one_line_error(self.status, self.errors)
        for pattern in patterns:
            assert any(re.search(pattern, line) for line in everything.splitlines()), f"{pattern!r} in\n{everything}"
        return self

    def number(self, name: str) -> float:
        """The number that stands behind a name."""
        return float(re.search(rf"\b{re.escape(name)}\s+([-+.\de]+)", "\n".join(self.lines))[1])


def run(name: str, *arguments) -> Said:
    """A tool or a command of main.py, in this process."""
    done = in_this_process(name, *arguments)
    return Said(done.returncode, done.stdout.splitlines(), done.stderr)


def next_commands(said: Said) -> dict[str, list[str]]:
    """Name -> arguments of the commands that tools/describe_dataset.py says come next."""
    words = [shlex.split(line) for line in said.lines if line.strip().startswith("python ")]
    found = {}
    for _, program, *arguments in words:
        name = pathlib.Path(program).stem
        found[arguments[0] if name == "main" else name] = arguments[1:] if name == "main" else arguments
    return found


def truth_of(folder: str, split: str) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Class ids and metres of the samples of a split that have the ids 0, 1, ..."""
    if folder == "aspect":
        return [(semseg, None) for _, semseg in rectangles(split)]
    made = scenes(split, 8, *SIZES.get(folder, (64, 64)))
    return [(each.semseg, (each.depth / 1000).astype(np.float32)) for each in made]


def index_of(name: str) -> int:
    """The number of a scene by the id of a sample, "seq1/003" for example."""
    name = name.rpartition("/")[2]
    return int(name) if name.isdecimal() else ("café", "é", "ü", "ö").index(name)


def splits_in(root: pathlib.Path) -> list[str]:
    """The splits of a data set on disk."""
    return [split for split in ("train", "val") if (root / split).is_dir()]


def samples(root: pathlib.Path, split: str, tasks: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """All samples of a split, as training and everything else gets them, by their ids."""
    config = replace(Config(), data__name="folder", data__root=str(root), tasks=tasks, model__architecture="joint")
    source = open_split(config, split, describe(config.data))
    return {name: source.read(index) for index, name in enumerate(source.ids)}


# === Networks that know ===


def knowing_colours(ids: tuple[int, int]):
    """A builder, as `build_model`, of a network that sees the disc by its red.

    Args:
        ids: the class ids of ground and disc.
    """

    def build(config, tasks, options):
        image = keras.Input((None, None, 3), name="image", dtype="float32")
        disc = _pointwise(1, [[0.5], [0], [0]], [-0.5 * 180], "encoder", "sigmoid")(image)
        outputs = {}
        for task in tasks:
            if task.name == "depth":
                near, far = ((metres / 1000 - task.mean) / task.std for metres in (NEAR, FAR))
                outputs["depth"] = _pointwise(1, [[near - far]], [far], "depth")(disc)
            else:
                kernel, bias = np.zeros((1, task.channels)), np.full(task.channels, -50.0)
                kernel[0, list(ids)], bias[list(ids)] = (-50, 50), (25, -25)
                outputs["semseg"] = _pointwise(task.channels, kernel, bias, "semseg")(disc)
        return _supervised(keras.Model(image, outputs, name=config.architecture))

    return build


def knowing_shapes(config, tasks, options):
    """A network, built as by `build_model`, that tells tall rectangles from wide ones where it sees them."""
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    seen = _pointwise(1, [[0.5], [0], [0]], [-0.5 * 150], "encoder", "sigmoid")(image)
    rows, columns = (
        keras.layers.AveragePooling2D(size, strides=1, padding="same", dtype="float32")(seen)
        for size in ((9, 1), (1, 9))
    )
    everything = keras.layers.Concatenate(dtype="float32")([seen, rows, columns])
    kernel = [[-100, 50, 50], [0, 20, -20], [0, -20, 20]]
    return _supervised(keras.Model(image, {"semseg": _pointwise(3, kernel, [50, -25, -25], "semseg")(everything)}))


def _supervised(model):
    model.label_weights = {"": 1.0}
    return model


def _pointwise(channels, kernel, bias, name, activation=None):
    weights = dict(
        kernel_initializer=keras.initializers.Constant(np.reshape(kernel, (1, 1, -1, channels))),
        bias_initializer=keras.initializers.Constant(np.asarray(bias)),
    )
    return keras.layers.Conv2D(channels, 1, activation=activation, name=name, dtype="float32", **weights)


# === What files say ===


def predicted(folder: pathlib.Path, task: str) -> dict[str, np.ndarray]:
    """Predicted class ids or metres by id."""
    files = sorted((folder / task).rglob("*.png"))
    pixels = {str(path.relative_to(folder / task).with_suffix("")): np.asarray(Image.open(path)) for path in files}
    return {name: value / np.float32(100) if task == "depth" else value for name, value in pixels.items()}


def mean_iou(answers: list[np.ndarray], labels: list[np.ndarray], classes: int) -> float:
    """Percent, over all pixels of all pictures."""
    answer, label = (np.concatenate([each.ravel() for each in maps]) for maps in (answers, labels))
    each = [((answer == n) & (label == n)).sum() / ((answer == n) | (label == n)).sum() for n in range(classes)]
    return 100 * float(np.mean(each))


def as_json(path: pathlib.Path) -> dict:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
