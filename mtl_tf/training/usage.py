"""What a run has used and met so far, over all its sessions: time, memory, bad files."""

import contextlib
import json
import pathlib
import time

from mtl_tf.atomic import write_json
from mtl_tf.training.runtime import peak_memory


class Usage:
    """Time, memory and bad files of this session and, as far as their work was kept, of those before.

    They are no state of training: a run that was stopped ends with the checkpoint of one that was not.

    Args:
        path: the file that keeps them.
        devices: of this process.
    """

    def __init__(self, path: pathlib.Path, devices: tuple[str, ...]):
        self._path, self._devices = path, devices
        self._started, self._seconds, self._peak = time.monotonic(), 0.0, 0
        self._bad: dict[str, str] = {}

    def read(self):
        """Takes over what the sessions before have written."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            kept = json.loads(self._path.read_text())
            self._seconds, self._peak = float(kept["seconds"]), int(kept["peak_memory"])
            self._bad = dict(kept["bad_files"])

    def write(self, bad: dict[str, str]):
        """Keeps it, with the bad files of this session."""
        kept = {"seconds": self.seconds(), "peak_memory": self.peak_memory(), "bad_files": self.bad_files(bad)}
        write_json(self._path, kept)

    def seconds(self) -> float:
        """Of all sessions, by a clock that nobody sets."""
        return round(self._seconds + time.monotonic() - self._started, 3)

    def peak_memory(self) -> int:
        """Bytes, the most of all sessions."""
        return max(self._peak, peak_memory(self._devices))

    def bad_files(self, bad: dict[str, str]) -> dict[str, str]:
        """File -> fault of all sessions, given those of this one."""
        return {**self._bad, **bad}
