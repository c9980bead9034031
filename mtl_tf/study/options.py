"""The options that only `main.py study` has."""

import dataclasses

from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class StudyOptions(Section):
    """How a study is run; every other option is what all of its rows share."""

    experiments: str = option("", "TOML file that declares the experiments; empty = those of the published report.")
    tables: tuple[str, ...] = option((), "Names of the tables to make; empty = all.")
    carry: str = option(
        "report",
        "What later tables build on: what the report carried, or the best rows of this study.",
        choices=("report", "best"),
    )
    seeds: int = option(1, "Seeds of every row that does not name its own.", minimum=1)
    architecture_seeds: int = option(3, "Seeds of the rows that compare architectures.", minimum=1)
    workers: int = option(0, "Trials side by side on this machine; 0 = one after another.", minimum=0, free=True)
    patience: float = option(
        120.0, "Seconds after which a worker or chief that is silent counts as lost.", minimum=1.0, free=True
    )
    pictures: int = option(1, "Worst, median and best images on the page, of each; 0 = none.", minimum=0, free=True)
