"""The machine: devices, distribution strategy, arithmetic and seeds. Nothing here knows of networks or data."""

import contextlib
import dataclasses
import json
import math
import resource
import sys
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.balancing import AGGREGATORS
from mtl_tf.config import Config
from mtl_tf.data.pipeline import ALL, Share
from mtl_tf.errors import UsageError
from mtl_tf.training.cluster import ALONE, Cluster, join

MOST_CPU_DEVICES = 16  # logical ones, for trying out what several GPUs would do
_BLOCK = 1024  # bytes; processes exchange texts of so many sizes only, since a sum is compiled for each


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Where a run computes.

    Attributes:
        strategy: the default strategy on one device, MirroredStrategy on several, MultiWorkerMirroredStrategy where
            there are several processes.
        devices: names of those of this process.
        cluster: the processes.
    """

    strategy: tf.distribute.Strategy
    devices: tuple[str, ...]
    cluster: Cluster = ALONE

    @property
    def replicas(self) -> int:
        """Devices of all processes."""
        return len(self.devices) * self.cluster.workers

    def distribute(self, make: Callable[[Share], tf.data.Dataset]):
        """Distributes the dataset that `make` gives for a share of each batch."""
        if self.cluster.workers == 1:
            return self.strategy.experimental_distribute_dataset(make(ALL))
        share = Share(self.cluster.worker, self.cluster.workers, len(self.devices))
        return self.strategy.distribute_datasets_from_function(lambda context: make(share))

    def exchange(self, value) -> list:
        """What every process gives, once all have come here.

        Args:
            value: of this process, as JSON can hold it.

        Returns:
            The values in the order of the workers.
        """
        if self.cluster.workers == 1:
            return [value]
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        blocks = -(-int(self._table([len(text)]).max()) // _BLOCK)
        table = self._table(np.pad(text, (0, blocks * _BLOCK - len(text))))
        return [json.loads(row.tobytes().rstrip(b"\0")) for row in table.astype(np.uint8)]

    def _table(self, row):
        """The rows of all processes: every device adds its share of its process' row to what is zero elsewhere."""
        table = np.zeros((self.cluster.workers, len(row)), np.float32)
        table[self.cluster.worker] = row
        return np.rint(self._sum(tf.constant(table / len(self.devices))).numpy()).astype(np.int64)

    @tf.function(autograph=False)
    def _sum(self, value):
        return self.strategy.reduce("SUM", self.strategy.run(tf.identity, args=(value,)), axis=None)


def start(config: Config, processes: Cluster = ALONE, training: bool = True) -> Runtime:
    """Chooses the devices, sets precision and seeds; joins the other processes of a run, where there are several.

    Args:
        config: what is computed.
        processes: all that do.
        training: whether steps are made; else what only these need, and a run may have been made with on other
            devices, is not asked for.

    Raises:
        UsageError: more devices are asked for than there are or than there are images in a batch, the batch cannot be
            divided among several processes, or XLA is asked for on several devices.
    """
    devices = _devices(config.train.devices, processes)
    if training:
        _check_step(config, processes, devices)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(config.train.precision)
    keras.utils.set_random_seed(config.seed)
    if processes.workers > 1:
        return Runtime(join(), devices, processes)
    strategy = tf.distribute.MirroredStrategy(list(devices)) if len(devices) > 1 else tf.distribute.get_strategy()
    return Runtime(strategy, devices)


def _check_step(config, processes, devices):
    replicas = len(devices) * processes.workers
    if config.train.xla and replicas > 1:
        raise UsageError(
            f"--train.xla compiles the step of one device, but there are {replicas}: set --train.devices=1, or "
            "leave --train.xla out"
        )
    halves = AGGREGATORS[config.balance.aggregator].batches
    each = max(config.train.accumulate, halves)
    size, parts = config.train.batch_size, replicas * each
    # The devices of one machine may get unequal shares, but none nothing: all but the last get as many, rounded up.
    empty = (replicas - 1) * math.ceil(size / replicas) >= size
    if empty or (size % parts and (processes.workers > 1 or each > 1)):
        of_halves = f", in halves for balance.aggregator={config.balance.aggregator}" if halves > 1 else ""
        raise UsageError(
            f"train.batch_size={size} cannot be cut into equal parts for {processes.workers} "
            f"process(es) with {len(devices)} device(s) and train.accumulate={config.train.accumulate}{of_halves}; use "
            f"a multiple of {parts}"
        )


def _devices(count: int, processes: Cluster) -> tuple[str, ...]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        for gpu in gpus:
            # Else the first process takes the whole memory of every GPU.
            tf.config.experimental.set_memory_growth(gpu, True)
        if count > len(gpus):
            raise UsageError(f"--train.devices={count}, but this machine has {len(gpus)} GPUs")
        if count and processes.workers > 1:  # a cluster's strategy takes all that it sees
            tf.config.set_visible_devices(gpus[:count], "GPU")
        return tuple(f"GPU:{index}" for index in range(count or len(gpus)))
    count = max(count, 1)
    if count > 1 and processes.workers > 1:
        raise UsageError(
            f"--train.devices={count}, but a process of a cluster without GPUs has one device; leave it out, and start "
            f"{count} times as many processes"
        )
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
