"""Trials that train nothing: a formula for a score, and a line in `ran.txt` for each that was run and not only read."""

import math
import os
import pathlib
import time

from mtl_tf.tuning import trial


def run_trial(config, split="val", hyperparameters=None):
    """As `mtl_tf.tuning.trial.run_trial`; STUB_SECONDS is how long it takes, rates above STUB_LIMIT diverge."""
    run_dir = pathlib.Path(config.run_dir)
    known = trial.read_outcome(run_dir)
    if known:
        return known
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir.parents[1] / "ran.txt", "a") as file:
        file.write(f"{run_dir.name}\n")
    time.sleep(float(os.environ.get("STUB_SECONDS", 0)))
    rate = config.optim.learning_rate
    if rate > float(os.environ.get("STUB_LIMIT", 1)):
        outcome = trial.Outcome("diverged", "non-finite loss at step 7")
    else:
        weight = dict(config.loss.weights)["depth"]
        total = -abs(math.log10(rate) + 2.5) - abs(weight - 0.6) + 0.01 * config.train.epochs
        outcome = trial.Outcome(
            "done", "", {"total": total, "semseg.miou": total, "val_loss_unweighted": -total}, {"seconds": 1.0}
        )
    trial.write_json(run_dir / "outcome.json", trial.dataclasses.asdict(outcome))
    return outcome
