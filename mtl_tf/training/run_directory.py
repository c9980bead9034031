"""The run directory: who may write there, what it was made with, and its tables."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.atomic import write_json, write_text
from mtl_tf.config import Config
from mtl_tf.data import descriptors
from mtl_tf.data.fingerprint import difference
from mtl_tf.data.mixture import NO_ROOT
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value
from mtl_tf.parsing import parse_json
from mtl_tf.storage.files import is_remote

_OURS = (
    "dataset.json",
    "environment.json",
    "metrics.csv",
    "steps.csv",
    "conflicts.csv",
    "skipped.csv",
    "samples.json",
    "metrics.json",
    "report.html",
    "diverged.json",
    "timing.json",
    "outcome.json",
    "run.flags",
)
_OUR_PATTERNS = ("evaluation_*.json", "baseline_*.json", "per_image_*.csv")
_OUR_FOLDERS = ("checkpoints", "best", "events", "pictures", "export", "predictions")
SAMPLES_FILE = "samples.json"
_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "absl-py", "h5py", "jax", "jaxlib")


class RunDirectory:
    """A run directory that this process holds until it is closed.

    Args:
        config: `run_dir`, `train.resume` and `train.fresh` say where and how; the rest must fit what is there.

    Raises:
        UsageError: it is in use, foreign, not writable, or was made with another configuration.
    """

    def __init__(self, config: Config):
        self.path = existing_path(config)
        self.config = config
        self._lock = hold_folder(self.path)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self):
        """Raises where this configuration must not write here; changes nothing."""
        for folder in (self.path, self.path / "checkpoints"):
            if folder.exists() and not os.access(folder, os.W_OK):
                raise UsageError(
                    f"cannot write to {folder}: it is read-only; make it writable, or choose another folder"
                )
        foreign = [file.name for file in self.path.iterdir() if not file.name.startswith(".")]
        if not self._flag_file.exists():
            if foreign:
                raise UsageError(
                    f"--run_dir={self.path} holds files but no run.flags, so it is no run; choose a new or empty folder"
                )
        elif not self.config.train.fresh:
            if not self.config.train.resume:
                raise UsageError(
                    f"--run_dir={self.path} holds a run and --train.resume is false; --train.fresh deletes it first"
                )
            if self._has_trained():
                self._refuse_changes(flags.read_run_flags(self._flag_file))

    def claim(self, descriptor: descriptors.Descriptor, samples: dict[str, dict] | None = None):
        """Makes the directory that of this run, once configuration and data are known to be right.

        What describes the data set is kept with the run, which is then whole without it.

        Args:
            descriptor: of the data set.
            samples: split -> fingerprint (`data.fingerprint`) of its samples.

        Raises:
            UsageError: the run was made with another description of the data set, or with other samples.
        """
        if self.config.train.fresh:
            self._clear()
        self._sweep()
        if self._has_trained():
            self.kept(descriptor)
            self._refuse_other_samples(samples or {})
            if flags.read_run_flags(self._flag_file).train.extend != self.config.train.extend:
                self._write_flags()
                (self.path / "metrics.json").unlink(missing_ok=True)  # it is finished no more
            return
        self._write_flags()
        descriptors.write(self.path, descriptor)
        write_json(self.path / SAMPLES_FILE, samples or {})
        write_json(self.path / "environment.json", environment())

    def kept(self, descriptor: descriptors.Descriptor) -> descriptors.Descriptor | None:
        """The description of the data set that the run was made with; None where it begins now.

        Args:
            descriptor: what describes the data set now.

        Raises:
            UsageError: the two differ.
        """
        if self.config.train.fresh or not _has_trained(self.home):
            return None
        # The name is that of the folder where the data set has none of its own; folders move.
        kept = dataclasses.replace(descriptors.read(self.home), name=descriptor.name)
        if not kept.says_the_same(descriptor, self.config.tasks):
            raise UsageError(
                f"--run_dir={self.home} was made with another description of the data set "
                f"({descriptors.FILE_NAME} there); restore the data set's, use another folder, or --train.fresh"
            )
        return kept

    def _write_flags(self):
        flag_file = shlex.quote(str(self._flag_file))
        header = f"mtl_tf run; repeat it with: main.py train --flagfile={flag_file} --run_dir=NEW_FOLDER"
        write_text(self._flag_file, flags.run_flags(_found_from_anywhere(self.config), header))

    def note(self, **facts):
        """Adds to what environment.json says the run was made with."""
        path = self.path / "environment.json"
        known = parse_json(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_json(path, {**known, **facts})

    @property
    def home(self) -> pathlib.Path:
        """Where checkpoints are read from."""
        return self.path

    @property
    def _flag_file(self):
        return self.path / "run.flags"

    def _has_trained(self):
        """Whether there is anything that another configuration would spoil."""
        return _has_trained(self.path)

    def _refuse_changes(self, before: Config):
        before = self._extended(before)
        changed = _told_changes(before, self.config, "was", "now")
        if changed:
            raise UsageError(
                f"--run_dir={self.path} was made with another configuration ({changed}); "
                f"use the old values, another folder, or --train.fresh to delete it and start anew{self._anew(before)}"
            )

    def _anew(self, before):
        """The command that starts a new run from other weights, where these are what has changed."""
        changes = configuration.differences(before, self.config, training=True)
        if not any(name in changes for name in ("model.encoder_weights", "model.weights")):
            return ""
        arguments = [f"--flagfile={self._flag_file}", "--run_dir=NEW_FOLDER"]
        arguments += [f"--{name}={format_value(new)}" for name, (_, new) in changes.items()]
        return f". A new run from these weights: main.py train {shlex.join(arguments)}"

    def _extended(self, before):
        """What the run was made with, with the epochs that are added to it now."""
        old, new = before.train.extend, self.config.train.extend
        if len(new) <= len(old) or new[: len(old)] != old:
            return before
        epochs, done = before.train.all_epochs, self.finished_epochs()
        if done != epochs:
            state = "is not finished: run its command without the added epochs first"
            if done:
                state = (
                    f"was ended by train.patience after {done} of {epochs} epochs: start another one from its weights, "
                    f"--model.weights={self.path}"
                )
            raise UsageError(f"--train.extend={format_value(new)} adds to a finished run, and {self.path} {state}")
        schedule = before.train.extend_schedule if old else self.config.train.extend_schedule
        return configuration.replace(before, train__extend=new, train__extend_schedule=schedule)

    def finished_epochs(self) -> int:
        """The epochs that metrics.json, which a finished run has, is of; 0 where there is none that can be read."""
        try:
            return parse_json((self.home / "metrics.json").read_text(encoding="utf-8"))["epochs"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _refuse_other_samples(self, samples):
        path = self.home / SAMPLES_FILE
        try:
            before = parse_json(path.read_text()) if path.exists() else {}  # older runs have none
            changes = {split: difference(before.get(split, found), found) for split, found in samples.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            told = error if isinstance(error, ValueError) else "not what a run keeps of its samples"
            raise UsageError(f"{path}: {told}; remove it, and the samples are not compared") from None
        for split, changed in changes.items():
            if changed:
                raise UsageError(
                    f"the {split} samples are not those that --run_dir={self.home} was made with ({changed}); restore "
                    "them and run the same command again, or train in another folder, or --train.fresh"
                )

    def _sweep(self):
        """Removes what a killed process was about to put in place."""
        for folder in (self.path, self.path / "best", self.path / "pictures"):
            for file in folder.glob(".*.tmp"):
                file.unlink()

    def _clear(self):
        for name in _OUR_FOLDERS:
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
        # run.flags last: killed in between, the directory is still known as a run.
        for pattern in (*_OUR_PATTERNS, *_OURS):
            for file in self.path.glob(pattern):
                file.unlink()

    def close(self):
        """Lets other processes use the directory."""
        self._lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FollowerDirectory(RunDirectory):
    """What a process other than the chief has for a run directory: a folder of its own, which goes when it is closed.

    It writes what the chief writes, so that all do the same; it reads the chief's checkpoints.
    """

    def __init__(self, config: Config):
        self._folder = tempfile.TemporaryDirectory(prefix="mtl_tf_worker_")
        self.path, self.config = pathlib.Path(self._folder.name), config

    @property
    def home(self) -> pathlib.Path:
        """The chief's run directory."""
        return existing_path(self.config)

    def claim(self, descriptor: descriptors.Descriptor, samples: dict[str, dict] | None = None):
        """Compares this process' configuration and samples with the chief's, which has claimed the directory before.

        Raises:
            UsageError: the chief's is not there, or differs.
        """
        file = self.home / "run.flags"
        if not file.is_file():
            raise UsageError(f"--run_dir={self.home} is not the chief's: it has no run.flags; share one folder")
        changed = _told_changes(flags.read_run_flags(file), self.config, "is", "here")
        if changed:
            raise UsageError(
                f"this worker's configuration is not that of the chief of --run_dir={self.home} ({changed}); start all "
                "workers with the same options"
            )
        self._refuse_other_samples(samples or {})

    def close(self):
        """Deletes the folder."""
        self._folder.cleanup()


def continued(config: Config) -> Config | None:
    """What the run in `run_dir` that a configuration continues was made with; None where it starts one.

    Raises:
        UsageError: no run directory is named, or its run.flags cannot be read.
    """
    path = existing_path(config)
    return flags.read_run_flags(path / "run.flags") if _has_trained(path) and not config.train.fresh else None


def _found_from_anywhere(config):
    """The configuration with absolute paths to data, so that commands find them from any folder."""
    data = config.data
    return configuration.replace(
        config, data__root=_absolute(data.root), data__mix_roots=tuple(map(_absolute, data.mix_roots))
    )


def _absolute(path):
    return path if path in ("", NO_ROOT) or is_remote(path) else os.path.abspath(path)


def _has_trained(path):
    return (path / "run.flags").exists() and any((path / "checkpoints").glob("*.index"))


def _told_changes(before: Config, now: Config, then: str, today: str) -> str:
    """The options in which two configurations differ, with both values and the words that stand before them."""
    return "; ".join(
        f"--{name} {then} {format_value(old) or 'empty'}, {today} {format_value(new) or 'empty'}"
        for name, (old, new) in configuration.differences(before, now, training=True).items()
    )


def open_directory(config: Config, chief: bool) -> RunDirectory:
    """The run directory of the chief, or what another process has for it."""
    return RunDirectory(config) if chief else FollowerDirectory(config)


def hold_folder(path: pathlib.Path):
    """Makes the folder of --run_dir and keeps other processes out of it until what is returned is closed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --run_dir={path}: {error.strerror}; choose another folder") from None
    return hold(path / ".lock", f"another process is using --run_dir={path}")


def hold(path: pathlib.Path, in_use: str):
    """Locks a file until what is returned is closed; `in_use` is what the UsageError says if another has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a")  # noqa: SIM115 (held until close)
    except OSError as error:
        raise UsageError(f"cannot write to {path.parent}: {error.strerror}; choose another folder") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(f"{in_use}; wait for it or choose another") from None
    return file


def existing_path(config: Config) -> pathlib.Path:
    """The run directory's path, which must be named."""
    if not config.run_dir:
        raise UsageError("--run_dir=FOLDER is missing: it names the folder that a run writes to and is read from")
    if is_remote(config.run_dir):
        raise UsageError(f"--run_dir={config.run_dir} is no local folder, which a run needs; copy what it leaves there")
    return pathlib.Path(config.run_dir)


class Table:
    """A CSV file that grows by rows and can be cut back.

    Args:
        path: the file.
        until: rows in which `column` is larger, and a half-written last row, are dropped when it is opened.
        column: counts the rows.
    """

    def __init__(self, path: pathlib.Path, until: int, column: str = "step"):
        self._path = path
        self._columns: list[str] | None = None
        if path.exists():
            kept = [row for row in read_table(path) if row[column].isdecimal() and int(row[column]) <= until]
            self._columns = list(kept[0]) if kept else None
            write_text(path, _csv_text(self._columns, *(row.values() for row in kept)) if kept else "")

    def append(self, row: dict):
        """Adds a row; the first one gives the columns."""
        lines = [] if self._columns else [list(row)]
        self._columns = self._columns or list(row)
        lines.append([_cell(row.get(name)) for name in self._columns])
        try:
            with open(self._path, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(_csv_text(*lines))
        except OSError as error:
            raise UsageError(
                f"cannot write {self._path} ({error.strerror}); make room and run the same command again"
            ) from None

    def rows(self) -> list[dict[str, float | None]]:
        """All rows, as numbers."""
        if not self._path.exists():
            return []
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in read_table(self._path)]


def read_table(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [as_named_today(row) for row in csv.DictReader(file) if None not in row.values()]


def as_named_today(row: dict) -> dict:
    """A row of metrics.csv, of an older run too: there `val_loss` was the plain sum, beside `val_loss_weighted`."""
    if "val_loss_weighted" not in row:
        return row
    today = {"val_loss": "val_loss_unweighted", "val_loss_weighted": "val_loss"}
    return {today.get(name, name): value for name, value in row.items()}


def write_table(path: pathlib.Path, rows: list[dict]):
    """Writes rows of one shape as a CSV file, atomically."""
    write_text(
        path, _csv_text(list(rows[0]), *([_cell(cell) for cell in row.values()] for row in rows)) if rows else ""
    )


def _csv_text(*rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value) -> str:
    return "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)


def environment() -> dict:
    """Versions, commit and hardware that a run was made with."""
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def _version(package) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # TensorFlow goes by several names
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
