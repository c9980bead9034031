"""Pictures in, answers out: class ids, metres and the certainty of the class, in each picture's own size."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.config import replace
from mtl_tf.data import geometry
from mtl_tf.errors import UsageError
from mtl_tf.inference.runs import open_run
from mtl_tf.models.choice import pruned
from mtl_tf.models.folding import fold
from mtl_tf.parsing import parse_json
from mtl_tf.plain_paths import plain_path
from mtl_tf.tasks import KINDS, Task, answers, usual
from mtl_tf.training.trained_run import is_saved_model, read_configuration

SCALES = ("fit", "native")
ASSET = "tasks.json"


class Prediction(Mapping):
    """Answers for one picture, or for a batch (then with a leading axis), by name; each is an attribute, too.

    Of a segmentation "semseg" these are semseg, int32 (H, W) class ids, and semseg_probability, float32 (H, W) of the
    answered class, 0..1; of depth it is depth, float32 (H, W) metres.
    """

    def __init__(self, answers: dict[str, np.ndarray]):
        self._answers = dict(answers)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._answers[name]

    def __iter__(self):
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __getattr__(self, name: str) -> np.ndarray | None:
        """The answer; None for one of the usual tasks that the network has not."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._answers:
            return self._answers[name]
        if any(name in (task, f"{task}_probability") for task in usual()):
            return None
        raise AttributeError(f"a network without {name!r}; it answers {', '.join(self._answers)}")


class AnswerModule(tf.Module):
    """The network with what comes before and after it, as two TensorFlow functions; this is what is exported.

    Args:
        model: as `build_model` makes it, or folded (`models.folding`).
        tasks: what it predicts.
        image_size: (H, W) that it was trained at, or () for any.
        fit: how pictures of another aspect became so (data.fit).
    """

    def __init__(self, model: keras.Model, tasks: tuple[Task, ...], image_size: tuple[int, ...], fit: str = "stretch"):
        super().__init__()
        # A variable that Keras tracks is exported together with a copy, and TensorFlow's loader in C++ restores one of
        # the two only. The module therefore holds the plain variables; a bound method hides the model.
        self.weights = [variable.value for variable in model.variables]
        self._model, self._tasks, self._image_size, self._how = model.__call__, tasks, image_size, fit
        pictures = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
        self.fit = tf.function(self._fit, input_signature=[pictures], autograph=False)
        self.native = tf.function(self._native, input_signature=[pictures], autograph=False)

    def _fit(self, image):
        """At the size of the training, as its pictures were brought to it; of a cropped one, all at its scale."""
        frame, how = self._image_size, self._how
        if not frame:
            return self._native(image)
        size = tf.shape(image)[1:3]
        inner = geometry.scaled_size(size, frame, how)
        scaled = tf.image.resize(image, inner, antialias=True)
        raws = self._model(geometry.framed(scaled, frame) if how == "pad" else scaled, training=False)
        if how == "pad":
            raws = {task.name: geometry.unframed(raws[task.name], inner, frame) for task in self._tasks}
        return answers(self._tasks, raws, size)

    def _native(self, image):
        """At the picture's own size."""
        return answers(self._tasks, self._model(tf.cast(image, tf.float32), training=False))


class Predictor:
    """Answers for pictures; made by `load`.

    Attributes:
        tasks: what it predicts: classes, colours, depth range.
    """

    def __init__(self, functions, tasks: tuple[Task, ...], owner):
        self._functions = functions
        self._owner = owner  # a SavedModel's functions die with it
        self.tasks = tasks

    def __call__(self, image: np.ndarray, scale: str = "fit") -> Prediction:
        """Answers for one picture or a batch.

        Args:
            image: uint8 RGB, (H, W, 3) or (B, H, W, 3).
            scale: "fit" brings the picture to `data.image_size` as the training did (data.fit), and the answers back to
                its own size; "native" does not.

        Raises:
            UsageError: the picture is of another type or shape.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape:
            raise UsageError(
                f"a picture must be uint8 RGB of shape (H, W, 3) or (B, H, W, 3), got {image.dtype} {image.shape}"
            )
        if scale not in SCALES:
            raise UsageError(f"scale takes one of {', '.join(SCALES)}; got {scale!r}")
        found = self._functions[scale](tf.constant(image[None] if image.ndim == 3 else image))
        arrays = {name: value.numpy()[0] if image.ndim == 3 else value.numpy() for name, value in found.items()}
        # A SavedModel gives them in any order.
        order = {task.name: place for place, task in enumerate(self.tasks)}
        return Prediction({name: arrays[name] for name in sorted(arrays, key=lambda name: _place(name, order))})


def _place(name, order):
    """Where an answer stands: by its task, of which it may be one of several, NAME_WHAT."""
    of = name if name in order else max((task for task in order if name.startswith(f"{task}_")), key=len, default=name)
    return order.get(of, len(order)), name


def load(path: str | pathlib.Path, weights: str = "best", precision: str = "float32") -> Predictor:
    """A predictor from a run directory or from an exported SavedModel.

    Args:
        path: of either.
        weights: of a run, "best" or "averaged".
        precision: of a run, the arithmetic of its answers: "float32" or "mixed_bfloat16".

    Raises:
        UsageError: the path is neither, the run has no such weights, or a SavedModel is to have others.
    """
    path = pathlib.Path(path)
    if is_saved_model(path):
        for name, value, usual in (("precision", precision, "float32"), ("weights", weights, "best")):
            if value != usual:
                raise UsageError(f"--{name}={value}: {path} keeps what it was exported with; export it again")
        return _from_saved_model(path)
    module, tasks = answer_module(path, weights, precision)
    return Predictor({"fit": module.fit, "native": module.native}, tasks, module)


def answer_module(
    run_dir: pathlib.Path, weights: str = "best", precision: str = "float32"
) -> tuple[AnswerModule, tuple[Task, ...]]:
    """The functions of a run's best (or averaged) weights, pruned, batch norm folded, whatever it was trained in."""
    config = replace(read_configuration(run_dir), run_dir=str(run_dir), weights=weights, precision=precision)
    run = open_run(replace(config, model__recompute=False))
    model = fold(pruned(run.model))
    return AnswerModule(model, run.tasks, config.data.image_size, config.data.fit), run.tasks


def _from_saved_model(path):
    asset = path / "assets" / ASSET
    try:
        tasks = tasks_from_json(asset.read_text(encoding="utf-8"))
        loaded = tf.saved_model.load(plain_path(path))
        functions = {"fit": loaded.fit, "native": loaded.native}
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(f"{path} is not a SavedModel that `main.py export` wrote, or is damaged ({reason})") from None
    return Predictor(functions, tasks, loaded)


# === The description that travels with a SavedModel ===


def tasks_to_json(tasks: tuple[Task, ...], **about) -> str:
    """Classes, colours and depth range as JSON, with what else is to be told about the network."""
    described = {task.name: {"kind": task.kind, **dataclasses.asdict(task)} for task in tasks}
    return json.dumps({**about, "tasks": described}, indent=1)


def tasks_from_json(text: str) -> tuple[Task, ...]:
    """What `tasks_to_json` wrote, also before tasks had kinds.

    Raises:
        UsageError: a task is of a kind that is not known.
    """
    tasks = []
    for name, entry in parse_json(text)["tasks"].items():
        if "kind" not in entry:
            entry |= {"kind": {"semseg": "classes", "depth": "depth"}[name], "objective": entry.get("loss")}
        if entry["kind"] not in KINDS:
            raise UsageError(
                f"its task {name} is of kind {entry['kind']}, which is not built in ({', '.join(KINDS)} are); name the "
                "file that adds it with --plugin=FILE.py, in Python call mtl_tf.register before mtl_tf.load"
            )
        kind = KINDS[entry["kind"]].task_type
        fields = {field.name for field in dataclasses.fields(kind)}
        tasks.append(kind(**{key: _frozen(value) for key, value in entry.items() if key in fields}))
    return tuple(tasks)


def _frozen(value):
    """The same with tuples for lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
