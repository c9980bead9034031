"""Arrays in HDF5 files, which MATLAB files of version 7.3 are too. Links to other files are not followed."""

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_bytes

_MOST_BYTES = 2**30  # what a damaged shape asks for beyond this is not believed


def is_matlab(beginning: bytes) -> bool:
    """Whether these first bytes are of a MATLAB file of version 7.3."""
    return beginning.startswith(b"MATLAB 7.3")


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The numeric arrays of a file by their names, GROUP/NAME in groups; of MATLAB in the shape that they have there.

    Raises:
        UsageError: the file is missing or damaged.
    """
    import h5py  # here, since few need it

    content, found = read_bytes(path), {}

    def keep(name, item):
        numbers = isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "fiub"
        # Those in other files are not read; MATLAB keeps things of its own in #refs#.
        if numbers and not (item.is_virtual or item.external or name.startswith("#")):
            found[name] = item

    try:
        with h5py.File.in_memory(content) as file:
            file.visititems(keep)
            for name, item in found.items():
                if item.nbytes > _MOST_BYTES:
                    raise ValueError(f"{name} would have {item.size} numbers")
            # MATLAB stores columns where others store rows.
            return {name: item[()].T if is_matlab(content) else item[()] for name, item in found.items()}
    except Exception as error:  # h5py does not say what it raises on damaged files
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: not an HDF5 file, or damaged ({text}); replace it") from None
