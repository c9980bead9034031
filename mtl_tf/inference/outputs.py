"""The folder of predictions: of one input alone, known by its predictions.json, and nothing else is overwritten."""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping

from mtl_tf.atomic import leads_out, write_json
from mtl_tf.errors import UsageError
from mtl_tf.parsing import parse_json
from mtl_tf.storage.listing import PREDICTIONS


class Output:
    """A folder of predictions that is made, or made anew.

    Attributes:
        folder: the folder.
    """

    def __init__(
        self, folder: pathlib.Path, what: str, kinds: Mapping[str, str], names: Iterable[str], ours: bool = False
    ):
        """Claims the folder.

        Args:
            folder: where predictions are to be written.
            what: is predicted; see `inputs.Inputs`.
            kinds: the folders of the predictions (`Task.folders`), with the ending of their files.
            names: of the predictions, without suffix.
            ours: whether all that it holds are predictions of this input, whatever it says.

        Raises:
            UsageError: it holds predictions of another input or of an unknown one, or files that are none.
        """
        self.folder, self._what, self._kinds = folder, what, dict(kinds)
        before = _read(folder, self._kinds)
        self._before = set(before["files"]) if before else _predictions_in(folder, self._kinds)
        planned = self._paths(name for name in names if not leads_out(name))
        if not ours:
            _refuse_others(folder, what, before, self._kinds)
            strange = [path for path in sorted(planned - self._before) if os.path.lexists(folder / path)]
            if strange:
                raise UsageError(f"{folder / strange[0]} is there and is no prediction; choose another --output")
        self._write(self._before | planned)

    def finish(self, names: Iterable[str]):
        """Removes predictions of an earlier time that were not made again.

        Args:
            names: of those that were made.
        """
        made = self._paths(names)
        for path in self._before - made:
            with contextlib.suppress(OSError):
                (self.folder / path).unlink()
        self._write(made)

    def _paths(self, names):
        return {f"{kind}/{name}{ending}" for name in names for kind, ending in self._kinds.items()}

    def _write(self, paths):
        write_json(self.folder / PREDICTIONS, {"input": self._what, "files": sorted(paths)})


def own_folder(folder: pathlib.Path, what: str, kinds: Collection[str]) -> pathlib.Path:
    """The folder, or the first of folder-2, folder-3, ... that holds no predictions of another input than `what`."""
    number, found = 1, folder
    while _holds_others(found, what, kinds):
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


def _holds_others(folder, what, kinds):
    before = _read(folder, kinds)
    return before["input"] != what if before else bool(_predictions_in(folder, kinds))


def _refuse_others(folder, what, before, kinds):
    if before and before["input"] != what:
        raise UsageError(f"--output={folder} holds the predictions of {before['input']}; choose another --output")
    if not before and (there := _predictions_in(folder, kinds)):
        raise UsageError(
            f"--output={folder} holds {min(there)} and no {PREDICTIONS} that says of which input; choose another "
            "--output, or remove what is there"
        )
    if (folder / "rgb").is_dir():
        raise UsageError(
            f"--output={folder} has a folder rgb: predictions would become labels of that data set; choose another "
            "--output"
        )


def _predictions_in(folder, kinds):
    """The files in the folders of these kinds, below the folder."""
    return {
        path.relative_to(folder).as_posix() for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()
    }


def _read(folder, kinds):
    """What a folder's predictions.json says of these kinds; None where there is none that can be read."""
    try:
        found = parse_json((folder / PREDICTIONS).read_text(encoding="utf-8"))
        paths = [str(path) for path in found["files"]]
        good = [path for path in paths if path.partition("/")[0] in kinds and not leads_out(path)]
        return {"input": str(found["input"]), "files": good}
    except (OSError, ValueError, KeyError, TypeError):
        return None
