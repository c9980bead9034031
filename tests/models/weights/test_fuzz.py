"""Mutated files of every format: a clear refusal, or tensors of the shapes that were there; never a crash or a hang.

The mutations run in one process of their own, whose memory is bounded, so that a crash of a library is seen as such.
"""

import json
import math
import pathlib
import resource
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import safetensors.numpy

from tests.helpers import ROOT
from tests.models.weights import draw, torch_writer

MUTATIONS = {".h5": 30, ".pth": 100, ".safetensors": 100}  # of each file; HDF5 takes a process for each
MEMORY = 3 * 2**30  # bytes of addresses over what the imports take
SECONDS = 5.0  # of computing, for one small file; a right answer takes milliseconds


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Flips bits, cuts, doubles or exchanges a piece."""
    changed = bytearray(content)
    kind = random.integers(5)
    if kind == 0:
        for place in random.integers(0, len(changed), random.integers(1, 9)):
            changed[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del changed[random.integers(len(changed)) :]
    elif kind == 2:
        start, other, length = random.integers(0, len(changed), 3)
        changed[start : start + length % 512] = changed[other : other + length % 512]
    elif kind == 3:
        # Fields of sizes and offsets.
        start = int(random.integers(len(changed)))
        changed[start : start + 8] = random.choice([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"])
    else:
        start = int(random.integers(len(changed)))
        del changed[start : start + int(random.integers(1, 64))]
    return bytes(changed)


def read_all(path) -> dict[str, list[int]] | None:
    """Reads a file through the public reader; None where it is refused."""
    from mtl_tf.models.weights.files import open_tensors
    from mtl_tf.models.weights.tensors import UnreadableError, numbers

    try:
        with open_tensors(path) as tensors:
            # As in the network: what has another size than any tensor there is never read.
            small = {name: tensor for name, tensor in tensors.items() if math.prod(tensor.shape) < 2**20}
            return {name: list(numbers(name, tensor).shape) for name, tensor in small.items()}
    except UnreadableError as error:
        assert "\n" not in str(error) and 10 < len(str(error)) < 500, error
        return None


def child(folder: str, times: int = 1, seed: int = 0):
    """Mutates every file of a folder many times; prints the outcomes of each."""
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for source in sorted(pathlib.Path(folder).iterdir()):
        content, random = source.read_bytes(), np.random.default_rng([seed, *source.name.encode()])
        assert read_all(source)
        outcomes = {"name": source.name, "read": 0, "refused": 0}
        for number in range(times * MUTATIONS[source.suffix]):
            mutated = source.with_name(f".mutated{source.suffix}")
            mutated.write_bytes(mutate(content, random))
            print(source.name, number, flush=True)
            begin = time.process_time()
            outcomes["refused" if read_all(mutated) is None else "read"] += 1
            assert time.process_time() - begin < SECONDS, number
        mutated.unlink()
        print(json.dumps(outcomes), flush=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small file of every format."""
    folder = tmp_path_factory.mktemp("fuzz")
    shapes = {f"layer1.{i}.{name}": (3, 2, 3, 3) for i in range(3) for name in ("conv1.weight", "conv2.weight")}
    tensors = {name: draw.weight(name, shape) for name, shape in {**shapes, "bn1.bias": (5,)}.items()}
    safetensors.numpy.save_file(tensors, folder / "plain.safetensors")
    torch_writer.write_zip(folder / "made.pth", tensors)
    torch_writer.write_legacy(folder / "made_legacy.pth", tensors)
    with h5py.File(folder / "run.h5", "w") as file:
        for name, value in tensors.items():
            file["encoder/" + name.replace(".", "_") + "/kernel"] = value
    with h5py.File(folder / "new.weights.h5", "w") as file:
        for number, value in enumerate(tensors.values()):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group.attrs["name"], group["0"] = f"conv_{number}", value
    with h5py.File(folder / "old.h5", "w") as file:
        file.attrs["layer_names"] = [f"conv_{number}" for number in range(len(tensors))]
        for number, value in enumerate(tensors.values()):
            file[f"conv_{number}/conv_{number}/kernel:0"] = value
            file[f"conv_{number}"].attrs["weight_names"] = [f"conv_{number}/kernel:0"]
    return folder


@pytest.fixture(scope="module")
def done(files):
    """The process that has read all of them."""
    call = f"from tests.models.weights.test_fuzz import child; child({str(files)!r})"
    command = [sys.executable, "-c", call]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200)


@pytest.mark.parametrize(
    "name", ["plain.safetensors", "made.pth", "made_legacy.pth", "run.h5", "new.weights.h5", "old.h5"]
)
def test_mutated_files_are_refused_or_read(name, done):
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-2000:]}"
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (outcomes,) = [outcomes for outcomes in found if outcomes["name"] == name]
    mutations = MUTATIONS[pathlib.Path(name).suffix]
    assert outcomes["read"] + outcomes["refused"] == mutations
    assert outcomes["refused"] > mutations // 5
