"""The network with what comes before and after it: pictures in, answers out, as TensorFlow functions."""

import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from mtl_tf.config import replace
from mtl_tf.data import geometry
from mtl_tf.inference.runs import TrainedRun, open_run
from mtl_tf.models.choice import pruned
from mtl_tf.models.folding import fold
from mtl_tf.tasks import Task, answers
from mtl_tf.training.trained_run import read_configuration


def resize_by_kernel(images, size):
    """Bilinear resize with anti-aliasing, by TensorFlow's kernel for it; see `resizing.resize_antialiased`."""
    return tf.image.resize(images, size, antialias=True)


class AnswerModule(tf.Module):
    """Pictures in, answers out: the network with what comes before and after it; this is what is exported.

    Args:
        model: as `build_model` makes it, or folded (`models.folding`).
        tasks: what it predicts.
        image_size: (H, W) that it was trained at, or () for any.
        fit: how pictures of another aspect became so (data.fit).
        resize: brings pictures to the size of the training.
    """

    def __init__(
        self,
        model: keras.Model,
        tasks: tuple[Task, ...],
        image_size: tuple[int, ...],
        fit: str = "stretch",
        resize: Callable = resize_by_kernel,
    ):
        super().__init__()
        # A variable that Keras tracks is exported together with a copy, and TensorFlow's loader in C++ restores one of
        # the two only. The module therefore holds the plain variables; a bound method hides the model.
        self.weights = [variable.value for variable in model.variables]
        self._model, self._tasks, self._image_size, self._how = model.__call__, tasks, image_size, fit
        self._resize = resize
        self.fit, self.native = self.function("fit"), self.function("native")

    def function(self, scale: str, size: tuple[int, ...] = (None, None)):
        """A function of `image`, uint8 (B, H, W, 3), that gives all answers (`Task.answers`) in the picture's size.

        Args:
            scale: "fit" or "native", see `Predictor`.
            size: (H, W) of all pictures; None = any.
        """
        pictures = tf.TensorSpec((None, *size, 3), tf.uint8, name="image")
        answer = {"fit": self._fit, "native": self._native}[scale]
        return tf.function(answer, input_signature=[pictures], autograph=False)

    def _fit(self, image):
        """At the size of the training, as its pictures were brought to it; of a cropped one, all at its scale."""
        frame, how = self._image_size, self._how
        if not frame:
            return self._native(image)
        size, inner = _sizes(image, frame, how)
        scaled = self._resize(image, inner)
        raws = self._model(geometry.framed(scaled, frame) if how == "pad" else scaled, training=False)
        if how == "pad":
            raws = {task.name: geometry.unframed(raws[task.name], inner, frame) for task in self._tasks}
        return answers(self._tasks, raws, size)

    def _native(self, image):
        """At the picture's own size."""
        return answers(self._tasks, self._model(tf.cast(image, tf.float32), training=False))


def answer_module(
    run_dir: pathlib.Path, weights: str = "best", precision: str = "float32"
) -> tuple[AnswerModule, tuple[Task, ...]]:
    """The functions of a run's best (or averaged) weights; raises as `folded_run`."""
    model, run = folded_run(run_dir, weights, precision)
    return module_of(model, run), run.tasks


def folded_run(run_dir: pathlib.Path, weights: str, precision: str) -> tuple[keras.Model, TrainedRun]:
    """A run, and its network for answers: pruned, batch norm folded, whatever it was trained in.

    Raises:
        UsageError: the folder is no run, or has no such weights.
    """
    config = replace(read_configuration(run_dir), run_dir=str(run_dir), weights=weights, precision=precision)
    run = open_run(replace(config, model__recompute=False))
    return fold(pruned(run.model)), run


def module_of(model: keras.Model, run: TrainedRun, resize: Callable = resize_by_kernel) -> AnswerModule:
    """The functions of a run's network; see `AnswerModule`."""
    return AnswerModule(model, run.tasks, run.config.data.image_size, run.config.data.fit, resize)


def _sizes(image, frame, how):
    """Height and width of a picture, and at the scale of the frame: numbers where they are known."""
    known = list(image.shape[1:3])
    if None in known:
        size = tf.shape(image)[1:3]
        return size, geometry.scaled_size(size, frame, how)
    with tf.init_scope():  # outside of the graph, which then needs no shapes at run time
        return known, geometry.scaled_size(known, frame, how).numpy().tolist()
