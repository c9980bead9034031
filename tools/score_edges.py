"""tools/score_edges.py --predicted=FOLDER --truth=FOLDER --distance=nyud --output=FOLDER: odsF, oisF and AP of edges.

Scores as the Berkeley benchmark does (mtl_tf/boundaries.py). --predicted holds 8-bit grey pictures, 255 times the
probability, rounded down, at the size of the truth, as `main.py predict` writes them; --truth the files of the same
names, with any folders between: pictures, .npy, or .mat with one matrix. Scores are computed at nine thresholds, then
at those around the best of them. They are printed, and written to OUTPUT/READER_DISTANCE.json with all counts.
OUTPUT/counts.jsonl keeps what was counted of each picture: a stopped scoring continues, and pictures that have changed
are counted anew.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import sys

import numpy as np
from _edge_files import CLASSES, LINES, Truth, pairs_of, read_predicted
from _tool import run_tool
from _writing import output_folder, process_pool, write_all

from mtl_tf import boundaries
from mtl_tf.atomic import write_json
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.parsing import parse_json
from mtl_tf.storage import files

USES = ("output",)  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    predicted: str = option("", "Folder of predicted edges: 8-bit grey, 255 times the probability, rounded down.")
    truth: str = option("", "Folder of the truth.")
    truth_holds: str = option(
        LINES,
        "What the truth holds: lines (edges as 1 or 255, the others 0), or the ids of classes or of instances, whose "
        "boundaries are the truth.",
        choices=(LINES, CLASSES),
    )
    ignore: int = option(
        255,
        "The id of pixels without a label; they and their neighbours do not count. -1 = there are none. Has to be "
        "given where ids go beyond 255.",
        minimum=-1,
        maximum=65535,
    )
    reader: str = option(
        "cont",
        "How a map is read: cont = non-maximum suppression, 101 thresholds; plain = as it is, 99 thresholds. Their "
        "scores do not compare.",
        choices=tuple(boundaries.READERS),
    )
    distance: str = option(
        "",
        "How far a right edge may be from a true one, as a share of the diagonal: a number, or "
        + ", ".join(f"{name} = {value}" for name, value in boundaries.DISTANCES.items())
        + ".",
    )
    names: str = option("", "Text file with the names to score, one a line, without endings; empty = all.")
    all_thresholds: bool = option(False, "Score at all thresholds, not only around the best, which AP needs.")
    processes: int = option(0, "Processes that count; 0 = one a core.", minimum=0)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the counts of a picture depend on, besides the picture."""

    reader: str
    distance: float
    truth_holds: str
    ignore: int | None
    version: int = 1  # of the counting; what was counted by another is not used


def score(parsed):
    """Counts what is missing, prints the scores and writes them.

    Raises:
        UsageError: a folder, a file or an option is not as expected.
    """
    own, output = parsed.own, output_folder(parsed.config)
    ignore = own.ignore if own.truth_holds == CLASSES and own.ignore >= 0 else None
    rules = Rules(own.reader, _distance(own.distance), own.truth_holds, ignore)
    reader = boundaries.READERS[own.reader]
    truth = Truth(own.truth_holds) if "ignore" in parsed.given else Truth(own.truth_holds, most=own.ignore)
    pairs = pairs_of(own.predicted, own.truth, own.names, truth)
    counts = Counts(output / "counts.jsonl", rules, truth, pairs, own.processes)
    thresholds = reader.thresholds if own.all_thresholds else reader.coarse
    found = counts.at(thresholds)
    if not own.all_thresholds:
        near = reader.near(boundaries.scores(found, thresholds, reader)["threshold"])
        thresholds = tuple(sorted({*thresholds, *near}))
        found = counts.at(thresholds)
    scored = {
        "predicted": str(own.predicted),
        "truth": str(own.truth),
        "pictures": len(found),
        **dataclasses.asdict(rules),
        "thresholds": len(thresholds),
        "thresholds_of_reader": len(reader.thresholds),
    }
    scores = boundaries.scores(found, thresholds, reader)
    path = output / f"{own.reader}_{rules.distance:g}.json"
    write_json(path, {"scored": scored, "scores": scores, "curve": curve(found, thresholds)})
    print(table(scored, scores))
    print(f"written to {path}")


def _distance(text):
    """The share of the diagonal that an option says."""
    known = ", ".join(boundaries.DISTANCES)
    if not text:
        raise UsageError(f"--distance is missing: one of {known}, or a number, a share of the diagonal")
    try:
        value = boundaries.DISTANCES.get(text) or float(text)
    except ValueError:
        raise UsageError(f"--distance={text}: expected one of {known}, or a number") from None
    if not 0 < value <= boundaries.LARGEST_DISTANCE:
        raise UsageError(
            f"--distance={text}: expected a share of the diagonal, more than 0 and at most "
            f"{boundaries.LARGEST_DISTANCE}"
        )
    return value


# === Counting ===


class Counts:
    """The counts of pictures at thresholds; all that were ever counted stand in a file, a line of JSON a picture.

    Args:
        path: of the file.
        rules: by which is counted.
        truth: reads the true files.
        pairs: what `pairs_of` found.
        processes: how many count; 0 = one a core.
    """

    def __init__(
        self, path: pathlib.Path, rules: Rules, truth: Truth, pairs: dict[str, tuple[str, str]], processes: int
    ):
        self._path, self._processes = path, processes
        self._count = functools.partial(count_picture, path, rules, truth)
        keys = {name: _key(rules, pair) for name, pair in pairs.items()}
        self._pictures = {name: (name, keys[name], pair) for name, pair in pairs.items()}
        self._known = {name: {} for name in pairs}
        before = _read_lines(path)
        for name, key in keys.items():
            self._known[name].update(before.get(key, {}))

    def at(self, thresholds: tuple[float, ...]) -> np.ndarray:
        """The counts at these thresholds, int64 (pictures, thresholds, 3); what is missing is counted.

        Raises:
            UsageError: some pictures cannot be read; the others were counted.
        """
        tasks = []
        for name, picture in self._pictures.items():
            missing = tuple(each for each in thresholds if each not in self._known[name])
            if missing:
                tasks.append((*picture, missing))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        pool = process_pool(self._processes, len(tasks))
        bad = []
        label = f"counting at {len(thresholds)} thresholds"
        for (name, *_), found in zip(tasks, write_all(label, self._count, tasks, pool), strict=True):
            if isinstance(found, str):
                bad.append(found)
            else:
                self._known[name].update(found)
        if bad:
            raise UsageError(
                f"{len(bad)} of {len(self._pictures)} pictures cannot be scored: {'; '.join(bad[:5])} (the others are "
                f"counted and kept in {self._path})"
            )
        return np.array([[known[each] for each in thresholds] for known in self._known.values()], np.int64)


def count_picture(path: pathlib.Path, rules: Rules, truth: Truth, task) -> dict[float, list[int]] | str:
    """Counts one picture and adds its line to the file; several processes may do so at once.

    Args:
        path: of the file.
        rules: by which is counted.
        truth: reads the true file.
        task: name, key, predicted and true file, and thresholds.

    Returns:
        The counts by threshold; a text that says what is wrong with the picture where something is.
    """
    name, key, (predicted, true), thresholds = task
    try:
        answered, labels = read_predicted(predicted), truth.read(true)
    except UsageError as error:
        return str(error)
    edges, known = boundaries.truth_of(labels, rules.ignore)
    reader = boundaries.READERS[rules.reader]
    found = boundaries.count(answered, edges, known, reader, thresholds, rules.distance).tolist()
    rows = [[threshold, *counts] for threshold, counts in zip(thresholds, found, strict=True)]
    line = json.dumps({"name": name, "key": key, "counts": rows})
    with open(path, "ab", buffering=0) as file:
        # Begins with a line break, so that one that was cut off before spoils no other.
        file.write(f"\n{line}\n".encode())
    return dict(zip(thresholds, found, strict=True))


def _key(rules, pair):
    """What the counts of a picture are known by: the rules, and the content of both files."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(rules)).encode())
    for path in pair:
        content = files.read(path)
        digest.update(b"%d " % len(content) + content)
    return digest.hexdigest()


def _read_lines(path):
    """Key -> threshold -> counts, of all lines that are whole."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else ():
        try:
            content = parse_json(line)
            rows = {float(threshold): list(map(int, counts)) for threshold, *counts in content["counts"]}
            if all(len(counts) == 3 for counts in rows.values()):
                found.setdefault(str(content["key"]), {}).update(rows)
        except (ValueError, KeyError, TypeError):
            continue  # cut off by a full disk or a kill
    return found


# === What is told ===


def curve(counts: np.ndarray, thresholds: tuple[float, ...]) -> list[dict]:
    """Precision and recall of all pictures at each threshold, with the counts that they are made of."""
    total = counts.sum(0)
    columns = zip(thresholds, *total.T.tolist(), *(each.tolist() for each in boundaries.rates(total)), strict=True)
    names = ("threshold", "matched", "predicted", "true", "precision", "recall", "F")
    return [dict(zip(names, row, strict=True)) for row in columns]


def table(scored: dict, scores: dict) -> str:
    """The scores in percent, and what they are of, as text."""
    precision, recall = (f"{name} {100 * scores[name]:.2f}" for name in ("precision", "recall"))
    of = {
        "pictures": str(scored["pictures"]),
        "truth": scored["truth_holds"],
        "reader": scored["reader"],
        "distance": f"{scored['distance']:g} of the diagonal",
        "thresholds": f"{scored['thresholds']} of {scored['thresholds_of_reader']}",
        "odsF": f"{100 * scores['odsF']:.2f} %, {precision}, {recall} at {scores['threshold']:g}",
        "oisF": f"{100 * scores['oisF']:.2f} %",
        "AP": "needs --all_thresholds" if scores["AP"] is None else f"{100 * scores['AP']:.2f} %",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in of.items())


if __name__ == "__main__":
    sys.exit(run_tool(score, Options))
