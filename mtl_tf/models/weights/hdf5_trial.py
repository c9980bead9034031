"""Reads an HDF5 file from end to end, and says nothing. Run as a script, in a process of its own.

On some damaged files HDF5's library never returns, or breaks down, and takes its process with it. What has been read
here once, within bounds of time and memory, can be read where it matters.
"""

import os
import resource
import sys

import h5py

LARGEST = 2**30  # bytes of a data set; none of a network here is larger


def bound(size: int):
    """Ends this process when it takes more than any sound file of that many bytes would."""
    seconds = 3 + size // 2**24
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    memory = 2 * LARGEST + 2 * size
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def visit(name: str, item):
    """Reads the attributes and the numbers of a group or data set."""
    try:
        for key in item.attrs:
            item.attrs[key]
        if isinstance(item, h5py.Dataset) and item.nbytes <= LARGEST and not (item.external or item.is_virtual):
            item[()]
    except Exception:
        # Errors that come back are found where the file is used; only what does not come back is looked for here.
        return


if __name__ == "__main__":
    bound(os.stat(sys.argv[1]).st_size)
    try:
        with h5py.File(sys.argv[1], "r") as file:
            visit("/", file)
            file.visititems(visit)
    except Exception:
        sys.exit(0)
