"""The search directory: who may write there, and what it was made with."""

import contextlib
import json
import pathlib
import shutil
import time

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.atomic import write_json, write_text
from mtl_tf.config import Config
from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.options import format_value
from mtl_tf.training.run_directory import existing_path, hold_folder

_IDENTITY = "search.json"
_OURS = ("search", "trials", "trials.csv", "best.flags", "base.flags")
POLL_SECONDS = 0.5


class SearchDirectory:
    """A search directory, held by the one process that directs the search until it is closed.

    Holds `search.json` and `base.flags` (what it was made with), `search` (Keras Tuner's files, one `result.json` a
    trial), `trials` (run directories), `trials.csv` and `best.flags` (the result).

    Args:
        config: `run_dir`, `train.resume` and `train.fresh` say where and how; the rest is what trials start from.
        settings: what else must not change while a search goes on, as text by name.
        outputs: names of further files and folders that --train.fresh deletes.

    Raises:
        UsageError: it is in use, foreign, not writable, or was made with another configuration.
    """

    def __init__(self, config: Config, settings: dict[str, str], outputs: tuple[str, ...] = ()):
        self.path, self.config, self.settings = existing_path(config), config, settings
        self._ours = (*_OURS, *outputs)
        self._lock = hold_folder(self.path)
        try:
            self._check()
            if config.train.fresh:
                self._clear()
            write_json(self.path / _IDENTITY, {"settings": settings})
            header = "what every trial of this search starts from"
            write_text(self.path / "base.flags", flags.run_flags(config, header))
        except BaseException:
            self.close()
            raise

    def _check(self):
        if not (self.path / _IDENTITY).exists():
            foreign = [file.name for file in self.path.iterdir() if not file.name.startswith(".")]
            if foreign:
                raise UsageError(
                    f"--run_dir={self.path} holds files but no {_IDENTITY}, so it is no search; choose a new or "
                    "empty folder"
                )
        elif not self.config.train.fresh:
            if not self.config.train.resume:
                raise UsageError(
                    f"--run_dir={self.path} holds a search and --train.resume is false; --train.fresh deletes it first"
                )
            if (self.path / "search" / "oracle.json").exists():
                refuse_changes(self.path, self.config, self.settings)

    def _clear(self):
        for name in (*self._ours, *(folder.name for folder in self.path.glob("search.damaged-*"))):
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        # Last: killed in between, the directory is still known as a search.
        (self.path / _IDENTITY).unlink(missing_ok=True)

    def close(self):
        """Lets other processes use the directory."""
        self._lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def continued(config: Config) -> Config | None:
    """What the search in `run_dir` that a configuration continues starts from; None where it begins one."""
    base = existing_path(config) / "base.flags"
    return flags.read_run_flags(base) if base.exists() and not config.train.fresh else None


def refuse_changes(path: pathlib.Path, config: Config, settings: dict[str, str]):
    """Raises a UsageError that names what differs from the search in a directory, if anything does."""
    before = json.loads((path / _IDENTITY).read_text(encoding="utf-8"))["settings"]
    changed = [
        f"{name} was {before.get(name, 'not there')}, now {settings.get(name, 'not there')}"
        for name in (before | settings)
        if before.get(name) != settings.get(name)
    ]
    if (path / "base.flags").exists():
        base = flags.read_run_flags(path / "base.flags")
        changed += [
            f"--{name} was {format_value(old) or 'empty'}, now {format_value(new) or 'empty'}"
            for name, (old, new) in configuration.differences(base, config, training=True).items()
        ]
    if changed:
        raise UsageError(
            f"--run_dir={path} was made with another search ({'; '.join(changed)}); use the old values, another "
            "folder, or --train.fresh to delete it and start anew"
        )


def join(config: Config, settings: dict[str, str], patience: float):
    """What a worker does instead of holding the directory: waits until the chief has made it, and compares.

    Raises:
        UsageError: the chief's search is another one.
        StoppedError: no chief has made the directory.
    """
    path = existing_path(config)
    end = time.monotonic() + patience
    while not (path / "base.flags").exists():
        if time.monotonic() > end:
            raise StoppedError(f"no chief has begun a search in --run_dir={path} for {patience:.0f} s; start it first")
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(FileNotFoundError):  # just being made anew by --train.fresh
        refuse_changes(path, config, settings)
