"""The machine: devices, distribution strategy, arithmetic and seeds. Nothing here knows of networks or data."""

import contextlib
import dataclasses
import resource
import sys

import keras
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.errors import UsageError

MOST_CPU_DEVICES = 16  # logical ones, for trying out what several GPUs would do


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Where a run computes.

    Attributes:
        strategy: the default strategy on one device, MirroredStrategy on several.
        devices: their names.
    """

    strategy: tf.distribute.Strategy
    devices: tuple[str, ...]


def start(config: Config) -> Runtime:
    """Chooses the devices, sets precision and seeds.

    Raises:
        UsageError: more devices are asked for than there are, or XLA on several.
    """
    devices = _devices(config.train.devices)
    if config.train.xla and len(devices) > 1:
        raise UsageError(
            f"--train.xla compiles the step of one device, but there are {len(devices)}: set --train.devices=1, or "
            "leave --train.xla out"
        )
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(config.train.precision)
    keras.utils.set_random_seed(config.seed)
    strategy = tf.distribute.MirroredStrategy(list(devices)) if len(devices) > 1 else tf.distribute.get_strategy()
    return Runtime(strategy, devices)


def _devices(count: int) -> tuple[str, ...]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        for gpu in gpus:
            # Else the first process takes the whole memory of every GPU.
            tf.config.experimental.set_memory_growth(gpu, True)
        if count > len(gpus):
            raise UsageError(f"--train.devices={count}, but this machine has {len(gpus)} GPUs")
        return tuple(f"GPU:{index}" for index in range(count or len(gpus)))
    count = max(count, 1)
    if count > MOST_CPU_DEVICES:
        raise UsageError(
            f"--train.devices={count}, but there is no GPU here, and a CPU makes at most {MOST_CPU_DEVICES} devices"
        )
    if count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        with contextlib.suppress(RuntimeError):  # TensorFlow has started: what there is must do
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        there = len(tf.config.list_logical_devices("CPU"))
        if there < count:
            raise UsageError(f"--train.devices={count}, but TensorFlow has already started with {there} CPU devices")
    return tuple(f"CPU:{index}" for index in range(count))


def peak_memory(devices: tuple[str, ...]) -> int:
    """Bytes: of the fullest GPU, or of this process where there is none."""
    gpus = [device for device in devices if device.startswith("GPU")]
    if gpus:
        return max(tf.config.experimental.get_memory_info(device)["peak"] for device in gpus)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
