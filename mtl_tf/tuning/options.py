"""The options that only `main.py tune` has."""

import dataclasses

from mtl_tf.options import Section, option

ALGORITHMS = ("random", "grid", "bayesian", "hyperband")


@dataclasses.dataclass(frozen=True)
class TuneOptions(Section):
    """What is searched, and how; every other option is what all trials start from."""

    space: str = option("", "TOML file that names the options to search and their ranges.")
    algorithm: str = option("random", "How the next trial is chosen.", choices=ALGORITHMS)
    objective: str = option("total", "Validation metric that trials are ranked by: total, semseg.miou, val_loss, ...")
    max_trials: int = option(
        0, "Trials at most; 0 = all of a grid or of Hyperband, 20 of the others.", minimum=0, free=True
    )
    hyperband_factor: int = option(
        3, "Hyperband: of so many trials one goes on, for so many times the epochs (train.epochs at most).", minimum=2
    )
    workers: int = option(0, "Trials side by side on this machine; 0 = one after another.", minimum=0, free=True)
    patience: float = option(
        120.0, "Seconds after which a worker or chief that is silent counts as lost.", minimum=1.0, free=True
    )
