"""Writes files as `torch.save` does, opcode by opcode, without PyTorch."""

import io
import pickle
import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class Pickle:
    """Opcodes of protocol 2 in a row."""

    def __init__(self):
        self._stream = io.BytesIO(b"\x80\x02")
        self._stream.seek(0, io.SEEK_END)

    def __call__(self, *pieces: bytes) -> "Pickle":
        """Adds opcodes with their arguments."""
        for piece in pieces:
            self._stream.write(piece)
        return self

    def text(self, value: str) -> "Pickle":
        encoded = value.encode()
        return self(pickle.BINUNICODE, struct.pack("<I", len(encoded)), encoded)

    def number(self, value: int) -> "Pickle":
        encoded = pickle.encode_long(value)
        return self(pickle.LONG1, bytes([len(encoded)]), encoded)

    def numbers(self, values) -> "Pickle":
        """A tuple."""
        self(pickle.MARK)
        for value in values:
            self.number(value)
        return self(pickle.TUPLE)

    def name(self, module: str, name: str) -> "Pickle":
        return self(pickle.GLOBAL, f"{module}\n{name}\n".encode())

    def tensor(self, key: str, value: np.ndarray, legacy: bool) -> "Pickle":
        """A contiguous tensor whose storage has a name."""
        self.name("torch._utils", "_rebuild_tensor_v2")(pickle.MARK)
        self(pickle.MARK).text("storage").name("torch", STORAGES[value.dtype.name]).text(key).text("cpu")
        self.number(value.size)(pickle.NONE if legacy else b"", pickle.TUPLE, pickle.BINPERSID)
        strides = [stride // value.itemsize for stride in np.ascontiguousarray(value).strides]
        self.number(0).numbers(value.shape).numbers(strides if value.ndim else ())(pickle.NEWFALSE)
        self.name("collections", "OrderedDict")(pickle.EMPTY_TUPLE, pickle.REDUCE)
        return self(pickle.TUPLE, pickle.REDUCE)

    def end(self) -> bytes:
        """The pickle."""
        return self(pickle.STOP)._stream.getvalue()


def state_pickle(tensors: dict[str, np.ndarray], legacy: bool = False) -> bytes:
    """The pickle of an OrderedDict of tensors with storages "0", "1", ..."""
    out = Pickle().name("collections", "OrderedDict")(pickle.EMPTY_TUPLE, pickle.REDUCE, pickle.MARK)
    for number, (name, value) in enumerate(tensors.items()):
        out.text(name).tensor(str(number), value, legacy)
    return out(pickle.SETITEMS).end()


def write_zip(path, tensors: dict[str, np.ndarray], content: bytes | None = None, compression=zipfile.ZIP_STORED):
    """The format since version 1.6; `content` takes the place of the pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", state_pickle(tensors) if content is None else content)
        archive.writestr("archive/byteorder", "little")
        for number, value in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{number}", np.ascontiguousarray(value).tobytes())
        archive.writestr("archive/version", "3\n")


def write_legacy(path, tensors: dict[str, np.ndarray], content: bytes | None = None):
    """The format before it; `content` takes the place of the pickle with the tensors."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with open(path, "wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(head, file, protocol=2)
        file.write(state_pickle(tensors, legacy=True) if content is None else content)
        pickle.dump([str(number) for number in range(len(tensors))], file, protocol=2)
        for value in tensors.values():
            file.write(struct.pack("<q", value.size) + np.ascontiguousarray(value).tobytes())
