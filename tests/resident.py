"""How much memory a test process takes (Linux): bounded, and a test that takes it over the bound fails."""

import ctypes
import os
import pathlib

LIMIT_MB = 3000

# TensorFlow's allocator keeps what it has once taken, in regions each twice as large as the one before.
POOL_MB = 1400
POOL_VARIABLE = "TF_MKL_ALLOC_MAX_BYTES"


def bound_the_pool() -> None:
    """Bounds TensorFlow's allocator of CPU memory in this process; TensorFlow has not been used in it before.

    Not in the processes that it starts: networks on several devices need more, and where there is no more, TensorFlow
    does not always say so, but crashes or takes the numbers of one exchange between devices for another's.
    """
    os.environ[POOL_VARIABLE] = str(POOL_MB * 2**20)
    import tensorflow as tf

    tf.zeros(1)  # makes the allocator, which reads the variable once
    del os.environ[POOL_VARIABLE]


class Watch:
    """The resident memory of this process, from one test to the next."""

    def __init__(self):
        self._over = False

    def fault(self) -> str:
        """One line on the test that took the process over the limit, else an empty one; begins to watch anew.

        The peak counts, with what the test asked for in fixtures. A process that stays over the limit is told of once.
        """
        peak = _megabytes("VmHWM")
        _start_anew()
        was_over, self._over = self._over, _megabytes("VmRSS") > LIMIT_MB
        if peak <= LIMIT_MB or was_over:
            return ""
        return (
            f"the test process takes at most {LIMIT_MB} MB; with this test it took {peak:.0f} MB: make the networks or "
            "pictures of the test smaller, or what its module keeps"
        )


def _megabytes(name: str) -> float:
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


def _start_anew() -> None:
    """Gives free memory of the C library back, and lets the peak begin at what is left."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux with glibc, or forbidden: the peak of the whole process counts
        pass
