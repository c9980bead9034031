"""Pictures in, answers out: class ids, metres and the certainty of the class, in each picture's own size."""

import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mtl_tf.errors import UsageError
from mtl_tf.inference.answering import answer_module
from mtl_tf.inference.described import scale_from_json, tasks_from_json
from mtl_tf.plain_paths import plain_path
from mtl_tf.storage.texts import read_bytes
from mtl_tf.tasks import Task, usual
from mtl_tf.training.trained_run import is_export, is_saved_model

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


class Predictor:
    """Answers for pictures; made by `load`.

    Attributes:
        tasks: what it predicts: classes, colours, depth range.
        size: height and width of the pictures that it takes, pixels; None = any.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable],
        tasks: tuple[Task, ...],
        owner=None,
        size: tuple[int | None, int | None] = (None, None),
    ):
        """Answers nothing yet.

        Args:
            functions: scale -> function of pictures, uint8 (B, H, W, 3), that gives all answers by name.
            tasks: see above.
            owner: is kept alive with the functions, as a SavedModel's need it.
            size: see above.
        """
        self._functions = functions
        self._owner = owner
        self.tasks, self.size = tasks, size

    @property
    def scales(self) -> tuple[str, ...]:
        """The scales at which it answers, see `__call__`."""
        return tuple(self._functions)

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
        if scale not in self._functions:
            raise UsageError(f"scale={scale} is unavailable: this export answers at scale={', '.join(self.scales)}")
        found = self._functions[scale](image[None] if image.ndim == 3 else image)
        arrays = {name: np.asarray(value)[0] if image.ndim == 3 else np.asarray(value) for name, value in found.items()}
        # A SavedModel gives them in any order.
        order = {task.name: place for place, task in enumerate(self.tasks)}
        return Prediction({name: arrays[name] for name in sorted(arrays, key=lambda name: _place(name, order))})


def _place(name, order):
    """Where an answer stands: by its task, of which it may be one of several, NAME_WHAT."""
    of = name if name in order else max((task for task in order if name.startswith(f"{task}_")), key=len, default=name)
    return order.get(of, len(order)), name


def load(path: str | pathlib.Path, weights: str = "best", precision: str = "float32") -> Predictor:
    """A predictor from a run directory or from an export: a SavedModel, a .tflite or an .onnx file.

    Args:
        path: of either.
        weights: of a run, "best" or "averaged".
        precision: of a run, the arithmetic of its answers: "float32" or "mixed_bfloat16".

    Raises:
        UsageError: the path is neither, the run has no such weights, or an export is to have others.
    """
    path = pathlib.Path(path)
    if is_export(path):
        for name, value, usual in (("precision", precision, "float32"), ("weights", weights, "best")):
            if value != usual:
                raise UsageError(f"--{name}={value}: {path} keeps what it was exported with; export it again")
        return _from_saved_model(path) if is_saved_model(path) else predictor_of_file(path, read_bytes(str(path)))
    module, tasks = answer_module(path, weights, precision)
    return Predictor({"fit": module.fit, "native": module.native}, tasks, module)


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


def predictor_of_file(path: pathlib.Path, content: bytes) -> Predictor:
    """A predictor from the content of a .tflite or .onnx file.

    Args:
        path: of the file, for its ending and for messages.
        content: of the file.

    Raises:
        UsageError: a library is missing, the file is damaged, or something else wrote it.
    """
    from mtl_tf.inference.exported import open_export

    opened = open_export(path, content)
    try:
        tasks, scale = tasks_from_json(opened.described), scale_from_json(opened.described)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: its description is damaged; export it again") from None
    return Predictor({scale: opened.answer}, tasks, size=opened.size)
