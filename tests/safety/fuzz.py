"""Damaged configuration, data set descriptions and weight files: a refusal of one line, or what is sound; nothing else.

`python -m tests.safety.fuzz 100000` runs that many cases, the kinds one after another, and prints how they ended. No
case may raise anything but a UsageError, take longer than `PATIENCE`, more memory than `MEMORY`, start a program, open
a connection, or change anything outside of its folder. Each kind has a process of its own, so that a crash is seen.
"""

import collections
import contextlib
import faulthandler
import importlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from mtl_tf.errors import UsageError
from tests.helpers import ROOT

PATIENCE = 20  # seconds, for one case; a right answer takes milliseconds
MEMORY = 3 * 2**30  # bytes of addresses over what the imports take

# Kind -> its module and its share of all cases.
KINDS = {
    "options": ("configuration", 0.16),
    "flag_file": ("configuration", 0.16),
    "search": ("spaces", 0.13),
    "experiments": ("configuration", 0.10),
    "data_set": ("configuration", 0.20),
    "safetensors_file": ("weights", 0.06),
    "torch_zip": ("weights", 0.06),
    "torch_legacy": ("weights", 0.06),
    "keras_hdf5": ("weights", 0.03),
    "best_weights": ("weights", 0.02),
    "checkpoint": ("weights", 0.02),
}

# Python tells of what it does (https://docs.python.org/3/library/audit_events.html); what no case may do:
FORBIDDEN = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *("pickle.find_class", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"),
}
# And where it may only be done within the case's folder: event -> how many of its first details are paths.
CHANGES = {
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), 1),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "shutil.rmtree", "open"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}


class Watch:
    """Notes what no case may do, as Python tells of it; what a library does beneath Python is not heard."""

    def __init__(self, place: pathlib.Path):
        self.place, self.seen, self.on = str(place.resolve()), [], False
        sys.addaudithook(self._hear)

    def _hear(self, event, details):
        if not self.on:
            return
        if event == "open":
            numbers = details[2]
            if not (isinstance(numbers, int) and numbers & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)):
                return
        paths = [path for path in details[: CHANGES.get(event, 0)] if isinstance(path, str | bytes | os.PathLike)]
        if event in FORBIDDEN or not all(map(self._within, paths)):
            self.seen.append((event, details))

    def _within(self, path):
        return os.path.abspath(os.fsdecode(path)).startswith((self.place + "/", "/dev/null"))

    @contextlib.contextmanager
    def __call__(self):
        self.on = True
        try:
            yield
        finally:
            self.on = False
        assert not self.seen, self.seen


def cases(kind: str, count: int, seed: int, watch: Watch) -> collections.Counter:
    """Runs cases of one kind in this process.

    Returns:
        How many were "refused" and how many "sound".

    Raises:
        AssertionError: what was accepted is not sound; or whatever else a case let through.
    """
    module, _ = KINDS[kind]
    case = importlib.import_module(f"tests.safety.{module}").CASES[kind]
    outcomes, place = collections.Counter(), pathlib.Path(watch.place) / kind
    place.mkdir(exist_ok=True)
    for number in range(count):
        random = np.random.default_rng([seed, number, *kind.encode()])
        print(kind, number, file=sys.stderr)  # the last line says where a process broke down
        signal.alarm(PATIENCE)
        try:
            with watch():
                case(random, place)
            outcomes["sound"] += 1
        except UsageError as error:
            text = str(error)
            assert len(text.splitlines()) == 1 and text.isprintable() and 10 < len(text) < 2100, (kind, number, text)
            outcomes["refused"] += 1
        except BaseException as error:
            error.add_note(f"{kind}, seed {seed}, case {number}")
            raise
        finally:
            signal.alarm(0)
    return outcomes


def bound_memory():
    """Lets this process take no more than `MEMORY` over what it has."""
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def child(kinds: dict[str, int], seed: int):
    """Runs cases of several kinds and prints a line for each; to be called in a process of its own."""
    for kind in kinds:
        importlib.import_module(f"tests.safety.{KINDS[kind][0]}")
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(pathlib.Path(folder))
        faulthandler.enable()
        faulthandler.register(signal.SIGALRM, chain=True)  # then it ends, also inside of a library
        bound_memory()
        for kind, count in kinds.items():
            begin, computed = time.monotonic(), time.process_time()
            outcomes = cases(kind, count, seed, watch)
            seconds, computed = time.monotonic() - begin, time.process_time() - computed
            ended = f"{outcomes['refused']} refused, {outcomes['sound']} sound"
            print(f"{kind}: {count} cases, {ended}, {seconds:.0f} s ({computed:.0f} s of computing)", flush=True)


def run(kinds: dict[str, int], seed: int) -> subprocess.CompletedProcess:
    """The same in a process of its own."""
    call = f"from tests.safety.fuzz import child; child({kinds!r}, {seed})"
    return subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=False)


def main(count: int, seed: int = 1, only: tuple[str, ...] = ()) -> int:
    """Runs `count` cases, shared among the kinds, and prints how they ended; returns the exit status."""
    status = 0
    for kind, (_, share) in KINDS.items():
        if not only or kind in only:
            done = run({kind: round(count * share)}, seed)
            print(done.stdout + ("" if done.returncode == 0 else done.stderr[-4000:]), end="", flush=True)
            status |= done.returncode != 0
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1, tuple(sys.argv[3:])))
