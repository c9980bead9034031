"""One trial: a configuration trained and evaluated in a process of its own, whatever becomes of that process.

A trial that diverges, runs out of memory or is killed ends as an outcome and takes nothing down with it. The process
ends with its parent: it holds the read end of a pipe, which closes when the parent is gone.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

from mtl_tf import flags
from mtl_tf.atomic import write_json, write_text
from mtl_tf.config import Config
from mtl_tf.errors import DivergedError, MtlError, StoppedError, one_line
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow
from mtl_tf.training.run_directory import as_named_today, existing_path
from mtl_tf.training.stopping import StopSignal

DONE, DIVERGED, FAILED = "done", "diverged", "failed"
COST_SIZE = (256, 256)  # pixels for which multiply-adds are counted, as published
POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: "done", "diverged" or "failed"; the first two are final, a failed trial is tried again.
        message: what went wrong, in a line; empty when done.
        scores: of the best weights by dotted name, `score` that the best weights are chosen by (larger is better;
            single-task networks have one too), and `train_loss`, `val_loss`, `val_loss_unweighted` of the last epoch.
        costs: `parameters`, `multiply_adds` (at 256x256), `checkpoint_mib`, `peak_memory_mib`, `images_per_second`
            of training and its `seconds`, validation included.
    """

    status: str
    message: str = ""
    scores: dict[str, float | None] = dataclasses.field(default_factory=dict)
    costs: dict[str, float | None] = dataclasses.field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether running the trial again would tell nothing new."""
        return self.status != FAILED


@dataclasses.dataclass(frozen=True)
class _TrialOptions(Section):
    hyperparameters: str = option("{}", "JSON object of what is shown on TensorBoard's HParams page.")


def run_trial(config: Config, split: str = "val", hyperparameters: dict[str, Any] | None = None) -> Outcome:
    """Trains a configuration into its run directory and evaluates its best weights, or reads how that ended.

    Args:
        config: `run_dir` is the trial's own run directory; one that is not finished is continued.
        split: that the best weights are scored on.
        hyperparameters: what the trial is about, for TensorBoard's HParams page; strings, numbers and booleans.

    Raises:
        StoppedError: a signal came; the trial is saved and goes on next time.
    """
    path = existing_path(config)
    known = read_outcome(path)
    if known and known.final:
        return known
    arguments = flags.arguments_of(config)
    command = [
        *(sys.executable, "-m", __name__, *arguments, f"--run_dir={path.resolve()}", f"--data.split={split}"),
        f"--hyperparameters={json.dumps(hyperparameters or {})}",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(_import_path())}
    with StopSignal() as stop:
        # A group of its own: a terminal's Ctrl-C reaches it once, through here, and leaves it time to save.
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True) as process:
            asked = False
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
                if stop.asked and not asked:
                    process.send_signal(signal.SIGTERM)
                    asked = True
        stop.leave_if_asked(f"in {path}, saved; the same command continues")
    found = read_outcome(path)
    if process.returncode == StoppedError.exit_status:
        raise StoppedError(f"{path} was stopped by a signal and is saved; the same command continues")
    if found is None or process.returncode < 0:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        found = Outcome(FAILED, f"the process ended with {how}" + (" (out of memory?)" if how == "signal 9" else ""))
        if (path / "run.flags").exists():
            _write_outcome(path, found)
    return found


def _write_outcome(run_dir, outcome):
    write_json(run_dir / "outcome.json", dataclasses.asdict(outcome))


def read_outcome(run_dir: pathlib.Path) -> Outcome | None:
    """The outcome that a run directory holds; None where there is none, or half of one."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Outcome(**json.loads((run_dir / "outcome.json").read_text(encoding="utf-8")))
        return dataclasses.replace(found, scores=as_named_today(found.scores))
    return None


def _import_path():
    """Where the child finds this package, installed or not."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    return [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


# === In the process of the trial ===


def _end_with_parent():
    def watch():
        os.read(0, 1)  # returns when the parent's end is closed
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _trial(config: Config, hyperparameters: dict) -> Outcome:
    from mtl_tf.inference.scoring import evaluate_run
    from mtl_tf.report.scores import Board
    from mtl_tf.selection import selection_score
    from mtl_tf.training.trainer import train

    run_dir = pathlib.Path(config.run_dir)
    try:
        train(config)
    except DivergedError:
        step = json.loads((run_dir / "diverged.json").read_text())["step"]
        return Outcome(DIVERGED, f"non-finite loss at step {step}")
    finally:
        if (run_dir / "run.flags").exists():
            _write_hyperparameters(run_dir, hyperparameters)
    tasks, scores, _ = evaluate_run(config)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    final = as_named_today(metrics["final"])
    losses = {name: final.get(name) for name in ("train_loss", "val_loss", "val_loss_unweighted")}
    measured = scores | {"loss": losses["val_loss"]}
    chosen_by = {"score": selection_score(tasks, measured, config.train.best_metric)}
    return Outcome(DONE, "", Board(tasks).flatten(scores) | losses | chosen_by, _costs(config, metrics))


def _costs(config, metrics):
    import keras

    from mtl_tf.data import descriptors
    from mtl_tf.models import build_model
    from mtl_tf.models.costs import multiply_adds
    from mtl_tf.training.checkpoints import checkpoints_in

    run_dir = pathlib.Path(config.run_dir)
    newest = checkpoints_in(run_dir / "checkpoints")[-1]
    size = sum(file.stat().st_size for file in newest.parent.glob(f"{newest.name}.*"))
    keras.config.set_dtype_policy("float32")
    model = build_model(config.model, descriptors.read(run_dir).tasks(config), config.arch_options)
    return {
        "parameters": metrics["parameters"],
        "multiply_adds": multiply_adds(model, COST_SIZE),
        "checkpoint_mib": round(size / 2**20, 1),
        "peak_memory_mib": metrics["peak_memory_mb"],
        "images_per_second": metrics["images_per_second"],
        "seconds": metrics["seconds"],
    }


def _write_hyperparameters(run_dir, hyperparameters):
    """Puts the run on TensorBoard's HParams page; its scores are the scalars that training wrote."""
    from tensorboard.plugins.hparams import api

    from mtl_tf.training.summaries import events_writer

    if hyperparameters:
        with events_writer(run_dir / "events").as_default():
            shown = {name: one_line(v) if isinstance(v, str) else v for name, v in hyperparameters.items()}
            api.hparams(shown, trial_id=run_dir.name)


def _main() -> int:
    _end_with_parent()
    parsed = flags.parse(sys.argv[1:], _TrialOptions)
    run_dir = pathlib.Path(parsed.config.run_dir)
    try:
        start_tensorflow()
        outcome = _trial(parsed.config, json.loads(parsed.own.hyperparameters))
    except StoppedError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except MtlError as error:
        outcome = Outcome(FAILED, str(error))
    except Exception as error:
        outcome = Outcome(FAILED, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    if outcome.status == FAILED and not (run_dir / "run.flags").exists():
        # A folder with files but without run.flags would be taken for somebody else's.
        write_text(run_dir / "run.flags", flags.run_flags(parsed.config))
    _write_outcome(run_dir, outcome)
    if outcome.message:
        print(f"{run_dir.name}: {outcome.message}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
