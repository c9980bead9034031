"""tools/benchmark.py --part=PART --seconds=S --json=FILE: the speed of what the options describe.

train: the training step (forward, backward, update), as `main.py train` makes it.
inference: from uint8 pictures to class ids, certainty and metres, as an exported network answers (batch norm folded).
latency: the same for one picture of 256x256 and one of 512x1024.
data: the training batches that the input pipeline prepares, without a network.
run: a whole `main.py train` with these options, in a temporary run directory: how long until the first step is done,
    images a second, share of the time that waits for input. --seconds does not bound it, --train.epochs does.
all: data, train, run (of one epoch without --train.epochs), inference and latency, each in a process of its own, as one
    table and one file. Data sets are rendered scenes where --data.name names no other. JAX has no data and run.

Pictures and labels are random and stand ready in memory, so that train and inference measure the network alone. With
--data.name they come from that data set instead, and the time spent waiting for them is reported; data and run always
read --data.name. A random batch has train.batch_size pictures of data.crop_size (else data.image_size, else 256,256
pixels).

The floating-point rate of train and inference (two operations a multiply-add, three passes a training step) is told
beside that of large 3x3 convolutions alone on this machine. --backend=jax measures train, inference and latency under
JAX, on one device, where no TensorFlow need be installed.
"""

import dataclasses
import importlib
import importlib.util
import os
import pathlib
import sys
import time

from _benchmark.all_parts import measure_all
from _benchmark.measuring import measure, measure_latency, take_turns
from _benchmark.table import table, table_of_parts
from _benchmark.work import SIZE, as_many, parameters_of
from _tool import run_tool

from mtl_tf.atomic import write_json
from mtl_tf.data.sets import describe_training
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow
from mtl_tf.training.run_directory import environment

PARTS = ("train", "inference", "latency", "data", "run", "all")

# Of the options of main.py.
USES = ("data", "augment", "model", "loss", "task", "balance", "optim", "train", "log", "tasks", "seed")


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    part: str = option("train", "What is measured.", choices=PARTS)
    backend: str = option("tensorflow", "What computes.", choices=("tensorflow", "jax"))
    seconds: float = option(20.0, "For how long, after the warm-up.", minimum=0.0)
    json: str = option("", "File to write the result to; empty = print only.")
    export: str = option(
        "",
        "inference, latency: an export (SavedModel, .tflite or .onnx) to measure instead of the options' network.",
    )
    task_count: int = option(
        0,
        "train on random data: tasks; those beyond --tasks (semseg,depth,normals,edges, say) are copies of them, "
        "as semseg2. 0 = --tasks.",
        minimum=0,
    )
    rate: bool = option(True, "train, inference: measure the machine's rate of convolutions too.")
    turns: bool = option(
        False, "Measure a window of --seconds for each line on standard input, and print each as a line of JSON."
    )


def benchmark(parsed):
    """Measures, prints a table and writes the JSON file."""
    config, own = parsed.config, parsed.own
    real = own.part in ("data", "run") or "data.name" in parsed.given
    if own.export and own.part not in ("inference", "latency"):
        raise UsageError(f"--export is measured by --part=inference and --part=latency, not by --part={own.part}")
    if own.turns and own.part in ("latency", "run", "all"):
        raise UsageError(f"--turns is there for --part=train, inference and data, not for --part={own.part}")
    if own.task_count and (own.part != "train" or real):
        raise UsageError("--task_count is there for --part=train on random data (without --data.name)")
    if own.part == "run" and own.backend != "tensorflow":
        raise UsageError("--part=run trains with --backend=tensorflow only")
    if own.part == "all":
        parts = measure_all(parsed)
        _tell(own, {"part": "all", "parts": parts}, table_of_parts(parts))
        return
    config = settled(config) if real else config
    tasks = () if own.export else as_many(describe_training(config.data).tasks(config), own.task_count)
    measured = _measured(config, tasks, own, real)
    if measured is None:
        return
    result = {
        "part": own.part,
        "backend": own.backend,
        "architecture": config.model.architecture,
        "encoder": config.model.encoder,
        "precision": config.train.precision,
        "export": own.export,
        "tasks": [task.name for task in tasks],
        "data": config.data.name if real else "random",
        "size": config.data.crop_size or config.data.image_size or (() if real else SIZE),
        "batch_size": config.train.batch_size,
        **measured,
    }
    _tell(own, result, table(result))


def _tell(own, result, text):
    """Prints the table; writes the JSON file, where there is to be one."""
    print(text)
    if own.json:
        write_json(pathlib.Path(own.json), result | {"versions": environment()})
        print(f"written to {own.json}")


def _measured(config, tasks, own, real):
    """What the part gives; None where the windows of --turns are all there is."""
    if own.part == "run":
        from _benchmark.whole_run import measure_run

        return {**measure_run(config), "devices": ("main.py train",)}
    backend = _start(own.backend)
    if own.part == "latency":
        answer, model, devices, sizes = backend.answering(config, tasks, own.export)
        found = measure_latency(answer, own.seconds, lambda: backend.peak_memory(devices), sizes)
        return {"parameters": parameters_of(model) if model else 0, "latency": found, "devices": devices}
    if own.part not in backend.PARTS:
        raise UsageError(f"--part={own.part} is not there for --backend={own.backend}, only {', '.join(backend.PARTS)}")
    begun = time.perf_counter()
    work = backend.PARTS[own.part](config, real, tasks, own.export)
    with work.naming_errors:
        if own.turns:
            take_turns(work, own.seconds)
            return None
        found = measure(work, own.seconds, own.part, begun)
    found |= {"batch_size": work.batch_size, "parameters": work.parameters, "devices": work.devices}
    found["peak_memory_mb"] = round(backend.peak_memory(work.devices) / 2**20, 1)
    if work.multiply_adds and own.rate:
        found |= _floating_point(backend, work, config, found["images_per_second"])
    return found


def _start(name):
    """The backend's module; Keras takes its backend from the environment, when it is first imported."""
    os.environ["KERAS_BACKEND"] = name
    if name == "tensorflow":
        start_tensorflow()
    elif importlib.util.find_spec("jax") is None:
        raise UsageError("--backend=jax needs JAX: pip install jax (on GPUs jax[cuda13])")
    return importlib.import_module(f"_benchmark.on_{name}")  # noqa: TID251 (ours)


def _floating_point(backend, work, config, images_per_second):
    """The rate of the network, and what share of the machine's it is."""
    from _benchmark.rate import DTYPES, convolution_rates

    rates = convolution_rates(backend, config.train.precision, work.devices[0])
    own = 2 * work.multiply_adds * images_per_second
    return {
        "gmacs_per_image": round(work.multiply_adds / 1e9, 3),
        "gflops_per_second": round(own / 1e9, 2),
        "machine_gflops": {dtype: round(rate / 1e9, 2) for dtype, rate in rates.items()},
        "machine_share": round(own / (rates[DTYPES[config.train.precision]] * len(work.devices)), 4),
    }


if __name__ == "__main__":
    sys.exit(run_tool(benchmark, Options))
