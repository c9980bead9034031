"""Options that several families have."""

import dataclasses

from mtl_tf.options import Section, option

HEADS = ("deeplab", "hrnet", "fcn")


def head_option():
    """Which head follows the encoder."""
    return option(
        "deeplab",
        "Head of each task: DeepLab's of the last feature, or HRNet's or FCN's of all.",
        choices=HEADS,
        before="deeplab",
    )


def dropout_option():
    """How much DeepLab's head leaves out."""
    return option(
        0.0,
        "DeepLab's head: share of values left out while training; 0.5 published.",
        minimum=0.0,
        maximum=0.99,
        before=0.0,
    )


def alpha_option():
    """Share of a task's own feature."""
    return option(0.9, "Share of a task's own feature in the beginning.", before=0.9)


def beta_option():
    """Share of the feature of each other task."""
    return option(0.1, "Share of each other task's feature in the beginning.", before=0.1)


def runs_option():
    """Single-task runs as a start."""
    return option(
        (),
        "Runs of single tasks, with commas in the order of the tasks, whose encoders and heads are the start.",
        before=(),
    )


def final_option():
    """Which tasks are answered by distilled features."""
    return option(
        (),
        "Tasks that distilled features answer, with commas; empty: all. The others are auxiliary: they are trained and "
        "pass messages, and answer by their initial prediction.",
        before=(),
    )


def experts_option():
    """How many encoders there are, all of them shared."""
    return option(0, "Encoders that all tasks share; 0 = as many as tasks, at least 2.", minimum=0, before=0)


@dataclasses.dataclass(frozen=True)
class MixtureOptions(Section):
    """Of families in which tasks mix encoders that all share with encoders of their own."""

    experts: int = option(1, "Encoders that all tasks share.", minimum=1, before=1)
    own: int = option(1, "Encoders of each task alone.", minimum=1, before=1)
    head: str = head_option()
    dropout: float = dropout_option()
