"""Reads the pickles inside PyTorch's files, which can build tensors and plain values and nothing else.

Python's own unpickler calls whatever a file names, and sets aside as much memory as it asks for. This one knows the
opcodes that writing a dict of tensors takes, a short list of names, and calls none of them: a name stands for a
function of this module. What training code often saves beside the weights (counters, devices, paths, its arguments) is
read as `INERT`. See `torch/_weights_only_unpickler.py` for PyTorch's own answer to the same question.
"""

import dataclasses
import io
import math
import pickletools
from collections.abc import Callable
from typing import Any

from mtl_tf.models.weights.tensors import UnreadableError, damage

LARGEST = 64 * 2**20  # bytes of pickle; that of a network with a thousand tensors takes about 0.2 MiB


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers in a row, held elsewhere in the file.

    Attributes:
        dtype: of its elements, e.g. "float32".
        key: its name in the file.
        elements: how many there are.
        start: where it begins in the storage of that name (old files cut one storage into several).
    """

    dtype: str
    key: str
    elements: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class View:
    """A tensor: how it lies in its storage. Offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Inert:
    """Stands for an object that holds no tensors; whatever is put into it is dropped."""

    def __repr__(self):
        return "INERT"


INERT = _Inert()


def load(stream: io.BytesIO) -> Any:
    """Reads one pickle from a stream, which stands behind it afterwards.

    Returns:
        Dicts, lists, tuples, text, bytes and numbers, a `View` for every tensor, and `INERT` for a few other objects.

    Raises:
        UnreadableError: it is damaged, or names what is no part of a tensor.
    """
    machine = _Machine()
    errors = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)
    with damage("PyTorch file", *errors):
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.run(opcode.name, argument)
    raise UnreadableError("is a cut off PyTorch file; copy or download it again")


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self):
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._marks: list[list[Any]] = []

    def run(self, name: str, argument: Any):
        if name in _CONSTANTS:
            self.stack.append(argument)
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        else:
            raise ValueError(f"opcode {name}")

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._marks.pop()
        return items

    # === What opcodes do ===

    def mark(self, _):
        self._marks.append(self.stack)
        self.stack = []

    def put(self, index):
        self._memo[len(self._memo) if index is None else int(index)] = self.stack[-1]

    def get(self, index):
        self.stack.append(self._memo[int(index)])

    def short_tuple(self, length):
        items = self.stack[-length:]
        if len(items) < length:
            raise IndexError("stack")
        self.stack[-length:] = [tuple(items)]

    def make_tuple(self, _):
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def make_list(self, _):
        items = self.pop_mark()
        self.stack.append(items)

    def frozen_set(self, _):
        self.pop_mark()
        self.stack.append(INERT)

    def append(self, _):
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    def appends(self, _):
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    def set_item(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], [key, value])

    def set_items(self, _):
        items = self.pop_mark()
        _fill(self.stack[-1], items)

    def make_dict(self, _):
        items = self.pop_mark()
        self.stack.append({})
        _fill(self.stack[-1], items)

    def name(self, text):
        module, _, name = text.partition(" ")
        self.stack.append(_find(module, name))

    def stack_name(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_find(module, name))

    def reduce(self, _):
        arguments, function = _of(self.stack.pop(), tuple), _of(self.stack.pop(), _Name)
        if function.build is None:
            raise ValueError("call of a type")
        self.stack.append(function.build(*arguments))

    def build(self, _):
        # PyTorch hangs the versions of modules on the dict of tensors; nothing here has a state that matters.
        self.stack.pop()
        _of(self.stack[-1], dict | _Inert)

    def persistent(self, _):
        kind, storage, key, _, elements, *view = _of(self.stack.pop(), tuple)
        if kind != "storage" or not isinstance(key, str):
            raise ValueError("persistent id")
        dtype, start = _of(storage, _Name).dtype, 0
        if view and view[0] is not None:
            _, start, elements = view[0]
        self.stack.append(Storage(_of(dtype, str), key, _count(elements), _count(start)))


# === Names ===


@dataclasses.dataclass(frozen=True)
class _Name:
    """What a name in a pickle stands for: a function of this module, or a type of number."""

    build: Callable[..., Any] | None = None
    dtype: str | None = None


def _find(module: str, name: str) -> _Name:
    found = _NAMES.get(f"{module}.{name}") if isinstance(module, str) and isinstance(name, str) else None
    if found is None:
        if str(module).startswith("__torch__"):
            raise UnreadableError("is a TorchScript archive, a program; save the state_dict of the module instead")
        shown = f"{module}.{name}".replace("\n", " ")[:80]
        raise UnreadableError(
            f"asks for {shown}, which is no part of a tensor, and is not trusted; in PyTorch, save only the "
            "state_dict: torch.save(model.state_dict(), PATH)"
        )
    return found


def _view(storage, offset, shape, strides, *_) -> View:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2; raises ValueError if it does not lie in its storage."""
    shape, strides = (tuple(map(_count, _of(values, tuple))) for values in (shape, strides))
    view = View(_of(storage, Storage), _count(offset), shape, strides)
    last = view.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= view.storage.elements:
        raise ValueError("a tensor reaches beyond its storage")
    return view


def _ordered(pairs=()) -> dict:
    """collections.OrderedDict; Python 2 wrote its content as pairs."""
    made: dict = {}
    for pair in pairs:
        _fill(made, list(pair))
    return made


def _inert(*_):
    return INERT


# Objects beside the tensors: named so that the file can be read, never made.
_INERT_NAMES = (
    *("_codecs.encode", "argparse.Namespace", "collections.Counter", "collections.defaultdict", "collections.deque"),
    *("datetime.date", "datetime.datetime", "datetime.timedelta", "types.SimpleNamespace"),
    *("pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "pathlib.PurePosixPath"),
    *("pathlib.PureWindowsPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype"),
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray"),
    *("torch.device", "torch.float16", "torch.float32", "torch.bfloat16", "torch.float64"),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "complex", "slice")
    ),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("list", "dict", "int", "float", "str")),
)

_NAMES = {
    **dict.fromkeys(_INERT_NAMES, _Name(_inert)),
    "collections.OrderedDict": _Name(_ordered),
    "torch._utils._rebuild_tensor": _Name(_view),
    "torch._utils._rebuild_tensor_v2": _Name(_view),
    "torch._utils._rebuild_parameter": _Name(lambda data, *_: data),
    "torch._utils._rebuild_parameter_with_state": _Name(lambda data, *_: data),
    "torch.Size": _Name(lambda sizes=(): tuple(sizes)),
    **{
        f"torch.{kind}Storage": _Name(dtype=dtype)
        for kind, dtype in {
            "Double": "float64",
            "Float": "float32",
            "Half": "float16",
            "BFloat16": "bfloat16",
            "Long": "int64",
            "Int": "int32",
            "Short": "int16",
            "Char": "int8",
            "Byte": "uint8",
            "Bool": "bool",
        }.items()
    },
}


# === Opcodes ===


def _of(value, kind):
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where it cannot stand")
    return value


def _count(value) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise ValueError("a size that is none")
    return value


def _extend(target, items):
    if target is not INERT:
        _of(target, list).extend(items)


def _fill(target, items):
    if target is INERT:
        return
    keys, values = items[::2], items[1::2]
    for key, value in zip(keys, values, strict=True):
        # The hash of nested tuples can take for ever.
        _of(target, dict)[_of(key, str | int | float | None)] = value


_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}

_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "TUPLE": _Machine.make_tuple,
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "EMPTY_SET": lambda machine, _: machine.stack.append(INERT),
    "ADDITEMS": lambda machine, _: machine.pop_mark(),
    "FROZENSET": _Machine.frozen_set,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,  # with a type in the place of a function
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
