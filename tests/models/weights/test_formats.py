"""Weight files of every format: what PyTorch wrote is read exactly, what is damaged or hostile is refused unrun."""

import io
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy

from mtl_tf.models.weights.files import file_of_run, open_tensors
from mtl_tf.models.weights.tensors import UnreadableError, numbers
from tests.models.weights import torch_writer
from tests.models.weights.torch_writer import Pickle

GOLDENS = pathlib.Path(__file__).parent / "goldens"
STATES = [f"torch_{content}{form}.pth" for content in ("state", "training") for form in ("", "_legacy", "_protocol4")]


def refused(path) -> str:
    """The reason of a refusal."""
    with pytest.raises(UnreadableError) as error, open_tensors(pathlib.Path(path)) as tensors:
        for name, tensor in tensors.items():
            numbers(name, tensor)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    return str(error.value)


# === What PyTorch wrote ===


@pytest.mark.parametrize("name", STATES)
def test_a_file_of_torch_holds_what_torch_says(name):
    expected = json.loads((GOLDENS / "torch.json").read_text())
    prefix = "state_dict." if "training" in name else ""
    with open_tensors(GOLDENS / name) as tensors:
        assert {key for key in tensors if key.startswith(prefix)} == {prefix + key for key in expected}
        for key in expected:
            tensor = tensors[prefix + key]
            assert list(tensor.shape) == expected[key]["shape"], key
            value = np.asarray(tensor.read(), np.float64)
            np.testing.assert_array_equal(value.reshape(-1), expected[key]["values"], err_msg=key)


def test_integers_are_no_weights():
    with open_tensors(GOLDENS / "torch_state.pth") as tensors:
        with pytest.raises(UnreadableError, match="counts as int64"):
            numbers("counts", tensors["counts"])
        assert numbers("half", tensors["half"]).dtype == np.float32


@pytest.mark.parametrize("write", [torch_writer.write_zip, torch_writer.write_legacy])
def test_what_the_tests_write_is_what_torch_writes(write, tmp_path):
    """The writer of the tests gives PyTorch's own opcodes, so that its large files stand for real ones."""
    tensors = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "b": np.ones(5, np.float16)}
    write(tmp_path / "made.pth", tensors)
    with open_tensors(tmp_path / "made.pth") as found:
        assert list(found) == list(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(found[name].read(), value)


def test_safetensors_in_half_precision(tmp_path):
    import ml_dtypes

    values = {"a": np.linspace(-2, 2, 6).reshape(2, 3).astype(ml_dtypes.bfloat16), "b": np.ones(3, np.float16)}
    safetensors.numpy.save_file(values, tmp_path / "a.safetensors")
    with open_tensors(tmp_path / "a.safetensors") as found:
        for name, value in values.items():
            np.testing.assert_array_equal(numbers(name, found[name]), value.astype(np.float32))


def test_values_that_are_not_finite_are_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.array([1.0, np.nan], np.float32)}, tmp_path / "a.safetensors")
    assert "holds values in a that are not finite" in refused(tmp_path / "a.safetensors")


# === Programs instead of tensors ===


class Bomb:
    """What a pickle needs to run a command where Python reads it."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def hostile(marker) -> dict[str, bytes]:
    """Pickles that would make the file `marker` if anything in them ran."""
    command = f"touch {marker}"
    made = {
        "os.system": pickle.dumps(Bomb(os.system, command), 2),
        "eval": pickle.dumps(Bomb(eval, f"open({str(marker)!r}, 'w')"), 4),
        "in a dict": pickle.dumps({"state_dict": {"a": Bomb(os.system, command)}}, 2),
        "popen": pickle.dumps(Bomb(subprocess.Popen, ["touch", str(marker)]), 5),
    }
    made["inst"] = b"(S'" + command.encode() + b"'\nios\nsystem\n."
    made["obj"] = Pickle()(pickle.MARK).name("os", "system").text(command)(pickle.OBJ).end()
    made["newobj"] = Pickle().name("os", "system").text(command)(pickle.TUPLE1, pickle.NEWOBJ).end()
    # A call of what the list of names has, with a state that would be set by a method.
    made["build"] = Pickle().name("builtins", "__import__").text("os")(pickle.TUPLE1, pickle.REDUCE).end()
    dotted = Pickle().text("torch._utils").text("_rebuild_tensor_v2.__globals__")(pickle.STACK_GLOBAL)
    made["dotted"] = dotted.end()
    return made


@pytest.mark.parametrize("kind", sorted(hostile("x")))
@pytest.mark.parametrize("write", [torch_writer.write_zip, torch_writer.write_legacy])
def test_a_pickle_bomb_does_not_run(kind, write, tmp_path):
    marker = tmp_path / "ran"
    write(tmp_path / "bomb.pth", {}, hostile(marker)[kind])
    message = refused(tmp_path / "bomb.pth")
    assert "asks for" in message or "damaged" in message
    assert not marker.exists()
    if kind in ("os.system", "in a dict"):
        # The test's bomb is a real one.
        subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({hostile(marker)[kind]!r})"], check=True)
        assert marker.exists()


def test_a_whole_module_and_a_script_say_what_to_save():
    assert "asks for torch.nn.modules" in refused(GOLDENS / "torch_module.pth")
    assert "state_dict" in refused(GOLDENS / "torch_module.pth")
    assert "TorchScript" in refused(GOLDENS / "torch_script.pt")


# === Sizes that do not fit ===


def laughs() -> bytes:
    """Tuples in tuples: 2^60 of them to whoever walks through, and a hash that never ends."""
    out = Pickle()(pickle.EMPTY_DICT, pickle.EMPTY_TUPLE)
    for _ in range(60):
        out(pickle.BINPUT, b"\0", pickle.BINGET, b"\0", pickle.TUPLE2)
    return out(pickle.NONE, pickle.SETITEM).end()


def nested() -> bytes:
    """A list in a list in a list, a million deep."""
    return Pickle()(pickle.EMPTY_LIST * 10**6, pickle.APPEND * (10**6 - 1)).end()


def wide_laughs() -> bytes:
    """Dicts of dicts that all share one: each level a thousand names for the level below."""
    out = Pickle()(pickle.EMPTY_DICT)
    for _ in range(40):
        out(pickle.BINPUT, b"\0", pickle.POP, pickle.EMPTY_DICT, pickle.MARK)
        for name in ("state_dict", "model", "net", *map(str, range(50))):
            out.text(name)(pickle.BINGET, b"\0")
        out(pickle.SETITEMS)
    return out.end()


OVERSIZED = {
    "a far memo": Pickle()(pickle.NONE, pickle.LONG_BINPUT, b"\xff\xff\xff\x7f").end(),
    "a long text": Pickle()(pickle.BINUNICODE8, b"\xff" * 7 + b"\x7f", b"a").end(),
    "long bytes": Pickle()(b"\x8e", b"\xff" * 7 + b"\x7f", b"a").end(),
    "a byte array": Pickle()(b"\x96", b"\xff" * 7 + b"\x7f", b"a").end(),
    "a far frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "laughs": laughs(),
    "wide laughs": wide_laughs(),
    "a deep nest": nested(),
    "no end": b"\x80\x02}",
    "a long number": Pickle()(b"\x8b\xff\xff\xff\x7f").end(),
}


@pytest.mark.parametrize("kind", OVERSIZED)
@pytest.mark.parametrize("write", [torch_writer.write_zip, torch_writer.write_legacy])
def test_a_pickle_that_asks_for_too_much_is_refused(kind, write, tmp_path):
    write(tmp_path / "bomb.pth", {}, OVERSIZED[kind])
    refused(tmp_path / "bomb.pth")


def claiming(shape, strides, elements, offset=0) -> bytes:
    """A tensor that claims a shape in a storage of a few numbers."""
    out = Pickle()(pickle.EMPTY_DICT).text("a").name("torch._utils", "_rebuild_tensor_v2")(pickle.MARK)
    out(pickle.MARK).text("storage").name("torch", "FloatStorage").text("0").text("cpu").number(elements)
    out(pickle.TUPLE, pickle.BINPERSID).number(offset).numbers(shape).numbers(strides)
    return out(pickle.NEWFALSE, pickle.NONE, pickle.TUPLE, pickle.REDUCE, pickle.SETITEM).end()


@pytest.mark.parametrize(
    ("shape", "strides", "elements", "offset"),
    [
        ((5,), (1,), 4, 0),
        ((2,), (1,), 4, 3),
        ((2, 2), (-1, 1), 4, 2),
        ((2**40,), (1,), 2**41, 0),
        ((4,), (1,), 4, -1),
        ((2, 2), (1,), 4, 0),
        ((2**63,), (1,), 2**63, 0),
    ],
)
def test_a_tensor_outside_of_its_storage_is_refused(shape, strides, elements, offset, tmp_path):
    content = claiming(shape, strides, elements, offset)
    torch_writer.write_zip(tmp_path / "a.pth", {"a": np.ones(4, np.float32)}, content)
    assert "damaged" in refused(tmp_path / "a.pth")


def test_a_huge_expanded_tensor_costs_nothing_until_it_is_read(tmp_path):
    content = claiming((2**20, 2**20), (0, 0), 4)
    torch_writer.write_zip(tmp_path / "a.pth", {"a": np.ones(4, np.float32)}, content)
    with open_tensors(tmp_path / "a.pth") as tensors:
        assert tensors["a"].shape == (2**20, 2**20)


def test_a_zip_bomb_is_refused(tmp_path):
    """64 MiB of zeros in 64 KiB."""
    tensors = {"a": np.zeros(2**24, np.float32)}
    torch_writer.write_zip(tmp_path / "a.pth", tensors, compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "a.pth").stat().st_size < 2**18
    assert "compressed" in refused(tmp_path / "a.pth")


def test_a_record_that_claims_more_than_the_file_is_refused(tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", {"a": np.ones(4, np.float32)})
    content = bytearray((tmp_path / "a.pth").read_bytes())
    place = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1) + 1)
    assert content[place + 46 :].startswith(b"archive/data/0")
    content[place + 20 : place + 28] = (2**31 - 1).to_bytes(4, "little") * 2
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth")


def test_an_hdf5_file_that_claims_more_than_it_holds_costs_nothing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("encoder/conv1/kernel", shape=(2**20, 2**20), dtype="f4", chunks=(64, 64))
        file["encoder/conv1/names"] = np.array([b"text"])
        file["encoder/conv1/link"] = h5py.ExternalLink("/etc/passwd", "/")
    with open_tensors(tmp_path / "a.h5") as tensors:
        assert set(tensors) == {"encoder/conv1/kernel", "encoder/conv1/names"}
        with pytest.raises(UnreadableError, match="is of type"):
            tensors["encoder/conv1/names"].read()


def test_numbers_in_another_file_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("encoder/a", shape=(4,), dtype="f4", external=[(str(tmp_path / "secret"), 0, 16)])
    assert "in other files" in refused(tmp_path / "a.h5")


def test_other_files_are_not_even_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    opened = []

    def write():
        os.close(os.open(tmp_path / "pipe", os.O_WRONLY))  # waits until somebody reads
        opened.append(True)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("encoder/a", shape=(4,), dtype="f4", external=[(str(tmp_path / "pipe"), 0, 16)])
    assert "in other files" in refused(tmp_path / "a.h5")
    assert not opened
    os.close(os.open(tmp_path / "pipe", os.O_RDONLY))
    writer.join(timeout=10)
    assert opened


@pytest.mark.parametrize("link", [h5py.ExternalLink("secret.h5", "/"), h5py.SoftLink("/other")])
def test_the_weights_of_an_old_file_stand_in_it(tmp_path, link):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["encoder/a"] = np.ones(4, np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["other/encoder/a"] = np.ones(4, np.float32)
        file["model_weights"] = link
    assert "in other files" in refused(tmp_path / "a.h5")


def test_a_file_on_which_the_library_of_hdf5_never_returns_is_refused(tmp_path):
    """An entry without length in the heap of texts."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(7):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group.attrs["name"], group["0"] = f"conv_{number}", np.ones(3, np.float32)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    start = content.index(b"conv_1") + 8
    content[start : start + 72] = bytes(72)
    (tmp_path / "a.h5").write_bytes(content)
    assert "its library cannot read" in refused(tmp_path / "a.h5")


# === Files that are something else ===


def test_what_a_file_is_instead_is_said(tmp_path):
    tar = b"\0" * 257 + b"ustar" + b"\0" * 250
    cases = {
        b"": "is empty",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "Git LFS pointer",
        b"<!DOCTYPE html><html></html>": "web page",
        tar: "tar archive",
        b"\xff" * 300: "no weight file",
        pickle.dumps([1, 2]): "none that torch.save wrote",
        b"\x89HDF\r\n\x1a\n" + bytes(50): "HDF5",
    }
    for content, words in cases.items():
        (tmp_path / "a.pth").write_bytes(content)
        assert words in refused(tmp_path / "a.pth")


def test_an_archive_of_something_else(tmp_path):
    for name, words in (("model.weights.h5", "Keras archive"), ("notes.txt", "zip archive")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, "x")
        (tmp_path / "a.pt").write_bytes(stream.getvalue())
        assert words in refused(tmp_path / "a.pt")


def test_a_file_without_a_state_dict(tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", {}, pickle.dumps({"epoch": 3}, 2))
    assert "without a dict of tensors" in refused(tmp_path / "a.pth")


def test_folders(tmp_path):
    def reason():
        with pytest.raises(UnreadableError) as error:
            file_of_run(tmp_path)
        return str(error.value)

    assert "not that of a run" in reason()
    (tmp_path / "ckpt-3.index").write_bytes(b"x")
    assert "full-state checkpoint" in reason()
    assert "full-state checkpoint" in refused(tmp_path / "ckpt-3")
    assert "full-state checkpoint" in refused(tmp_path / "ckpt-3.index")
    (tmp_path / "run.flags").write_text("")
    assert "first epoch is not finished" in reason()


@pytest.mark.parametrize("name", ["torch_state.pth", "torch_state_legacy.pth"])
def test_a_cut_off_file_is_called_so(name, tmp_path):
    content = (GOLDENS / name).read_bytes()
    for length in (len(content) - 1, len(content) // 2, 300):
        (tmp_path / name).write_bytes(content[:length])
        assert "cut off" in refused(tmp_path / name), length
    safetensors.numpy.save_file({"a": np.ones(500, np.float32)}, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    for length in (len(content) - 1, len(content) // 2, 40):
        (tmp_path / "b.safetensors").write_bytes(content[:length])
        assert "cut off" in refused(tmp_path / "b.safetensors"), length


def test_a_misnamed_file_is_read_by_its_content(tmp_path):
    shutil.copy(GOLDENS / "torch_state.pth", tmp_path / "weights.h5")
    with open_tensors(tmp_path / "weights.h5") as tensors:
        assert "plain" in tensors
