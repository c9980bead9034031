"""Decides, by a look at the training data, what the options leave to them: which tasks, and how pictures fit."""

import dataclasses
from collections.abc import Sequence

from mtl_tf.config import DATA_SETS, BalanceConfig, Config, DataConfig
from mtl_tf.data.sets import describe_training, open_training
from mtl_tf.errors import UsageError

LOOK_AT = 40  # pictures, at equal distances, whose aspect is looked at
_SETTLED = ("fit", "val_by")  # options of data whose auto is settled once, for a run that is continued as before
TOLERANCE = 0.02  # aspects that differ by no more are taken for equal


def settled(config: Config, before: Config | None = None) -> Config:
    """The configuration with `tasks`, `data.fit` and `data.val_by` as they are meant; everything else uses them so.

    Args:
        config: that of a command line, where `tasks` may be empty and data.fit auto.
        before: of the run or search that is continued; what it has settled stays.

    Returns:
        `tasks`: those that samples of the training split have labels of. data.fit: "pad" where data.image_size has
        another aspect than some of the pictures, else "stretch"; as it was where there is no data.image_size.
        data.val_by: "sequence" where it was auto and samples are held out.

    Raises:
        UsageError: the data set or its training split is not there, its tasks do not go with other options, or
            data.root would not be read.
    """
    if before:
        config = _as_before(config, before)
    else:
        demand_root_is_read(config.data)
    descriptor = describe_training(config.data)
    if DATA_SETS[config.data.name].to_order and not config.data.mix_names:
        return _chosen(config, descriptor.chosen(config.tasks), "stretch")
    open_question = config.data.fit == "auto" and config.data.image_size
    if config.tasks and not open_question:
        return _chosen(config, config.tasks, "stretch")
    source = open_training(config, descriptor)
    labelled = tuple(task for task in source.tasks if source.labelled[task])
    other = open_question and any(differs(size, config.data.image_size) for size in some_sizes(source))
    return _chosen(config, config.tasks or labelled or source.tasks, "pad" if other else "stretch")


def demand_root_is_read(data: DataConfig) -> None:
    """Raises a UsageError where data.root names files, but data.name, as it is by default, a data set without any."""
    if data.root and DATA_SETS[data.name].to_order:
        raise UsageError(
            f"--data.root={data.root} would not be read, since --data.name={data.name} has no files; say what lies "
            "there, --data.name=folder for a data set of your own, or leave --data.root out"
        )


def _as_before(config, before):
    kept = {name: getattr(before.data, name) for name in _SETTLED if getattr(config.data, name) == "auto"}
    return dataclasses.replace(
        config, tasks=config.tasks or before.tasks, data=dataclasses.replace(config.data, **kept)
    )


def _chosen(config, tasks, fit):
    fit = fit if config.data.fit == "auto" and config.data.image_size else config.data.fit
    by = config.data.val_by
    if by == "auto":  # where nothing is held out, as before there was this option
        by = "sequence" if config.data.val_share else "sample"
    return dataclasses.replace(config, tasks=tasks, data=dataclasses.replace(config.data, fit=fit, val_by=by))


def some_sizes(source) -> list[tuple[int, int]]:
    """Height and width of some pictures of a source, at equal distances; those that cannot be read are left out."""
    picked = range(0, len(source), max(len(source) // LOOK_AT, 1))[:LOOK_AT]
    return [size for index in picked if (size := source.size(index))]


def differs(size: Sequence[int], frame: Sequence[int]) -> bool:
    """Whether a picture of `size` (height, width) has another aspect than the frame."""
    ratio = (size[0] / size[1]) / (frame[0] / frame[1])
    return max(ratio, 1 / ratio) > 1 + TOLERANCE


def told_untrained(config: Config) -> list[str]:
    """A line for each task that is trained as a rule, but not here, since the data set has no labels of it yet."""
    descriptor = describe_training(config.data)
    others = [task for task in descriptor.chosen(()) if task not in config.tasks]
    if not others or DATA_SETS[config.data.name].to_order:
        return []
    try:
        everything = dataclasses.replace(config, tasks=(*config.tasks, *others), balance=BalanceConfig())
        source = open_training(everything, descriptor)
    except UsageError:  # labels that can not be read are no matter where they are not trained
        return []
    return [
        f"{task} is not trained: no labels; to have them, {source.where[task]}"
        for task in others
        if not source.labelled[task] and task in source.where
    ]


def told_fit(sizes: Sequence[tuple[int, int]], frame: Sequence[int], fit: str) -> str:
    """A line about what becomes of pictures of these sizes; empty where nothing is resized.

    Args:
        sizes: height and width of some pictures, pixels.
        frame: data.image_size.
        fit: data.fit.
    """
    other = [size for size in sizes if frame and differs(size, frame)]
    shown = next(iter(other or sizes), None)
    if not frame or not shown or tuple(shown) == tuple(frame):
        return ""
    picture, target = (f"{width}x{height}" for height, width in (shown, frame))
    how = {
        "stretch": f"stretched to {target}, which changes their aspect",
        "pad": f"scaled to fit inside {target} and padded with black",
        "crop": f"scaled to cover {target} and cropped to their middle",
    }
    return f"pictures of {picture} are {how[fit] if other else f'resized to {target}'} (data.fit={fit})"
