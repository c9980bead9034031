"""What a search has found: trials.csv, best.flags and the table that is printed."""

import json
import pathlib
import shlex
from collections.abc import Sequence

from mtl_tf import flags
from mtl_tf.atomic import write_text
from mtl_tf.config import from_values
from mtl_tf.progress import format_seconds
from mtl_tf.training.run_directory import write_table
from mtl_tf.tuning.search import STATE
from mtl_tf.tuning.trial import DONE

_LOSSES = ("train_loss", "val_loss", "val_loss_unweighted")
_COSTS = ("parameters", "multiply_adds", "checkpoint_mib", "peak_memory_mib", "images_per_second", "seconds")
_SHOWN = 20  # trials printed; trials.csv has all


def read_results(directory: pathlib.Path, objective_direction: str) -> list[dict]:
    """The result.json of every trial that has ended, the best first and those without a score last."""
    found = [json.loads(file.read_text()) for file in (directory / STATE).glob("trial_*/result.json")]
    sign = -1 if objective_direction == "max" else 1
    return sorted(found, key=lambda one: (one["objective"] is None, sign * (one["objective"] or 0.0), one["trial"]))


def write_results(
    directory: pathlib.Path, results: Sequence[dict], names: Sequence[str], objective: str, leading: Sequence[str]
):
    """Writes trials.csv and, where a trial has a score, best.flags.

    Args:
        directory: the search directory.
        results: of `read_results`.
        names: options that differ among the trials.
        objective: by which they are ranked.
        leading: the score that stands for each of the tasks that are searched.
    """
    write_table(directory / "trials.csv", [_row(result, names, objective, leading) for result in results])
    best = results[0] if results and results[0]["status"] == DONE else None
    if best:
        file = shlex.quote(str(directory / "best.flags"))
        header = (
            f"the best of {len(results)} trials of {directory}: {best['name']}, {objective} {best['objective']:.6g}\n"
            f"repeat it with: main.py train --flagfile={file} --run_dir=NEW_FOLDER"
        )
        write_text(directory / "best.flags", flags.run_flags(from_values(best["options"]), header))


def _row(result, names, objective, leading):
    scores, costs = result.get("scores", {}), result.get("costs", {})
    return {
        "trial": result["name"],
        "status": result["status"],
        objective: result["objective"],
        **{name: _option(result, name) for name in names},
        **{name: scores.get(name) for name in ("total", *leading, *_LOSSES) if name != objective},
        **{name: costs.get(name) for name in _COSTS},
        "message": result["message"],
    }


def _option(result, name):
    """As text; a trial whose values did not go together has only the values that were searched."""
    return result.get("options", {}).get(name, result["values"].get(name))


def results_table(results: Sequence[dict], names: Sequence[str], objective: str) -> str:
    """The best trials as text, and what became of the others."""
    header = ["trial", objective, *(name.rpartition(".")[2] for name in names), "time", ""]
    rows = [header]
    for result in results[:_SHOWN]:
        seconds = result.get("costs", {}).get("seconds")
        ended = "" if result["status"] == DONE else f"{'failed: ' if result['status'] == 'failed' else 'diverged: '}"
        rows.append(
            [
                result["name"].partition("-")[0],
                "" if result["objective"] is None else f"{result['objective']:.5g}",
                *(str(_option(result, name) or "") for name in names),
                "" if seconds is None else format_seconds(seconds),
                ended + result["message"][:80],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    bad = sum(result["status"] != DONE for result in results)
    more = f" ({len(results) - _SHOWN} more in trials.csv)" if len(results) > _SHOWN else ""
    return "\n".join([*lines, f"{len(results)} trials, {bad} of them without a score{more}"])
