"""The parts under JAX, where there need be no TensorFlow: one device, random data."""

import itertools
import resource
import sys

import jax
import keras

from _benchmark.work import TRAINING_PASSES, Work, parameters_of, random_batch, size_of
from mtl_tf.config import Config, replace
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.folding import fold
from mtl_tf.tasks import answers
from mtl_tf.training.jax_step import JaxStep


def training(config: Config, real: bool, tasks, export: str) -> Work:
    """Training steps."""
    _refuse_data(real)
    devices = _start(config)
    model = build_model(config.model, tasks, config.arch_options)
    step = JaxStep(model, tasks, config)

    def use(batch):
        losses = {name: float(value) for name, value in step(batch).items()}
        if losses["loss"] != losses["loss"]:
            raise UsageError(f"the loss became {losses['loss']}; set a lower --optim.learning_rate")

    batches = itertools.repeat(jax.device_put(random_batch(config, tasks)))
    cost = TRAINING_PASSES * multiply_adds(model, size_of(config))
    return Work(batches, use, config.train.batch_size, devices, parameters_of(model), cost)


def inference(config: Config, real: bool, tasks, export: str) -> Work:
    """Answers of the network."""
    _refuse_data(real)
    answer, model, devices, _ = answering(config, tasks, export)
    images = itertools.repeat(jax.device_put(random_batch(config, ())["image"].astype("uint8")))
    cost = multiply_adds(model, size_of(config))
    return Work(images, answer, config.train.batch_size, devices, parameters_of(model), cost)


PARTS = {"train": training, "inference": inference}


def answering(config: Config, tasks, export: str):
    """Of the network that the options describe, batch norm folded."""
    if export:
        raise UsageError("--export names an export, which only --backend=tensorflow reads")
    devices = _start(config)
    model = fold(build_model(replace(config, model__recompute=False).model, tasks, config.arch_options))

    @jax.jit
    def answers_of(weights, others, image):
        raws, _ = model.stateless_call(weights, others, keras.ops.cast(image, "float32"), training=False)
        return answers(tasks, raws)

    state = [
        [variable.value for variable in each] for each in (model.trainable_variables, model.non_trainable_variables)
    ]
    return lambda image: jax.device_get(answers_of(*state, image)), model, devices, ()


def _refuse_data(real):
    if real:
        raise UsageError("--data.name with --backend=jax: data sets are read by TensorFlow; leave it out (random data)")


def _start(config) -> tuple[str, ...]:
    """Sets precision and seeds; the name of the device."""
    if config.train.precision == "mixed_float16":
        raise UsageError("--train.precision=mixed_float16 needs --backend=tensorflow; JAX has mixed_bfloat16")
    keras.config.set_dtype_policy(config.train.precision)
    keras.utils.set_random_seed(config.seed)
    device = jax.devices()[0]
    return (f"{device.platform.upper()}:{device.id}",)


def compiled(function):
    """The function by XLA."""
    return jax.jit(function)


def wait(value):
    """Waits for the device."""
    value.block_until_ready()


def peak_memory(devices: tuple[str, ...]) -> int:
    """Bytes, as the device counts them, else as the system does."""
    counted = jax.devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return counted.get("peak_bytes_in_use") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
