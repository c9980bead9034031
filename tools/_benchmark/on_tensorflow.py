"""The parts under TensorFlow, as `main.py train` and an exported network do them."""

import contextlib
import itertools
import pathlib

import tensorflow as tf

from _benchmark.work import TRAINING_PASSES, Work, parameters_of, random_batch, size_of
from mtl_tf.config import Config, replace
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, describe_training, open_split, open_training
from mtl_tf.errors import UsageError
from mtl_tf.inference.answering import AnswerModule
from mtl_tf.inference.predictor import load
from mtl_tf.models import build_model
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.folding import fold
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.trained_run import is_export

IDLE = 12  # batches that a pipeline can have prepared while it was not its turn

peak_memory = runtime.peak_memory


def training(config: Config, real: bool, tasks, export: str) -> Work:
    """Training steps."""
    machine = runtime.start(config)
    with machine.strategy.scope():
        model = build_model(config.model, tasks, config.arch_options)
        step = build_step(machine.strategy, model, tasks, config)

    number = itertools.count()

    def use(batch):
        second = batch if step.needs_second_batch else None
        found = step(batch, **step.at(next(number), second))
        found.pop("balance", None)
        # Reading the losses, as the trainer does, waits for the device.
        losses = {name: float(value) for name, value in found.items()}
        if not losses["good"]:
            raise UsageError(f"the loss became {losses['loss']}; set a lower --optim.learning_rate")

    dataset, naming_errors = training_batches(config) if real else random_batches(config, tasks)
    batches = iter(machine.strategy.experimental_distribute_dataset(dataset))
    return Work(
        batches,
        use,
        config.train.batch_size,
        machine.devices,
        parameters_of(model),
        0 if real and not config.data.crop_size else TRAINING_PASSES * multiply_adds(model, size_of(config)),
        IDLE if real else 1,
        naming_errors,
    )


def inference(config: Config, real: bool, tasks, export: str) -> Work:
    """Answers of the network, on one device."""
    answer, model, devices, _ = answering(config, tasks, export)
    batch_size, naming_errors = config.train.batch_size, contextlib.nullcontext()
    if real:
        data = EvaluationData(open_split(config, config.data.val_split), config, describe(config.data))
        batch_size = batch_size if data.one_size() else 1
        dataset, naming_errors = data.dataset(batch_size).repeat(), data.naming_errors()
    else:
        dataset, naming_errors = random_batches(config, ())
    images = dataset.map(lambda batch: tf.cast(batch["image"], tf.uint8)).prefetch(config.data.prefetch)
    return Work(
        iter(images),
        answer,
        batch_size,
        devices,
        parameters_of(model) if model else 0,
        multiply_adds(model, size_of(config)) if model and not real else 0,
        IDLE if real else 1,
        naming_errors,
    )


def answering(config: Config, tasks, export: str):
    """Of the network that the options describe, as it would be exported, or of an export.

    Returns:
        A function of uint8 (1, H, W, 3); the network, None of an export; devices; the sizes that it takes, none = any.
    """
    machine = runtime.start(replace(config, train__devices=1), training=False)
    if export:
        if not is_export(pathlib.Path(export)):
            raise UsageError(f"--export={export} is no export; main.py export --run_dir=RUN writes one")
        predictor = load(export)
        scale = predictor.scales[-1]  # not resized, where it has both
        sizes = () if None in predictor.size else (predictor.size,)
        return lambda image: predictor(image, scale), None, machine.devices, sizes
    model = fold(build_model(replace(config, model__recompute=False).model, tasks, config.arch_options))
    module = AnswerModule(model, tasks, config.data.image_size)

    def answer(image):
        return [value.numpy() for value in module.native(image).values()]

    return answer, model, machine.devices, ()


def preparing(config: Config, real: bool, tasks, export: str) -> Work:
    """Training batches; there is nothing random to measure."""
    dataset, naming_errors = training_batches(config)
    batches = iter(dataset)
    return Work(
        batches, lambda batch: None, config.train.batch_size, ("CPU:0",), idle=IDLE, naming_errors=naming_errors
    )


PARTS = {"train": training, "inference": inference, "data": preparing}


def training_batches(config):
    """The batches of the training split, for as long as anybody measures, and the context in which to read them."""
    config = replace(config, train__epochs=1_000_000)
    descriptor = describe_training(config.data)
    data = TrainingData(open_training(config, descriptor), config, descriptor)
    return data.dataset(), data.naming_errors()


def random_batches(config, tasks):
    """One random batch again and again, and a context that does nothing."""
    return tf.data.Dataset.from_tensors(random_batch(config, tasks)).repeat(), contextlib.nullcontext()


def compiled(function):
    """The function as a graph."""
    return tf.function(function, autograph=False)


def wait(value):
    """Reads one number of a tensor."""
    tf.reshape(value, [-1])[0].numpy()
