"""tools/benchmark.py --part=train|inference|data --seconds=S --json=FILE: the speed of what the options describe.

train: the training step (forward, backward, update), as `main.py train` makes it.
inference: from uint8 pictures to class ids, certainty and metres, as an exported network answers.
data: the training batches that the input pipeline prepares, without a network.

Pictures and labels are random and stand ready in memory, so that train and inference measure the network alone. With
--data.name they come from that data set instead, and the time spent waiting for them is reported; data always reads
--data.name. A random batch has train.batch_size pictures of data.crop_size (else data.image_size, else 256,256 pixels).
"""

import contextlib
import dataclasses
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _tool import run_tool

from mtl_tf.atomic import write_json
from mtl_tf.config import Config, replace
from mtl_tf.data.sets import describe, describe_training, open_split, open_training
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress
from mtl_tf.quiet import start_tensorflow
from mtl_tf.training.run_directory import environment

SIZE = (256, 256)  # pixels, where neither data.crop_size nor data.image_size is set
IDLE = 12  # batches that a pipeline can have prepared while it was not its turn
WARM_UP = 3  # batches: compiling, choosing kernels, filling queues
WINDOW = 0.2  # seconds: a pipeline delivers in bursts, so that single batches of a few milliseconds say little


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    part: str = option("train", "What is measured.", choices=("train", "inference", "data"))
    seconds: float = option(20.0, "For how long, after the warm-up.", minimum=0.0)
    json: str = option("", "File to write the result to; empty = print only.")
    turns: bool = option(
        False, "Measure a window of --seconds for each line on standard input, and print each as a line of JSON."
    )


@dataclasses.dataclass(frozen=True)
class Work:
    """What is measured."""

    batches: Iterator[Any]  # endless
    use: Callable[[Any], Any]  # what is done with a batch; returns when it is done
    batch_size: int  # images
    devices: tuple[str, ...]
    parameters: int  # of the network, those that are trained
    naming_errors: contextlib.AbstractContextManager  # in which reading names a bad file


def benchmark(parsed):
    """Measures, prints a table and writes the JSON file."""
    config, own = parsed.config, parsed.own
    real = own.part == "data" or "data.name" in parsed.given
    start_tensorflow()
    work = PARTS[own.part](config, real)
    with work.naming_errors:
        if own.turns:
            take_turns(work, own.seconds)
            return
        measured = measure(work, own.seconds, own.part)
    result = {
        "part": own.part,
        "architecture": config.model.architecture,
        "encoder": config.model.encoder,
        "precision": config.train.precision,
        "parameters": work.parameters,
        "data": config.data.name if real else "random",
        "size": config.data.crop_size or config.data.image_size or (() if real else SIZE),
        "batch_size": work.batch_size,
        **measured,
        "devices": work.devices,
        "versions": environment(),
    }
    print(table(result))
    if own.json:
        write_json(pathlib.Path(own.json), result)
        print(f"written to {own.json}")


# === The parts ===


def training(config: Config, real: bool) -> Work:
    """Training steps."""
    from mtl_tf.models import build_model
    from mtl_tf.training import runtime
    from mtl_tf.training.step import build_step

    tasks = describe_training(config.data).tasks(config)
    machine = runtime.start(config)
    with machine.strategy.scope():
        model = build_model(config.model, tasks)
        step = build_step(machine.strategy, model, tasks, config)

    def use(batch):
        # Reading the losses, as the trainer does, waits for the device.
        losses = {name: float(value) for name, value in step(batch).items()}
        if not losses["good"]:
            raise UsageError(f"the loss became {losses['loss']}; set a lower --optim.learning_rate")

    dataset, naming_errors = training_batches(config) if real else random_batches(config, tasks)
    batches = iter(machine.strategy.experimental_distribute_dataset(dataset))
    return Work(batches, use, config.train.batch_size, machine.devices, parameters_of(model), naming_errors)


def inference(config: Config, real: bool) -> Work:
    """Answers of the network, on one device."""
    import tensorflow as tf

    from mtl_tf.data.pipeline import EvaluationData
    from mtl_tf.inference.predictor import AnswerModule
    from mtl_tf.models import build_model
    from mtl_tf.training import runtime

    tasks, machine = describe(config.data).tasks(config), runtime.start(replace(config, train__devices=1))
    model = build_model(config.model, tasks)
    module = AnswerModule(model, tasks, config.data.image_size)

    def use(image):
        return [answer.numpy() for answer in module.native(image).values()]

    batch_size = config.train.batch_size
    if real:
        data = EvaluationData(open_split(config, config.data.val_split), config, describe(config.data))
        batch_size = batch_size if data.one_size() else 1
        dataset, naming_errors = data.dataset(batch_size).repeat(), data.naming_errors()
    else:
        dataset, naming_errors = random_batches(config, tasks)
    images = dataset.map(lambda batch: tf.cast(batch["image"], tf.uint8)).prefetch(config.data.prefetch)
    return Work(iter(images), use, batch_size, machine.devices, parameters_of(model), naming_errors)


def preparing(config: Config, real: bool) -> Work:
    """Training batches; there is nothing random to measure."""
    dataset, naming_errors = training_batches(config)
    return Work(iter(dataset), lambda batch: None, config.train.batch_size, ("CPU:0",), 0, naming_errors)


PARTS = {"train": training, "inference": inference, "data": preparing}


def training_batches(config):
    """The batches of the training split, for as long as anybody measures, and the context in which to read them."""
    from mtl_tf.data.pipeline import TrainingData

    config = replace(config, train__epochs=1_000_000)
    descriptor = describe_training(config.data)
    data = TrainingData(open_training(config, descriptor), config, descriptor)
    return data.dataset(), data.naming_errors()


def random_batches(config, tasks):
    """One random batch again and again, and a context that does nothing."""
    import tensorflow as tf

    shape = (config.train.batch_size, *(config.data.crop_size or config.data.image_size or SIZE))
    random = np.random.default_rng(config.seed)
    batch = {"image": random.uniform(0, 255, (*shape, 3)).astype(np.float32), "index": np.arange(shape[0])}
    for task in tasks:
        if task.name == "semseg":
            batch["semseg"] = random.integers(0, task.channels, shape, np.int32)
        else:
            batch["depth"] = random.uniform(task.minimum, task.maximum, shape).astype(np.float32)
    return tf.data.Dataset.from_tensors(batch).repeat(), contextlib.nullcontext()


def parameters_of(model) -> int:
    """Number of trained weights."""
    return sum(weight.shape.num_elements() for weight in model.trainable_variables)


# === Measuring ===


def measure(work: Work, seconds: float, label: str) -> dict:
    """Median, best and worst over windows of at least `WINDOW` seconds, for `seconds` and at least one window."""
    from mtl_tf.training.runtime import peak_memory

    print(f"warming up {label}", file=sys.stderr, flush=True)
    for _ in range(WARM_UP):
        work.use(next(work.batches))
    progress = Progress(f"measuring {label}", round(seconds), "s")
    start = window_start = time.perf_counter()
    cpu = time.process_time()
    waited, steps, in_window, windows = 0.0, 0, 0, []
    while not windows or window_start - start < seconds:
        before = time.perf_counter()
        batch = next(work.batches)
        waited += time.perf_counter() - before
        work.use(batch)
        now = time.perf_counter()
        in_window += 1
        if now - window_start >= WINDOW:
            windows.append((now - window_start) / in_window)
            steps += in_window
            progress.advance(int(now - start) - int(window_start - start), f"{windows[-1] * 1e3:.1f} ms a batch")
            window_start, in_window = now, 0
    progress.close()
    cpu = time.process_time() - cpu
    took = {"": statistics.median(windows), "_best": min(windows), "_worst": max(windows)}
    return {
        **{f"images_per_second{name}": round(work.batch_size / value, 4) for name, value in took.items()},
        **{f"step_ms{name}": round(value * 1e3, 4) for name, value in took.items()},
        "images_per_cpu_second": round(steps * work.batch_size / cpu, 4),
        "steps": steps,
        "seconds": round(window_start - start, 3),
        "wait_share": round(waited / (time.perf_counter() - start), 5),
        "peak_memory_mb": round(peak_memory(work.devices) / 2**20, 1),
    }


def take_turns(work: Work, seconds: float):
    """For each line on standard input a window, after the batches that are prepared already: images and time of it.

    So that programs can be measured in turn (tools/benchmark_data_torch.py), none while another works.
    """
    for _ in sys.stdin:
        for _ in range(IDLE):
            work.use(next(work.batches))
        start, cpu, images = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            work.use(next(work.batches))
            images += work.batch_size
        window = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({"images": images} | window), flush=True)


def table(result: dict) -> str:
    """The result as text."""
    network = "{architecture} {encoder}, {parameters:,} parameters, {precision}".format(**result)
    size = "x".join(map(str, result["size"])) or "as it is"
    lines = [
        f"{result['part']}: {network if result['parameters'] else 'no network'}",
        f"{result['data']} data, batch {result['batch_size']}, size {size}",
        f"{', '.join(result['devices']):<12}{'median':>10}{'best':>10}{'worst':>10}",
    ]
    for label, name in (("images/s", "images_per_second"), ("ms a batch", "step_ms")):
        lines.append(f"{label:<12}" + "".join(f"{result[name + suffix]:>10.2f}" for suffix in ("", "_best", "_worst")))
    lines.append(
        f"{result['steps']} batches in {result['seconds']:.1f} s, {result['wait_share']:.1%} of it waiting for input; "
        f"{result['images_per_cpu_second']:.1f} images a second of CPU time; "
        f"peak memory {result['peak_memory_mb']:.0f} MiB"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_tool(benchmark, Options))
