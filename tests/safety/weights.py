"""Damaged weight files of every format: refused with nothing changed, or numbers that are finite and fit."""

import json
import os
import pathlib
import pickle
import pickletools
import struct
import subprocess
import sys
import types

import h5py
import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.config import ModelConfig
from mtl_tf.models.weights import hdf5, load_from
from mtl_tf.training.checkpoints import Checkpoints, load_weights
from tests.models.weights import draw, torch_writer
from tests.models.weights.test_layouts import RATES, named_shapes
from tests.mutations import mutate
from tests.safety.trees import damage_tree, json_bytes, pick

CONFIG = ModelConfig(encoder="resnet18", aspp_rates=RATES)
SOUND = 0.1  # share of the cases that are not damaged


def _small(shapes):
    """The same tensors, each with two numbers an axis at most, so that a file is read in no time."""
    return {name: tuple(min(size, 2) for size in shape) for name, shape in shapes.items()}


def _tensors(shapes):
    return {name: draw.weight(name, shape) for name, shape in shapes.items()}


OURS = _small({v.path: tuple(v.shape) for v in build_model(CONFIG, cityscapes_tasks()).variables})
keras.backend.clear_session()
FILE = _tensors(_small(named_shapes("smp_deeplabv3plus_resnet18")))
RUN = {path: draw.weight(path.replace("/", "."), shape) for path, shape in OURS.items()}


class Network:
    """What `load_from` needs of a network."""

    def __init__(self):
        self.assigned = {}
        self.variables = [
            types.SimpleNamespace(
                path=path, shape=shape, dtype="float32", assign=lambda value, path=path: self._assign(path, value)
            )
            for path, shape in OURS.items()
        ]

    def _assign(self, path, value):
        assert np.shape(value) == OURS[path], path
        assert np.isfinite(value).all(), path
        self.assigned[path] = value


def read(path: pathlib.Path):
    """Loads a file; where it is refused nothing may have changed."""
    network = Network()
    try:
        report = load_from(str(path), network, CONFIG, f"--model.weights={path}")
    except ValueError:
        assert not network.assigned
        raise
    assert sum(report.taken.values()) == len(network.assigned) > 0


# === Safetensors ===

TREE = json.loads((raw := safetensors.numpy.save(FILE))[8 : 8 + int.from_bytes(raw[:8], "little")])
NUMBERS = raw[8 + int.from_bytes(raw[:8], "little") :]
SIZES = (-1, 0, 1, 3, 2**31, 2**32, 2**60, 2**63, 2**64, 2**70, 0.5, "2", None)


def safetensors_file(random, place):
    """Headers with offsets that overlap, go back or beyond the end, sizes of 2^60, other types, twice the same name."""
    tree = dict(TREE)
    for _ in range(int(random.integers(1, 4)) if random.random() > SOUND else 0):
        name = pick(random, list(tree))
        entry = tree[name] = dict(tree[name])
        kind = random.integers(6)
        if kind == 0:
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = [pick(random, [begin, *SIZES]), pick(random, [end, begin, *SIZES])]
        elif kind == 1:
            entry["data_offsets"] = tree[pick(random, list(tree))].get("data_offsets")
        elif kind == 2:
            entry["shape"] = [pick(random, SIZES) for _ in range(int(random.integers(5)))]
        elif kind == 3:
            entry["dtype"] = pick(random, ["F16", "F64", "BF16", "I8", "BOOL", "F8_E4M3", "C64", "x", 3, None])
        elif kind == 4:
            tree[pick(random, ["encoder/x", "", "a" * 3000, "__metadata__", "../x", "\n", "layer1.0.conv1"])] = entry
        else:
            tree = damage_tree(random, tree)
            break
    header = json_bytes(random, tree) if random.random() < 0.2 else json.dumps(tree).encode("utf-8", "surrogatepass")
    length = pick(random, [0, 2, 2**31, 2**60, 2**63]) if random.random() < 0.05 else len(header)
    content = length.to_bytes(8, "little") + header + NUMBERS
    return _write(random, place / "file.safetensors", content, 0.2)


def _write(random, path, content, share):
    """Writes a file, with some chance damaged byte by byte, and loads it."""
    path.write_bytes(mutate(random, content) if random.random() < share else content)
    read(path)


# === PyTorch ===


def _evil(place) -> tuple[bytes, ...]:
    """Opcodes that would run a program, or use up memory or time, in Python's own unpickler."""
    touch = f"touch {place / 'ran'}"
    return (
        b"cos\nsystem\n" + b"(" + b"X" + struct.pack("<I", len(touch)) + touch.encode() + b"tR",
        b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR",
        b"c__builtin__\nexec\n(X\x06\x00\x00\x00import tR"[:-3] + b"tR",
        b"cposix\nsystem\n" + b"(" + b"X" + struct.pack("<I", len(touch)) + touch.encode() + b"o",
        b"\x8c\x02os\x8c\x06system\x93",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch.nn.modules.linear\nLinear\n)\x81}b",
        b"ccollections\nOrderedDict\n(]]tR",
        b"}q\x00h\x00K\x01s",  # a dict within itself
        b"]q\x00h\x00a",
        b"(" * 50 + b"t" * 50,
        b"\x85" * 5000,
        b"}" + b"2" * 100,
        b"\x8b\xff\xff\xff\x7f",  # a number, and texts, that would be longer than the file
        b"\x8d" + b"\xff" * 8,
        b"X\xff\xff\xff\xff",
        b"\x8a\xff" + b"\xff" * 255,
        b"r\xff\xff\xff\x7f",  # the memo's largest place
        b"i__main__\nx\n",
        b"\x82\x01",
        b"Q",
        b"P1\n",
    )


def _opcodes(content) -> list[bytes]:
    places = [place for _, _, place in pickletools.genops(content)]
    return [content[a:b] for a, b in zip(places, [*places[1:], len(content)], strict=True)]


STATE = {legacy: _opcodes(torch_writer.state_pickle(FILE, legacy)) for legacy in (False, True)}


def _pickle(random, place, legacy):
    """The opcodes of a state_dict, some of them exchanged, doubled, left out, or others in between."""
    found = list(STATE[legacy])
    for _ in range(int(random.choice([1, 1, 2, 5])) if random.random() > SOUND else 0):
        at, other = random.integers(0, len(found), 2)
        kind = random.integers(7)
        if kind == 0:
            found.insert(at, pick(random, _evil(place)))
        elif kind == 1:
            del found[at : at + int(random.integers(1, 4))]
        elif kind == 2:
            found[at] = found[other]
        elif kind == 3:
            found.insert(at, found[other])
        elif kind == 4:
            sizes = [where for where, opcode in enumerate(found) if opcode[:1] == pickle.LONG1]
            number = pickle.encode_long(pick(random, [-1, 0, 1, 3, 2**31, 2**47, 2**60, 2**64, 2**900]))
            found[pick(random, sizes)] = pickle.LONG1 + bytes([len(number)]) + number
        elif kind == 5:
            names = [where for where, opcode in enumerate(found) if opcode[:1] == pickle.GLOBAL]
            name = pick(random, ["os system", "torch Tensor", "torch LongStorage", "numpy ndarray", "builtins getattr"])
            found[pick(random, names)] = pickle.GLOBAL + "\n".join(name.split()).encode() + b"\n"
        else:
            found[at] = mutate(random, found[at])
    return b"".join(found)


def torch_zip(random, place):
    """Archives of PyTorch since 1.6: another pickle, records that are missing, compressed, too short or too long."""
    path = place / "file.pth"
    tensors = dict(FILE)
    for _ in range(int(random.integers(1, 3)) if random.random() < 0.2 else 0):
        name = pick(random, list(tensors))
        tensors[name] = pick(random, [np.zeros(0, np.float32), np.full((2, 2), np.nan, np.float32), np.zeros(9)])
    torch_writer.write_zip(path, tensors, _pickle(random, place, False), int(random.choice([0, 0, 0, 0, 8])))
    _write(random, path, path.read_bytes(), 0.3)
    assert not (place / "ran").exists()


def torch_legacy(random, place):
    """Files of PyTorch before 1.6."""
    path = place / "file.pt"
    torch_writer.write_legacy(path, FILE, _pickle(random, place, True))
    _write(random, path, path.read_bytes(), 0.3)
    assert not (place / "ran").exists()


# === HDF5 ===


class Trials:
    """Does what a trial in a process of its own does, hundreds of times faster: copies of one process that waits."""

    SERVER = """
import os, runpy, sys
import h5py
for line in sys.stdin:
    sys.argv = ["trial", line.rstrip("\\n")]
    child = os.fork()
    if not child:
        try:
            runpy.run_path(TRIAL, run_name="__main__")
        finally:
            os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""

    def __init__(self):
        program = f"TRIAL = {str(hdf5._TRIAL)!r}\n{self.SERVER}"
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._server = subprocess.Popen([sys.executable, "-c", program], **pipes)

    def run(self, command, **_):
        """As `subprocess.run`."""
        print(command[-1], file=self._server.stdin, flush=True)
        return types.SimpleNamespace(returncode=int(self._server.stdout.readline()))


hdf5.subprocess = Trials()


def _run_file(path):
    with h5py.File(path, "w") as file:
        for name, value in RUN.items():
            file[name] = value


def _keras_3(path):
    with h5py.File(path, "w") as file:
        for number, (name, value) in enumerate(RUN.items()):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group.attrs["name"], group["0"] = name.split("/")[-2], value


def _keras_2(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [f"conv_{number}" for number in range(9)]
        for number, value in enumerate(list(RUN.values())[:9]):
            file[f"conv_{number}/conv_{number}/kernel:0"] = value


def _stored(write):
    path = pathlib.Path(f"/tmp/mtl_tf_{os.getpid()}.h5")
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


HDF5 = [_stored(write) for write in (_run_file, _run_file, _keras_3, _keras_2)]


def _rework(random, file, place):
    """Changes an HDF5 file by its own library: other types and shapes, links in circles, numbers in other files."""
    name = pick(random, list(hdf5.datasets(file)))
    shape = file[name].shape
    del file[name]
    kind = random.integers(10)
    if kind == 0:
        size = pick(random, [2**31, 2**50, 2**60])
        file.create_dataset(name, shape=(size,), dtype="f4", chunks=(2**20,))
    elif kind == 1:
        file.create_dataset(name, shape=shape, dtype=pick(random, ["i4", "f8", "f2", "S9", "c8", h5py.string_dtype()]))
    elif kind == 2:
        file.create_dataset(name, shape=shape, dtype="f4", external=[("/etc/hostname", 0, 1000)])
    elif kind == 3:
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(4,))
        file.create_virtual_dataset(name, layout)
    elif kind == 4:
        file[name] = pick(random, [h5py.SoftLink("/"), h5py.SoftLink("/none"), h5py.ExternalLink("/etc/hostname", "/")])
    elif kind == 5:
        file[name] = file["/"]  # a circle
    elif kind == 6:
        file[name] = np.full(shape, pick(random, [np.nan, np.inf, 1e300]))
    elif kind == 7:
        file[name] = h5py.Empty("f4")
    elif kind == 8:
        file[pick(random, ["../x", "encoder/" + "y" * 3000, "layers/x/vars/0", "model_weights/a", "é\n"])] = np.zeros(2)
    else:
        file.attrs[pick(random, ["layer_names", "name"])] = pick(random, [3, "x", np.zeros(9), "\n"])


def keras_hdf5(random, place):
    """Files of a run and of Keras, old and new."""
    path = place / "file.h5"
    content = pick(random, HDF5)
    path.write_bytes(content)
    if random.random() < 0.4:
        with h5py.File(path, "r+") as file:
            _rework(random, file, place)
        content = path.read_bytes()
    _write(random, path, content, 0.5)


def best_weights(random, place):
    """best/weights.h5, which evaluate, predict and export read."""
    path, network = place / "weights.h5", Network()
    path.write_bytes(HDF5[0])
    if random.random() < 0.3:
        with h5py.File(path, "r+") as file:
            _rework(random, file, place)
    content = path.read_bytes()
    path.write_bytes(mutate(random, content) if random.random() < 0.6 else content)
    load_weights(network, path)
    assert network.assigned.keys() == OURS.keys()


# === Checkpoints ===


def _variables():
    return {f"v{number}": tf.Variable(np.arange(40.0, dtype=np.float32) + number) for number in range(3)}


def checkpoint(random, place):
    """Full-state checkpoints: the newest that can be read is restored, with the numbers that were saved."""
    folder = place / "checkpoints"
    if not folder.exists():
        saved = Checkpoints(folder, 2, **_variables())
        saved.save()
        saved.save()
    files = sorted(folder.iterdir())
    kept = {file: file.read_bytes() for file in files}
    try:
        for file in {pick(random, files) for _ in range(int(random.integers(1, 5)))}:
            file.write_bytes(mutate(random, kept[file]))
        if random.random() < 0.2:
            text = f'model_checkpoint_path: "{pick(random, ["../../x", "/etc/passwd", "", "ckpt-9"])}"\n'
            (folder / "checkpoint").write_text(text)
        restored = {name: tf.Variable(np.zeros(40, np.float32)) for name in ("v0", "v1", "v2")}
        assert Checkpoints(folder, 2, **restored).restore()
        for name, variable in _variables().items():
            np.testing.assert_array_equal(restored[name], variable)
    finally:
        for file in [*folder.iterdir()]:
            file.unlink()
        for file, content in kept.items():
            file.write_bytes(content)


CASES = {
    case.__name__: case for case in (safetensors_file, torch_zip, torch_legacy, keras_hdf5, best_weights, checkpoint)
}
